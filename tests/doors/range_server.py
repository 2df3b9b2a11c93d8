"""A small HTTP server of one file with ranges, that fails on command: what a client meets on a bad day."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = str | int | tuple[int, bytes]


class RangeServer(ThreadingHTTPServer):
    """Serves `data` under every path.

    Args:
        data: The file.
        etag: Its validator.

    `faults` holds what the next requests meet, in order: a status to answer with, alone or with a body of its own, `cut`
    (close half-way), `reset` (close before any answer), `stall` (send half and nothing more), `shift` (send another range
    than asked for) or `ok`; or what is called to know it.
    """

    daemon_threads = True

    def __init__(self, data: bytes, etag: str = '"one"') -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data = data
        self.etag = etag
        self.faults: list[Fault | Callable[[], Fault]] = []
        self.bodies: list[bytes] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.stalled = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: RangeServer

    def _answer(self) -> None:
        served = self.server
        served.asked.append((self.command, self.path, dict(self.headers.items())))
        served.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        fault = served.faults.pop(0) if served.faults else "ok"
        fault = fault() if callable(fault) else fault
        self.close_connection = True
        if fault == "reset":
            return
        if isinstance(fault, int | tuple):
            status, body = fault if isinstance(fault, tuple) else (fault, served.body or b"")
            self._send(status, body, dict(served.headers))
            return
        asked = self.headers.get("Range", "")
        start = 0
        if asked and self.headers.get("If-Range") == served.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": served.etag}
        if start >= len(served.data) > 0:
            self._send(416, b"", headers | {"Content-Range": f"bytes */{len(served.data)}"})
            return
        if start:
            first = start + (1 if fault == "shift" else 0)
            headers["Content-Range"] = f"bytes {first}-{len(served.data) - 1}/{len(served.data)}"
        self._send(206 if start else 200, served.data[start:], headers, cut=fault in ("cut", "stall"))
        if fault == "stall":
            served.stalled.set()
            served.released.wait(30)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def _send(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: (len(body) + 1) // 2] if cut else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: a test's output is the runner's."""


@contextmanager
def serving(data: bytes = b"", etag: str = '"one"') -> Iterator[RangeServer]:
    """A running server, gone with all its connections at the end."""
    with RangeServer(data, etag) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
