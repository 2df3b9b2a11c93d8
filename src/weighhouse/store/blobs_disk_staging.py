"""Bytes on their way into a folder: a file that is hashed while it is written, and what a disk can do wrong."""

import errno
import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from weighhouse.store.blobs import Staged, StoreAway

if sys.platform == "darwin":
    import fcntl

# Waiting for a disk is no work: many waits at once share one write of the journal.
_FLUSHERS = 16
# Below this a thread costs more than it saves.
_THREADED_BYTES = 128 * 1024
# Written bytes after which the disk is set to work; at the end there is then little left to wait for.
_BEHIND_BYTES = 32 * 1024 * 1024

_SENTENCES = {
    errno.ENOSPC: "The disk that keeps the files is full. Ask the operator to free space, then try again.",
    errno.EDQUOT: "The disk quota of the registry is used up. Ask the operator to raise it, then try again.",
    errno.EFBIG: "The file is larger than the disk that keeps the files takes. Ask the operator to raise the limit.",
    errno.EROFS: "The disk that keeps the files is read-only. Ask the operator to repair it, then try again.",
    errno.EMFILE: "The registry has too many files open. Try again in a moment.",
    errno.ENFILE: "The registry has too many files open. Try again in a moment.",
}


def disk_away(error: OSError) -> StoreAway:
    """`error` in the registry's words, without a path."""
    code = errno.errorcode.get(error.errno or 0, "unknown error")
    ending = f"The disk that keeps the files fails ({code}). Ask the operator to look at it, then try again."
    return StoreAway(_SENTENCES.get(error.errno or 0, ending))


@contextmanager
def disk_errors() -> Iterator[None]:
    """Make the operating system's errors the store's."""
    try:
        yield
    except OSError as error:
        raise disk_away(error) from error


def sync(fd: int) -> None:
    """Return once the bytes behind `fd` survive a loss of power."""
    if sys.platform == "darwin":
        # There fsync stops at the drive's own cache.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Return once the names in `folder` survive a loss of power."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


class Pools:
    """The threads that hash, and those that wait for the disk."""

    def __init__(self) -> None:
        self.flushers = ThreadPoolExecutor(_FLUSHERS, "blobs-flush")
        self.hashers = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "blobs-hash")

    def close(self) -> None:
        """Wait for what is running and let go of the threads."""
        self.hashers.shutdown()
        self.flushers.shutdown()


class DiskStaging:
    """A file in `staging/` that is hashed while it is written."""

    def __init__(self, path: Path, pools: Pools, take_over: Callable[[Staged, int], None]) -> None:
        """Make the file.

        Args:
            take_over: Gets what was written and the open file, and closes it.

        Raises:
            StoreAway: It cannot be made.
        """
        self._path = path
        self._pools = pools
        self._take_over = take_over
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        with disk_errors():
            self._fd = os.open(self._path, flags, 0o600)
        self._is_open = True
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self._size_bytes = 0
        self._unflushed = 0
        self._hashing: Future[None] | None = None
        self._flushing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`; see `Staging`.

        Raises:
            StoreAway: The bytes cannot be kept; nothing of this staging is left.
            ValueError: It was finished or aborted before.
        """
        # The number of a closed file may be that of another one by now.
        if not self._is_open:
            raise ValueError("This staging is closed.")
        view = memoryview(data).cast("B")
        try:
            self._hash(view)
            self._write(view)
            if self._unflushed >= _BEHIND_BYTES:
                self._write_behind()
        except OSError as error:
            self.abort()
            raise disk_away(error) from error
        if not view.readonly:
            # The caller may fill this buffer again as soon as we return.
            self._wait()

    def finish(self) -> Staged:
        """What was written; see `Staging`.

        Raises:
            StoreAway: The bytes cannot be kept; nothing of this staging is left.
            ValueError: It was finished or aborted before.
        """
        if not self._is_open:
            raise ValueError("This staging is closed.")
        self._wait()
        staged = Staged(self._sha256.hexdigest(), self._size_bytes, self._crc32, self._path.name)
        try:
            self._wait_flush()
            self._take_over(staged, self._fd)
        except OSError as error:
            self.abort()
            raise disk_away(error) from error
        self._is_open = False
        return staged

    def abort(self) -> None:
        """Throw the bytes away; fine after anything else."""
        if not self._is_open:
            return
        self._is_open = False
        self._wait()
        # Close only when nobody uses the number any more: the next file would get it. Its failure changes nothing now.
        with suppress(OSError):
            self._wait_flush()
        with suppress(OSError):
            os.close(self._fd)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _hash(self, view: memoryview) -> None:
        """Have `view` hashed, beside the writing when it is long."""
        self._wait()
        if len(view) >= _THREADED_BYTES:
            self._hashing = self._pools.hashers.submit(self._sha256.update, view)
        else:
            self._sha256.update(view)
        self._size_bytes += len(view)

    def _write(self, view: memoryview) -> None:
        """Put `view` at the end of the file. The checksum is taken here, to balance the two threads."""
        self._crc32 = zlib.crc32(view, self._crc32)
        self._unflushed += len(view)
        while view:
            view = view[os.write(self._fd, view) :]

    def _write_behind(self) -> None:
        """Set the disk to work on what was written so far, one round at a time."""
        if self._flushing is not None and not self._flushing.done():
            return
        self._wait_flush()
        self._unflushed = 0
        self._flushing = self._pools.flushers.submit(sync, self._fd)

    def _wait(self) -> None:
        """Wait for the hash of the last piece."""
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None

    def _wait_flush(self) -> None:
        """Wait for the disk; an error that it met is an error of this file, once and for all."""
        if self._flushing is not None:
            flushing, self._flushing = self._flushing, None
            flushing.result()
