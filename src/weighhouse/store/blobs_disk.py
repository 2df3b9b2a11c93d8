"""Blobs in a folder: bytes come in under `staging/`, and a hard link makes them a blob in one step."""

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from threading import BoundedSemaphore
from types import TracebackType
from typing import Self

from weighhouse.store.blobs import (
    CHUNK_BYTES,
    BlobDamaged,
    BlobMissing,
    Staged,
    StoreAway,
    blob_key,
    sha256_of,
    staging_key,
)
from weighhouse.store.blobs_disk_staging import DiskStaging, Pools, disk_away, disk_errors, sync, sync_folder

# Files that may be open for their flush; a package has up to 50,000, a process often only 1,024.
_OPEN_FLUSHES = 64

_GONE = "The uploaded bytes are no longer here. Upload them again."
_NO_LINKS = "The disk that keeps the files cannot make hard links. Ask the operator for another data folder."


class DiskBlobs:
    """The blob store in a folder, which several processes may share.

    `staging/` has bytes on their way in, `blobs/ab/cd/` the blobs whose SHA-256 begins with abcd. Whatever is below
    `blobs/` is whole, and durable before its name is.
    """

    direct = None
    """Clients send to the registry: nobody else reaches the folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pools = Pools()
        self._slots = BoundedSemaphore(_OPEN_FLUSHES)
        self._flushes: dict[str, Future[None]] = {}
        self._durable_folders: set[Path] = set()
        with disk_errors():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (root / "staging", root / "blobs"):
                folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(root)
            sync_folder(root.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for running flushes and let go of the threads."""
        self._pools.close()

    # The way in

    def stage(self) -> DiskStaging:
        """A new file in `staging/`.

        Raises:
            StoreAway: It cannot be made.
        """
        return DiskStaging(self._staging_path(secrets.token_hex(16)), self._pools, self._take_over)

    def _take_over(self, staged: Staged, fd: int) -> None:
        """Close the file of a finished staging, and have it flushed first unless its content is kept already."""
        if self._is_kept(staged):
            os.close(fd)
            return
        self._slots.acquire()
        self._flushes[staged.place] = self._pools.flushers.submit(self._flush_finished, staged.place, fd)

    def settle(self, *staged: Staged) -> None:
        """Return once all of `staged` survive a loss of power, or are kept as blobs already.

        Raises:
            StoreAway: Some do not; those are gone.
        """
        flushes = [self._flush_of(item) for item in staged if item.place in self._flushes or not self._is_kept(item)]
        errors = [error for error in (flush.exception() for flush in flushes) if error is not None]
        if errors:
            raise errors[0]

    def adopt(self, *staged: Staged) -> None:
        """Keep `staged` as blobs that survive a loss of power; safe to call again, also after they were swept.

        Raises:
            StoreAway: Some could not be kept. The others may be; call again with all of them.
        """
        self.settle(*staged)
        folders: set[Path] = set()
        with disk_errors():
            for item in staged:
                path = self._path(item.sha256)
                self._link(item, path)
                folders.add(path.parent)
            self._sync_folders(folders)

    def discard(self, *staged: Staged) -> None:
        """Remove staged bytes, adopted or not; fine when they are gone.

        Raises:
            StoreAway: The folder does not let them go.
        """
        with disk_errors():
            for item in staged:
                flush = self._flushes.pop(item.place, None)
                if flush is not None:
                    flush.exception()
                self._staging_path(item.place).unlink(missing_ok=True)

    def _staging_path(self, place: str) -> Path:
        """Where the bytes of a staging are."""
        return self._root / staging_key(place)

    def _flush_finished(self, place: str, fd: int) -> None:
        """Flush a file that was just written, and let the next one be opened."""
        try:
            self._flush(place, fd)
        finally:
            self._slots.release()

    def _flush_left(self, place: str) -> None:
        """Flush a file that was closed without it, or by another process."""
        try:
            # For writing: some systems refuse to flush a file that is open for reading.
            fd = os.open(self._staging_path(place), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise StoreAway(_GONE) from None
        except OSError as error:
            raise disk_away(error) from error
        self._flush(place, fd)

    def _flush(self, place: str, fd: int) -> None:
        """Make a file durable and close it; remove it when that fails.

        A second flush of the same file may report success although bytes are lost, so there is none.
        """
        try:
            sync(fd)
        except OSError as error:
            with suppress(OSError):
                self._staging_path(place).unlink()
            raise disk_away(error) from error
        finally:
            os.close(fd)

    def _flush_of(self, staged: Staged) -> Future[None]:
        """The one flush of this staging, begun now if it was left out."""
        flush = self._flushes.get(staged.place)
        if flush is None:
            flush = self._flushes[staged.place] = self._pools.flushers.submit(self._flush_left, staged.place)
        return flush

    def _link(self, staged: Staged, path: Path) -> None:
        """Give durable bytes the name `path`, unless it has them already."""
        while not self._is_kept(staged, is_adopting=True):
            # Also when a blob made a flush needless at first, and was swept since.
            self._flush_of(staged).result()
            for folder in (path.parent.parent, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            try:
                os.link(self._staging_path(staged.place), path)
            except FileExistsError:
                continue
            except FileNotFoundError:
                raise StoreAway(_GONE) from None
            except OSError as error:
                if error.errno in (errno.EPERM, errno.EOPNOTSUPP):
                    raise StoreAway(_NO_LINKS) from error
                raise

    def _is_kept(self, staged: Staged, *, is_adopting: bool = False) -> bool:
        """Whether there is a blob with these bytes. Adopting it makes it young, so that no sweep takes it now."""
        path = self._path(staged.sha256)
        try:
            if is_adopting:
                os.utime(path)
            if path.stat().st_size == staged.size_bytes:
                return True
            if is_adopting:
                # Damaged by hand or by a disk; the bytes at hand were hashed, so they heal it.
                path.unlink()
        except FileNotFoundError:
            pass
        return False

    def _sync_folders(self, folders: set[Path]) -> None:
        """Make the names in `folders`, and their own names, survive a loss of power."""
        new = folders - self._durable_folders
        above = {folder.parent for folder in new} | {folder.parent.parent for folder in new}
        for _ in self._pools.flushers.map(sync_folder, folders | above):
            pass
        self._durable_folders |= new

    # The way out

    def read(
        self, sha256: str, start: int = 0, length: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        """`length` bytes of a blob from `start`, or all that follow.

        Raises:
            BlobMissing: At once, when there is no such blob.
            BlobDamaged: While it is read, when it is shorter than that.
            StoreAway: The disk fails.
        """
        left = max(self.size(sha256) - start, 0) if length is None else length
        return self._chunks(sha256, start, left, chunk_bytes)

    def _chunks(self, sha256: str, start: int, left: int, chunk_bytes: int) -> Iterator[bytes]:
        with self.open(sha256) as file:
            with disk_errors():
                file.seek(start)
            while left:
                with disk_errors():
                    chunk = file.read(min(left, chunk_bytes))
                if not chunk:
                    raise BlobDamaged(sha256)
                left -= len(chunk)
                yield chunk

    def open(self, sha256: str) -> FileIO:
        """The blob as an open file, for programs that hand its descriptor to the system.

        Raises:
            BlobMissing: There is no such blob.
            StoreAway: The disk fails.
        """
        with disk_errors():
            try:
                return FileIO(self._path(sha256), "rb")
            except FileNotFoundError:
                raise BlobMissing(sha256) from None

    def size(self, sha256: str) -> int:
        """Bytes of a blob.

        Raises:
            BlobMissing: There is no such blob.
            StoreAway: The disk fails.
        """
        with disk_errors():
            try:
                return self._path(sha256).stat().st_size
            except FileNotFoundError:
                raise BlobMissing(sha256) from None

    def exists(self, sha256: str) -> bool:
        """Whether there is such a blob.

        Raises:
            StoreAway: The disk fails.
        """
        try:
            self.size(sha256)
        except BlobMissing:
            return False
        return True

    def missing(self, sha256s: Iterable[str]) -> set[str]:
        """Those of which there is no blob.

        Raises:
            StoreAway: The disk fails.
        """
        return {sha256 for sha256 in sha256s if not self.exists(sha256)}

    def _path(self, sha256: str) -> Path:
        """Where a blob is."""
        return self._root / blob_key(sha256)

    def link(self, sha256: str, target: Path) -> bool:
        """Gives a blob a second name outside the store; false where the file systems do not share bytes.

        Raises:
            BlobMissing: There is no such blob.
            StoreAway: The disk fails.
        """
        with disk_errors():
            try:
                os.link(self._path(sha256), target)
            except FileNotFoundError:
                raise BlobMissing(sha256) from None
            except OSError as error:
                if error.errno in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                    return False
                raise
        return True

    # Keeping house

    def delete(self, sha256: str) -> None:
        """Remove a blob; fine when it is gone.

        Raises:
            StoreAway: The folder does not let it go.
        """
        with disk_errors():
            self._path(sha256).unlink(missing_ok=True)

    def list(self, older_than: datetime) -> Iterator[tuple[str, int]]:
        """SHA-256 and size of each blob that nobody adopted since `older_than`, in no order.

        Raises:
            StoreAway: The disk fails.
        """
        with disk_errors():
            for path in (self._root / "blobs").glob("??/??/*"):
                sha256 = sha256_of(path.relative_to(self._root).as_posix())
                with suppress(FileNotFoundError):
                    status = path.stat()
                    if sha256 is not None and status.st_mtime < older_than.timestamp():
                        yield sha256, status.st_size

    def sweep_staging(self, older_than: datetime) -> int:
        """Remove what was staged before `older_than` and never discarded; returns how many there were.

        Raises:
            StoreAway: The disk fails.
        """
        count = 0
        with disk_errors():
            for path in (self._root / "staging").iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < older_than.timestamp():
                        path.unlink()
                        count += 1
        return count

    def check(self) -> None:
        """Return if bytes can be written now.

        Raises:
            StoreAway: They cannot.
        """
        with self.stage() as staging:
            staging.write(secrets.token_bytes(16))
            staged = staging.finish()
        try:
            self.settle(staged)
        finally:
            self.discard(staged)
