"""Clients that say little, slowly or nothing are hung up on in time, and hold up nobody meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests import sabotage
from tests.conftest import Server, start_server, stop_server
from tests.doors.rest import Wire, client_of, fresh, post_package

# As short as a test can wait; the code and the bytes are the server's own.
_SHORT = {
    "weighhouse.doors.wire:HEAD_SECONDS": 2,
    "weighhouse.doors.api.body:SILENT_SECONDS": 2,
    "weighhouse.doors.api.body:SLOW_AFTER_SECONDS": 3,
}
_JSON = ("Content-Type: application/json", "Content-Length: 1000")
_WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    harm = sabotage.environment(tmp_path_factory.mktemp("site"), _SHORT)
    running = start_server(tmp_path_factory.mktemp("impatient") / "data", WEIGHHOUSE_WORKERS="1", **harm)
    yield running
    stop_server(running)


def drip(wire: Wire, piece: bytes, pause: float) -> None:
    """Sends the piece again and again, until the server hangs up."""

    def send() -> None:
        for _ in range(100):
            try:
                wire.send(piece)
            except OSError:
                return
            time.sleep(pause)

    threading.Thread(target=send, daemon=True).start()


def silent(wire: Wire, token: str) -> None:
    """Says nothing."""


def half_a_head(wire: Wire, token: str) -> None:
    """Begins a request and says no more."""
    wire.send(b"GET /healthz HTTP/1.1\r\nHos")


def dripping_head(wire: Wire, token: str) -> None:
    """A header that comes byte by byte."""
    wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    drip(wire, b"x", 0.3)


def half_a_second_head(wire: Wire, token: str) -> None:
    """A good request, and then a part of one."""
    wire.send(_WHOLE)
    assert b"200" in wire.line()
    wire.send(b"GET /heal")


def dripping_second_head(wire: Wire, token: str) -> None:
    """A good request, and then one that never comes to an end."""
    wire.send(_WHOLE)
    assert b"200" in wire.line()
    wire.send(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
    drip(wire, b"x", 0.3)


def empty_lines(wire: Wire, token: str) -> None:
    """Empty lines between requests are allowed, and none of them is a request."""
    wire.send(_WHOLE)
    assert b"200" in wire.line()
    drip(wire, b"\r\n", 0.3)


def no_body(wire: Wire, token: str) -> None:
    """JSON that is announced and never comes."""
    wire.head("POST /authenticate", *_JSON)


def dripping_body(wire: Wire, token: str) -> None:
    """JSON that comes byte by byte."""
    wire.head("POST /authenticate", *_JSON)
    drip(wire, b" ", 0.3)


def dripping_chunks(wire: Wire, token: str) -> None:
    """The same without a length."""
    wire.head("POST /authenticate", _JSON[0], "Transfer-Encoding: chunked")
    drip(wire, b"1\r\n \r\n", 0.3)


def upload_that_stops(wire: Wire, token: str) -> None:
    """An upload of which only the beginning comes."""
    headers = ("Content-Type: multipart/form-data; boundary=b", "Content-Length: 1000000")
    wire.head("POST /package", f"X-Authorization: {token}", *headers)
    wire.send(b"--b\r\n")


def dripping_upload(wire: Wire, token: str) -> None:
    """An upload that comes byte by byte."""
    upload_that_stops(wire, token)
    drip(wire, b"-", 0.3)


KINDS: list[Callable[[Wire, str], None]] = [
    silent,
    half_a_head,
    dripping_head,
    half_a_second_head,
    dripping_second_head,
    empty_lines,
    no_body,
    dripping_body,
    dripping_chunks,
    upload_that_stops,
    dripping_upload,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_slow_client_is_hung_up_on_in_time(impatient: Server, kind: Callable[[Wire, str], None]) -> None:
    began = time.monotonic()
    with Wire(impatient, timeout=15) as wire:
        kind(wire, impatient.admin_token)
        answer = wire.all()
    assert time.monotonic() - began < 12
    if "body" in kind.__name__ or "chunks" in kind.__name__:
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"/problems/body-too-slow" in answer
    if "upload" in kind.__name__:
        assert b"/problems/upload-too-slow" in answer
    assert list((impatient.data_dir / "store" / "staging").iterdir()) == []


def test_two_hundred_slow_clients_hold_up_nobody(impatient: Server) -> None:
    slow = [Wire(impatient) for _ in range(200)]
    try:
        for number, wire in enumerate(slow):
            KINDS[number % len(KINDS)](wire, impatient.admin_token)
        with client_of(impatient, impatient.admin_token) as client:
            began = time.monotonic()
            assert post_package(client, fresh(), headers={"Prefer": "respond-async"}).status_code == 202
            assert client.get("/user/me").status_code == 200
            assert time.monotonic() - began < 5
    finally:
        for wire in slow:
            with wire:
                pass


def test_who_takes_a_pause_between_requests_is_kept(impatient: Server) -> None:
    with Wire(impatient) as wire:
        for _ in range(3):
            wire.send(_WHOLE)
            # The body of the answer before may come first.
            assert b"HTTP/1.1 200 " in wire.line()
            time.sleep(3)
