"""The files of an archive on their way into the store. Small ones wait in memory until the archive is known to be sound.

A file in the store costs a disk far more than the bytes of a small one: an archive of a hundred thousand empty files, which
is refused in the end, must not have made fifty thousand of them by then.
"""

import hashlib
import zlib
from collections.abc import Sequence

from weighhouse.store.blobs import BlobStore, Staged, Staging

SMALL_BYTES = 64 * 1024
HELD_BYTES = 8 * 1024 * 1024
"""How much waits in memory at most, for one archive."""
# What Python keeps beside each content.
_OVERHEAD_BYTES = 128


class Unpacking:
    """The files of one archive, one after another: `begin`, `write` for each piece, `end`; then `finish`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._staged: list[Staged] = []
        self._open: Staging | None = None
        self._content: bytearray | None = None
        self._held: dict[bytes, bytes] = {}
        self._held_bytes = 0
        self._spilled: set[bytes] = set()

    def begin(self) -> None:
        """Starts a file."""
        self._content = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Appends to it.

        Raises:
            StoreAway: The store does not take the bytes.
        """
        if self._content is not None:
            if len(self._content) + len(data) <= SMALL_BYTES:
                self._content += data
                return
            self._open = self._blobs.stage()
            if self._content:
                self._open.write(bytes(self._content))
            self._content = None
        if self._open is not None:
            self._open.write(data)

    def end(self) -> tuple[int, str, int]:
        """Ends the file: its size in bytes, SHA-256 in hexadecimal, and CRC-32.

        Raises:
            StoreAway: The store does not take the bytes.
        """
        if self._open is not None:
            staged = self._open.finish()
            self._open = None
            self._staged.append(staged)
            return staged.size_bytes, staged.sha256, staged.crc32
        content, self._content = bytes(self._content or b""), None
        digest = hashlib.sha256(content)
        self._hold(digest.digest(), content)
        return len(content), digest.hexdigest(), zlib.crc32(content)

    def finish(self) -> Sequence[Staged]:
        """Every content of the archive, each at least once, now that it is known to be sound.

        Raises:
            StoreAway: The store does not take the bytes.
        """
        self._spill()
        return self._staged

    def close(self) -> None:
        """Lets go of everything that was kept aside; what became a package has its own hold on it."""
        if self._open is not None:
            self._open.abort()
        self._held = {}
        self._blobs.discard(*self._staged)

    def _hold(self, digest: bytes, content: bytes) -> None:
        """Keeps a content in memory, unless it is there or was."""
        if digest in self._held or digest in self._spilled:
            return
        self._held[digest] = content
        self._held_bytes += len(content) + _OVERHEAD_BYTES
        if self._held_bytes > HELD_BYTES:
            self._spill()

    def _spill(self) -> None:
        for digest, content in self._held.items():
            with self._blobs.stage() as staging:
                staging.write(content)
                self._staged.append(staging.finish())
            self._spilled.add(digest)
        self._held, self._held_bytes = {}, 0
