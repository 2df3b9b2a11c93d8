"""The files of a hub model come into the store: several at once, none of them ever whole in memory, none of them twice."""

import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Self

from sqlalchemy import select

from weighhouse.app import App
from weighhouse.rules.manifest import File, component_of
from weighhouse.sources.hub_answers import HubFile
from weighhouse.sources.hub_download import HubFiles
from weighhouse.store.blobs import Staged
from weighhouse.store.tables import Blob

AT_ONCE = 4

Moved = Callable[[int], None]
"""Is told of bytes that arrived."""

Kept = Callable[[File], None]
"""Is told of a file that is whole and kept. Like `Moved` it is called by several threads, and may raise to end the fetch."""


class _Stopped(Exception):
    """Another file failed, so this one is not needed."""


class Fetch:
    """The files of one commit on their way in. Leaving the `with` block lets go of the staged bytes.

    A file is kept as a blob as soon as it is whole, so that a second attempt fetches only what the first one lacks, also
    when the process was killed; a blob that no package comes to hold is swept within a day.

    Args:
        before: Files of this commit that an earlier attempt kept, by path.
    """

    def __init__(
        self, app: App, source: HubFiles, *, moved: Moved, kept: Kept, before: Mapping[str, File] | None = None
    ) -> None:
        self._app = app
        self._source = source
        self._moved = moved
        self._kept = kept
        self._before = before or {}
        self._stop = threading.Event()
        self.staged: list[Staged] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._app.blobs.discard(*self.staged)

    def run(self, files: Sequence[HubFile]) -> Sequence[File]:
        """The files, kept.

        Raises:
            Missing: The hub does not give one of them.
            Damaged: It gives something else than it listed.
            Away: The database or the store does not answer.
        """
        known = self._known(files)
        # The large ones first: the small ones then fill the gaps.
        ordered = sorted(files, key=lambda file: -file.size_bytes)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            futures = [pool.submit(self._one, file, known) for file in ordered]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                if _failed(futures):
                    self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        if error := _failed(futures):
            raise error
        return [future.result() for future in futures]

    def _known(self, files: Sequence[HubFile]) -> dict[str, int]:
        """Checksum of each file that is recorded already, by its SHA-256."""
        digests = [bytes.fromhex(file.sha256) for file in files if file.sha256]
        with self._app.db.read() as tx:
            rows = tx.execute(select(Blob.sha256, Blob.crc32).where(Blob.sha256.in_(digests))).all()
        return {row.sha256.hex(): row.crc32 for row in rows}

    def _one(self, file: HubFile, known: dict[str, int]) -> File:
        before = self._before.get(file.path)
        if before is not None and self._app.blobs.exists(before.sha256):
            self._moved(before.size_bytes)
            kept = before
        else:
            kept = self._kept_here(file, known) or self._fetched(file)
        self._kept(kept)
        return kept

    def _kept_here(self, file: HubFile, known: dict[str, int]) -> File | None:
        """The file, where its content is here already: of another package, or of an attempt that failed."""
        if file.sha256 and self._app.blobs.exists(file.sha256):
            size_bytes = self._app.blobs.size(file.sha256)
            if not file.is_sized or size_bytes == file.size_bytes:
                crc32 = known.get(file.sha256)
                if crc32 is None:
                    crc32 = self._checksum(file.sha256)
                self._moved(size_bytes)
                return File(file.path, size_bytes, file.sha256, crc32, component_of(file.path))
        return None

    def _fetched(self, file: HubFile) -> File:
        staged = self._fetch(file)
        self.staged.append(staged)
        self._app.blobs.adopt(staged)
        return File(file.path, staged.size_bytes, staged.sha256, staged.crc32, component_of(file.path))

    def _fetch(self, file: HubFile) -> Staged:
        with self._app.blobs.stage() as staging:
            for piece in self._source.read(file):
                self._require_wanted()
                staging.write(piece)
                self._moved(len(piece))
            return staging.finish()

    def _checksum(self, sha256: str) -> int:
        crc32 = 0
        for chunk in self._app.blobs.read(sha256):
            self._require_wanted()
            crc32 = zlib.crc32(chunk, crc32)
        return crc32

    def _require_wanted(self) -> None:
        if self._stop.is_set():
            raise _Stopped


def _failed(futures: Sequence[Future[File]]) -> BaseException | None:
    """What went wrong first, not what was stopped because of it."""
    errors = [future.exception() for future in futures if future.done() and not future.cancelled()]
    real = [error for error in errors if error is not None]
    return next((error for error in real if not isinstance(error, _Stopped)), real[0] if real else None)
