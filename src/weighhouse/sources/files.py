"""A package's own files, read within bounds."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.rules.manifest import File, in_order
from weighhouse.sources.once import Once

MAX_TEXT_BYTES = 1024 * 1024
HEADER_BUDGET_BYTES = 32 * 1024 * 1024

Read = Callable[[str, int, int], bytes]
"""Bytes of a blob by its SHA-256, from a start, at most so many."""


@dataclass(frozen=True)
class LooseFiles:
    """Files that no store keeps, and how to read them by the digests that they are listed with."""

    files: Sequence[File] = ()
    read: Read = lambda sha256, start, size: b""


class PackageFiles:
    """The files of one manifest, their bytes fetched by `read`."""

    def __init__(self, manifest: Sequence[File], read: Read) -> None:
        self.all: Sequence[File] = in_order(manifest)
        self._by_path = {file.path: file for file in self.all}
        self._read = read
        self._texts = Once()
        self._guard = threading.Lock()
        self._spent: Counter[str] = Counter()

    def text(self, path: str) -> str:
        """A file of at most 1 MiB as UTF-8 text, without a byte order mark.

        Raises:
            KeyError: The package has no such file.
            Missing: It is larger (`too_large`), or not UTF-8 (`malformed`).
        """
        file = self._by_path[path]
        return self._texts.get(path, lambda: self._whole_text(file))

    def lenient_text(self, path: str) -> str:
        """The first 1 MiB of a file as text, with what is not UTF-8 replaced: whatever is there is an observation.

        Raises:
            KeyError: The package has no such file.
        """
        content = self._read(self._by_path[path].sha256, 0, min(self._by_path[path].size_bytes, MAX_TEXT_BYTES))
        return content.decode("utf-8", errors="replace").removeprefix("\ufeff")

    def read_at(self, path: str, start: int, size: int) -> bytes:
        """Bytes of a file from `start`, fewer at its end.

        Raises:
            KeyError: The package has no such file.
            Missing: More than 32 MiB of this file were asked for in all (`too_large`).
        """
        file = self._by_path[path]
        size = max(0, min(size, file.size_bytes - start))
        with self._guard:
            if self._spent[path] + size > HEADER_BUDGET_BYTES:
                raise Missing(
                    Reason.TOO_LARGE, f"The header of {path[-80:]} is larger than 32 MiB; save it with a smaller one"
                )
            self._spent[path] += size
        return self._read(file.sha256, start, size) if size else b""

    def _whole_text(self, file: File) -> str:
        if file.size_bytes > MAX_TEXT_BYTES:
            raise Missing(Reason.TOO_LARGE, f"{file.path[-80:]} is larger than 1 MiB; make it smaller to have it read")
        content = self._read(file.sha256, 0, file.size_bytes) if file.size_bytes else b""
        try:
            return content.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise Missing(Reason.MALFORMED, f"{file.path[-80:]} is not UTF-8 text; save it as UTF-8") from error
