"""The body of a request, not waited for forever; that of an upload, read as it comes by a thread that keeps up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from weighhouse.doors.api.form import BadForm
from weighhouse.rules.errors import Malformed

T = TypeVar("T")

_PIECE_BYTES = 1024 * 1024
_MAX_PIECES_BYTES = 8 * 1024 * 1024
SILENT_SECONDS = 60
SLOW_AFTER_SECONDS = 60
MIN_BYTES_PER_SECOND = 1024


class UploadTooSlow(BadForm):
    """The upload came too slowly, or not at all."""

    def __init__(self) -> None:
        super().__init__("The upload stood still or came too slowly. Send it again over a better connection.")


class BodyTooSlow(Malformed):
    """The body came too slowly, or not at all."""

    def __init__(self) -> None:
        super().__init__("The body stood still or came too slowly. Send the request again, with its whole body.")


class Pace:
    """How fast a body comes, from now on."""

    def __init__(self) -> None:
        self._started, self._size = time.monotonic(), 0

    async def wait(self, coming: Awaitable[T]) -> T:
        """What comes next.

        Raises:
            TimeoutError: Nothing came for too long.
        """
        async with asyncio.timeout(SILENT_SECONDS):
            return await coming

    def count(self, size: int) -> None:
        """Takes down that `size` more bytes came.

        Raises:
            TimeoutError: They came too slowly for too long.
        """
        self._size += size
        seconds = time.monotonic() - self._started
        if seconds > SLOW_AFTER_SECONDS and self._size < seconds * MIN_BYTES_PER_SECOND:
            raise TimeoutError


async def feed_body(take: Callable[[bytes], None], request: Request) -> None:
    """Has `take` called with the body, piece by piece, in a thread; never by two at once.

    Raises:
        UploadTooSlow: It stood still, or came too slowly for too long.
        And whatever `take` raises.
    """
    async with contextlib.aclosing(_pieces(request)) as pieces:
        await _feed(take, pieces)


async def _feed(take: Callable[[bytes], None], pieces: AsyncGenerator[bytes, None]) -> None:
    """Gives the pieces to `take` in a thread, while the next ones come in."""
    working: asyncio.Future[None] | None = None
    waiting: list[bytes] = []
    size = 0
    try:
        async for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            is_idle = working is None or working.done()
            if (is_idle and size >= _PIECE_BYTES) or size >= _MAX_PIECES_BYTES:
                if working is not None:
                    await working
                working = asyncio.ensure_future(run_in_threadpool(take, b"".join(waiting)))
                waiting, size = [], 0
        if working is not None:
            await working
        await run_in_threadpool(take, b"".join(waiting))
    finally:
        # The thread writes into what the caller is about to throw away: it has to end first.
        if working is not None and not working.done():
            await asyncio.wait([working])


async def _pieces(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it comes.

    Raises:
        UploadTooSlow: It stood still, or came too slowly for too long.
    """
    pace = Pace()
    stream = request.stream()
    while True:
        try:
            piece = await pace.wait(anext(stream, None))
            if piece is None:
                return
            pace.count(len(piece))
        except TimeoutError:
            raise UploadTooSlow from None
        yield piece
