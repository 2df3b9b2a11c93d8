"""The HTTP connection: uvicorn's, with file spans handed to the kernel and bounds on what a client may send in vain."""

import asyncio
import os
import socket
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

Message = MutableMapping[str, Any]

ZERO_COPY = "http.response.zerocopysend"
"""The ASGI extension of that name: a part of the body is a span of an open file."""

MAX_HEADER_BYTES = 16 * 1024
STALLED_SECONDS = 60
"""How long a client may take no byte before the connection is closed."""
HEAD_SECONDS = 30
"""How long a client may take for the head of a request, from its first byte; for the first one, from the connection on."""
LINGER_BYTES = 1024 * 1024
"""How much of a body is still taken when its request was answered before."""
LINGER_SECONDS = 2
"""How long the connection then stays: hung up on at once, a client that is sending may never see the answer."""

_SPAN_BYTES = 4 * 1024 * 1024

# Reading a page that is not in memory blocks, so it happens here and not in the event loop.
_pool = ThreadPoolExecutor(8, thread_name_prefix="sendfile")


class SendfileProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _header_bytes = 0
    _open_bytes = 0
    _is_too_long = False
    _hangs_up = False
    _lingers = False
    _lingering_bytes = 0
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn itself has it
        """Starts the clock for the first request: a connection that asks nothing is not kept."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what came, unless it goes on forever; after the last answer it is thrown away, up to a bound."""
        if self._lingers:
            self._lingering_bytes += len(data)
            if self._lingering_bytes >= LINGER_BYTES:
                self.flow.pause_reading()
            return
        # The parser keeps a header until it ends, reads a chunk's extension to no end, and tells of neither meanwhile.
        self._open_bytes += len(data)
        super().data_received(data)
        if self._open_bytes > MAX_HEADER_BYTES and not self._lingers and not self.transport.is_closing():
            self._is_too_long = True
            self.send_400_response("too many bytes without an end")
        # Whatever came has ended the wait for another request; what is no whole head yet must not wait forever.
        if self._clock is None and self._is_between_requests():
            self._start_clock()

    def on_response_complete(self) -> None:
        """Goes on to the next request, unless this one was answered before all of it had come."""
        if not self._hangs_up:
            super().on_response_complete()
        elif not self.transport.is_closing():
            self._linger()

    def on_message_begin(self) -> None:
        """Starts a request."""
        self._header_bytes = self._open_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Takes a piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header line; more of them than anybody needs end the connection."""
        self._open_bytes = 0
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Starts the answer."""
        self._open_bytes = 0
        self._stop_clock()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Takes a piece of the body."""
        self._open_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends a request."""
        self._open_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, or has too long headers, as a problem document, and hangs up."""
        if self._is_too_long:
            line, title = "431 Request Header Fields Too Large", "headers-too-large"
            detail = (
                f"Address and headers have more than {MAX_HEADER_BYTES} bytes together. Send fewer or shorter ones."
            )
        else:
            line, title = "400 Bad Request", "bad-request"
            detail = "The request is not valid HTTP. Check its first line and its headers."
        status = line[:3]
        body = f'{{"type":"/problems/{title}","title":"{line[4:]}","status":{status},"detail":"{detail}"}}'
        head = f"HTTP/1.1 {line}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n{body}".encode())
        if self.cycle is None or self.cycle.response_complete:
            self._linger()
        else:
            self.transport.close()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            self._is_too_long = True
            raise OverflowError("too many header bytes")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        async def with_sendfile(scope: Any, receive: Any, send: Any) -> None:
            async def send_or_sendfile(message: Message) -> None:
                if message["type"] == ZERO_COPY:
                    await _send_span(cycle, message["file"], message["offset"], message["count"])
                elif message["type"] == "http.response.start" and cycle.more_body:
                    await self._start_early(cycle, message, send)
                else:
                    await send(message)

            scope["extensions"] = {ZERO_COPY: {}}
            await app(scope, receive, send_or_sendfile)

        super()._start_asgi_task(cycle, with_sendfile)

    async def _start_early(self, cycle: RequestResponseCycle, message: Message, send: Any) -> None:
        """Starts an answer while the body of its request is still coming: the last one of this connection."""
        self._hangs_up = True
        cycle.keep_alive = False  # So that uvicorn says `Connection: close` …
        await send(message)
        cycle.keep_alive = True  # … and leaves the closing to `_linger`.

    def _linger(self) -> None:
        """Says that no more will be said, and hangs up when a client had time to hear it."""
        self._lingers = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(HEAD_SECONDS, self._close_if_unfinished)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _close_if_unfinished(self) -> None:
        self._clock = None
        if self._is_between_requests() and not self.transport.is_closing():
            self.transport.close()


async def _send_span(cycle: RequestResponseCycle, file: int, offset: int, count: int) -> None:
    """Sends bytes of a file as the next part of a response whose length was announced.

    Raises:
        RuntimeError: It is more than was announced, or the file ends too early.
    """
    if cycle.disconnected or cycle.scope["method"] == "HEAD":
        return
    if count > cycle.expected_content_length:
        raise RuntimeError("Response content longer than Content-Length")
    cycle.expected_content_length -= count
    await _written(cycle)
    connection: socket.socket = cycle.transport.get_extra_info("socket")
    # A second descriptor of the same connection: the event loop keeps the first for itself.
    descriptor = os.dup(connection.fileno())
    loop = asyncio.get_running_loop()
    try:
        while count and not cycle.disconnected:
            try:
                sent = await loop.run_in_executor(_pool, os.sendfile, descriptor, file, offset, min(count, _SPAN_BYTES))
            except BlockingIOError:
                await _writable(loop, descriptor)
                continue
            except (BrokenPipeError, ConnectionResetError):
                cycle.disconnected = True
                return
            if sent == 0:
                raise RuntimeError("The file ended before its span")
            offset += sent
            count -= sent
    except TimeoutError:
        cycle.disconnected = True
        cycle.transport.abort()
    finally:
        os.close(descriptor)


async def _written(cycle: RequestResponseCycle) -> None:
    """Returns when the connection holds nothing back, so that what goes around it keeps its place."""
    transport = cycle.transport
    transport.set_write_buffer_limits(high=0)
    while transport.get_write_buffer_size() and not cycle.disconnected:
        await asyncio.sleep(0)  # The event loop writes what is queued at the end of its turn.
        await cycle.flow.drain()
    transport.set_write_buffer_limits()


async def _writable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    ready = loop.create_future()
    loop.add_writer(descriptor, _settle, ready)
    try:
        await asyncio.wait_for(ready, STALLED_SECONDS)
    finally:
        loop.remove_writer(descriptor)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
