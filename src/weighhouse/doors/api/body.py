"""The body of an upload, read as it comes, by a thread that keeps up with the network."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from weighhouse.doors.api.form import BadForm

_PIECE_BYTES = 1024 * 1024
_MAX_PIECES_BYTES = 8 * 1024 * 1024
SILENT_SECONDS = 60
SLOW_AFTER_SECONDS = 60
MIN_BYTES_PER_SECOND = 1024


class UploadTooSlow(BadForm):
    """The upload came too slowly, or not at all."""

    def __init__(self) -> None:
        super().__init__("The upload stood still or came too slowly. Send it again over a better connection.")


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
    started, size = time.monotonic(), 0
    stream = request.stream()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream, None), SILENT_SECONDS)
        except TimeoutError:
            raise UploadTooSlow from None
        if piece is None:
            return
        size += len(piece)
        seconds = time.monotonic() - started
        if seconds > SLOW_AFTER_SECONDS and size < seconds * MIN_BYTES_PER_SECOND:
            raise UploadTooSlow
        yield piece
