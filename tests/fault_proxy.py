"""A TCP proxy between a program and what it talks to, which does on demand what networks do unasked."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

_PIECE_BYTES = 16 * 1024
# Closed with this, a connection is reset and not ended.
_AT_ONCE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """What is wrong with the way; by default nothing.

    Args:
        is_refusing: Nobody listens.
        is_resetting: Connections are reset, old and new ones.
        is_silent: Connections are taken, and no byte passes: a cable that was pulled out.
        latency_seconds: How late each piece of an answer is.
        bytes_per_second: How fast an answer passes at most.
        cut_after_bytes: How much of the answers of one connection passes before it is reset; 0 loses every answer.
        answer: What everybody gets instead of an answer.
        times: How many connections are hit before it is over, `None` for no end; of `cut_after_bytes` and `answer`.
    """

    is_refusing: bool = False
    is_resetting: bool = False
    is_silent: bool = False
    latency_seconds: float = 0
    bytes_per_second: float | None = None
    cut_after_bytes: int | None = None
    answer: bytes | None = None
    times: int | None = None


NONE = Fault()
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultProxy:
    """A proxy in a thread of its own, on loopback unless another address is given."""

    def __init__(self, host: str, port: int, listen_on: str = "127.0.0.1") -> None:
        """Listens, and passes on to this address; a folder as the host holds the socket of a PostgreSQL."""
        self._listen_on = listen_on
        self._upstream = (host, port)
        self._fault = NONE
        self._hits = 0
        self._connections: set[asyncio.StreamWriter] = set()
        self._deaf: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._server: asyncio.Server | None = None
        self.port = 0
        """Where it listens."""
        self._run(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """Its address for clients of HTTP."""
        return f"http://127.0.0.1:{self.port}"

    def set(self, fault: Fault = NONE) -> None:
        """Makes this wrong from now on, on connections that there are too; without a fault all is well."""
        self._run(self._change(fault))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        done.result(timeout=30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._listen_on, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._stop_listening()
        self._reset_all()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Those that were being opened are there only now. The loop closes their sockets at its next turn.
        self._reset_all()
        while any(_is_open(writer) for writer in self._connections):
            await asyncio.sleep(0)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _change(self, fault: Fault) -> None:
        self._fault, self._hits = fault, 0
        if fault.is_refusing or fault.is_resetting:
            self._reset_all()
        # What was swallowed is lost, so those can never be used again.
        for writer in self._deaf & self._connections:
            _reset(writer)
        self._deaf.clear()
        if fault.is_refusing:
            self._stop_listening()
        elif self._server is None:
            await self._listen()

    def _reset_all(self) -> None:
        for writer in list(self._connections):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections = {one for one in self._connections if _is_open(one)} | {writer}
        if self._fault.is_resetting:
            _reset(writer)
            return
        try:
            upstream_reader, upstream = await self._connect()
        except OSError:
            _reset(writer)
            return
        self._connections.add(upstream)
        if writer.is_closing():  # It was reset meanwhile.
            _reset(upstream)
            return
        try:
            await asyncio.gather(self._ask(reader, upstream, writer), self._answer(upstream_reader, writer))
        except OSError:
            pass  # One side hung up; the other is told below.
        finally:
            self._deaf.discard(writer)
            for end in (writer, upstream):
                end.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._upstream
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _ask(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(_PIECE_BYTES):
            if self._fault.is_silent:
                self._deaf.add(client)
            elif self._fault.answer is not None and self._hit():
                client.write(self._fault.answer)
                await client.drain()
                client.write_eof()
                upstream.close()
                return
            elif client not in self._deaf:
                upstream.write(data)
                await upstream.drain()
        upstream.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(_PIECE_BYTES):
            if self._fault.is_silent:
                self._deaf.add(client)
                continue
            if client in self._deaf:
                continue
            await self._wait(len(data))
            limit = self._fault.cut_after_bytes
            if limit is not None and passed + len(data) > limit and self._hit():
                client.write(data[: limit - passed] if limit > passed else b"")
                await client.drain()
                _reset(client)
                return
            passed += len(data)
            client.write(data)
            await client.drain()
        with contextlib.suppress(OSError):
            client.write_eof()

    async def _wait(self, size_bytes: int) -> None:
        speed = self._fault.bytes_per_second
        await asyncio.sleep(self._fault.latency_seconds + (size_bytes / speed if speed else 0))

    def _hit(self) -> bool:
        self._hits += 1
        return self._fault.times is None or self._hits <= self._fault.times


def _is_open(writer: asyncio.StreamWriter) -> bool:
    connection: socket.socket = writer.get_extra_info("socket")
    return connection.fileno() != -1


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
