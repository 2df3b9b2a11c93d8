"""Bytes on their way into a bucket: hashed while they come, sent in parts beside that, in bounded memory."""

import hashlib
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from weighhouse.store.blobs import ObjectChanged, Staged, StoreAway, UploadedPart, staging_key
from weighhouse.store.s3 import S3

MIB = 1024 * 1024
PART_BYTES = 8 * MIB
"""What is shorter is one object; what is longer is sent in parts of this size."""

# An object has at most 10,000 parts. With these it may have 195 GiB: more than the largest package.
_SMALL_PARTS = 5_000
_LARGE_PART_BYTES = 32 * MIB

_IN_FLIGHT = 4
_IN_FLIGHT_BYTES = 32 * MIB
_BUFFERED_BYTES = 64 * MIB


def part_bytes(number: int) -> int:
    """Size of a part, by its number from 1; only the last one is shorter.

    >>> part_bytes(1), part_bytes(10_000), sum(map(part_bytes, range(1, 10_001))) // 1024**3
    (8388608, 33554432, 195)
    """
    return PART_BYTES if number <= _SMALL_PARTS else _LARGE_PART_BYTES


class Room:
    """Memory for bytes that are being sent, shared by all uploads of a process."""

    def __init__(self, size_bytes: int = _BUFFERED_BYTES) -> None:
        self._size_bytes = size_bytes
        self._taken_bytes = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size_bytes: int) -> Iterator[None]:
        """Gives back what `take` took."""
        try:
            yield
        finally:
            with self._changed:
                self._taken_bytes -= size_bytes
                self._changed.notify_all()

    def take(self, size_bytes: int) -> None:
        """Waits until there is room; more than all there is gets all of it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken_bytes or self._taken_bytes + size_bytes <= self._size_bytes)
            self._taken_bytes += size_bytes


class S3Staging:
    """Bytes below `staging/`, hashed while they are written."""

    def __init__(
        self, bucket: S3, place: str, threads: Executor, room: Room, hand_over: Callable[[str, Future[None]], None]
    ) -> None:
        """Nothing is sent yet.

        Args:
            hand_over: Gets the place, and what is still being sent when all was written.
        """
        self._bucket = bucket
        self._place = place
        self._threads = threads
        self._room = room
        self._hand_over = hand_over
        self._is_open = True
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self._size_bytes = 0
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._sent: list[UploadedPart] = []
        self._sending: deque[tuple[int, Future[UploadedPart]]] = deque()

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
        self._require_open()
        view = memoryview(data).cast("B")
        self._sha256.update(view)
        self._crc32 = zlib.crc32(view, self._crc32)
        self._size_bytes += len(view)
        try:
            while view:
                room = part_bytes(self._next_number) - len(self._buffer)
                if not room:
                    # Only now, when more is to come: what fits into one object is sent as one.
                    self._send_part()
                    continue
                self._buffer += view[:room]
                view = view[room:]
        except StoreAway:
            self.abort()
            raise

    def finish(self) -> Staged:
        """What was written; see `Staging`.

        Raises:
            StoreAway: The bytes cannot be kept; nothing of this staging is left.
            ValueError: It was finished or aborted before.
        """
        self._require_open()
        staged = Staged(self._sha256.hexdigest(), self._size_bytes, self._crc32, self._place)
        try:
            if self._upload_id is None:
                self._send_whole(staged)
            else:
                self._send_part()
                self._wait(0)
                self._complete(self._upload_id)
        except StoreAway:
            self.abort()
            raise
        self._is_open = False
        return staged

    def abort(self) -> None:
        """Throw the bytes away; fine after anything else. A store that is away is swept of them later."""
        if not self._is_open:
            return
        self._is_open = False
        self._buffer = bytearray()
        for _, sending in self._sending:
            # Not cancelled: each gives back the room that it has, and there are few.
            sending.exception()
        self._sending.clear()
        if self._upload_id is not None:
            with suppress(StoreAway):
                self._bucket.abort_multipart(self._key, self._upload_id)

    @property
    def _key(self) -> str:
        return staging_key(self._place)

    @property
    def _next_number(self) -> int:
        return len(self._sent) + len(self._sending) + 1

    def _require_open(self) -> None:
        if not self._is_open:
            raise ValueError("This staging is closed.")

    def _send_whole(self, staged: Staged) -> None:
        """Sends all bytes as one object, which the store compares with their digest; does not wait for it."""
        data, self._buffer = self._buffer, bytearray()
        self._room.take(len(data))

        def send() -> None:
            with self._room.taken(len(data)):
                self._bucket.put(self._key, data, sha256=staged.sha256)

        self._hand_over(self._place, self._threads.submit(send))

    def _send_part(self) -> None:
        """Sends what is in the buffer as the next part, once fewer are under way.

        Raises:
            StoreAway: An earlier one could not be sent.
        """
        if self._upload_id is None:
            self._upload_id = self._bucket.begin_multipart(self._key)
        upload_id, number = self._upload_id, self._next_number
        data, self._buffer = self._buffer, bytearray()
        self._wait(min(_IN_FLIGHT, _IN_FLIGHT_BYTES // len(data)) - 1)
        self._room.take(len(data))

        def send() -> UploadedPart:
            with self._room.taken(len(data)):
                return self._bucket.upload_part(self._key, upload_id, number, data)

        self._sending.append((number, self._threads.submit(send)))

    def _wait(self, left: int) -> None:
        """Waits until no more than so many parts are under way."""
        while len(self._sending) > left:
            self._sent.append(self._sending[0][1].result())
            self._sending.popleft()

    def _complete(self, upload_id: str) -> None:
        """Makes the parts an object."""
        try:
            self._bucket.complete_multipart(self._key, upload_id, self._sent)
        except ObjectChanged:
            # Done by a first try whose answer was lost?
            head = self._bucket.head(self._key)
            if head is None or head.size_bytes != self._size_bytes:
                raise
