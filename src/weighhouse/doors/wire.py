"""The HTTP connection: uvicorn's, with file spans handed to the kernel and bounds on what a client may send first."""

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
FIRST_REQUEST_SECONDS = 30

_SPAN_BYTES = 4 * 1024 * 1024

# Reading a page that is not in memory blocks, so it happens here and not in the event loop.
_pool = ThreadPoolExecutor(8, thread_name_prefix="sendfile")


class SendfileProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn itself has it
        """Starts the clock for the first request: a connection that asks nothing is not kept."""
        super().connection_made(transport)
        self.loop.call_later(FIRST_REQUEST_SECONDS, self._close_if_silent)

    def on_message_begin(self) -> None:
        """Starts a request."""
        self._header_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header line; more of them than anybody needs end the connection."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise OverflowError("too many header bytes")
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, or has too long headers, as a problem document, and hangs up."""
        if self._header_bytes > MAX_HEADER_BYTES:
            line, title = "431 Request Header Fields Too Large", "headers-too-large"
            detail = f"The request's headers have more than {MAX_HEADER_BYTES} bytes. Send fewer or shorter ones."
        else:
            line, title = "400 Bad Request", "bad-request"
            detail = "The request is not valid HTTP. Check its first line and its headers."
        status = line[:3]
        body = f'{{"type":"/problems/{title}","title":"{line[4:]}","status":{status},"detail":"{detail}"}}'
        head = f"HTTP/1.1 {line}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n{body}".encode())
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        async def with_sendfile(scope: Any, receive: Any, send: Any) -> None:
            async def send_or_sendfile(message: Message) -> None:
                if message["type"] == ZERO_COPY:
                    await _send_span(cycle, message["file"], message["offset"], message["count"])
                else:
                    await send(message)

            scope["extensions"] = {ZERO_COPY: {}}
            await app(scope, receive, send_or_sendfile)

        super()._start_asgi_task(cycle, with_sendfile)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
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
