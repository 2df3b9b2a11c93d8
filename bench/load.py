"""An HTTP client that costs little: some connections, each with one request under way at any time."""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import uvloop

_STALLED_SECONDS = 60


@dataclass
class Load:
    """What came of some seconds of load."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    failures: int = 0
    body_bytes: int = 0

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        """Bytes of the bodies, in millions, a second."""
        return self.body_bytes / self.seconds / 1e6

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` of the answers did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def get(url: str, token: str | None = None) -> bytes:
    """The bytes of a GET request for the path of `url`."""
    return _request("GET", url, token, b"")


def post(url: str, token: str | None, body: bytes) -> bytes:
    """The bytes of a POST request with a JSON body."""
    return _request("POST", url, token, body)


def _request(method: str, url: str, token: str | None, body: bytes) -> bytes:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    if token is not None:
        lines.append(f"X-Authorization: {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def press(url: str, requests: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """`clients` connections go through `requests`, over and over, for some seconds."""
    deadline = time.perf_counter() + seconds
    endless = itertools.takewhile(lambda _: time.perf_counter() < deadline, itertools.cycle(requests))
    return uvloop.run(_run(url, endless, clients))


def go_through(url: str, requests: Iterable[bytes], *, clients: int) -> Load:
    """`clients` connections go through `requests` once."""
    return uvloop.run(_run(url, iter(requests), clients))


async def _run(url: str, requests: Iterator[bytes], clients: int) -> Load:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    load = Load()
    started = time.perf_counter()
    connections = []
    for _ in range(clients):
        ended = loop.create_future()
        connect = partial(_Connection, requests, load, ended)
        await loop.create_connection(connect, parts.hostname or "", parts.port or 0)
        connections.append(ended)
    await asyncio.gather(*connections)
    load.seconds = time.perf_counter() - started
    return load


class _Connection(asyncio.BufferedProtocol):
    """One connection. The bodies are counted and thrown away."""

    def __init__(self, requests: Iterator[bytes], load: Load, ended: asyncio.Future[None]) -> None:
        self._requests = requests
        self._load = load
        self._ended = ended
        self._buffer = bytearray(1024 * 1024)
        self._view = memoryview(self._buffer)
        self._head = b""
        self._left = -1
        self._status = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        body = nbytes
        if self._left < 0:
            self._head += self._view[:nbytes]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._status = self._head[9:12]
            self._left = _length(self._head[:end].lower())
            body = len(self._head) - end - 4
        self._left -= body
        self._load.body_bytes += body
        if self._left == 0:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._load.failures += 1
            self._ended.set_result(None)

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._ended.set_result(None)
            self._transport.close()
            return
        self._head, self._left = b"", -1
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _finish(self) -> None:
        if self._status in (b"200", b"206"):
            self._load.latencies_ms.append(1000 * (time.perf_counter() - self._sent_at))
        else:
            self._load.failures += 1
        self._next()


def _length(head: bytes) -> int:
    start = head.index(b"content-length:") + 15
    return int(head[start:].split(b"\r\n", 1)[0])
