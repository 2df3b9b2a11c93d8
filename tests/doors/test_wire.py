"""Who sends on after the answer is heard out for a moment, and no longer."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server
from tests.doors.rest import Account, Wire, client_of, problem
from weighhouse.doors.wire import LINGER_BYTES

_FORM = "Content-Type: multipart/form-data; boundary=b"
# More than the kernels of both sides hold beside what the server takes.
_BUFFERED_BYTES = 256 * 1024 * 1024


@pytest.fixture
def twenty_megabytes(tmp_path: Path) -> Path:
    """A file that is far larger than what is taken from somebody who was refused."""
    path = tmp_path / "package.zip"
    path.write_bytes(bytes(20_000_000))
    return path


@pytest.mark.parametrize("kind", ["Content-Length: 100000000000", "Transfer-Encoding: chunked"])
def test_a_refused_upload_that_never_ends_is_cut(server: Server, kind: str) -> None:
    piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    sent = 0
    with Wire(server, timeout=30) as wire:
        wire.head("POST /package", "X-Authorization: wrong", _FORM, kind)
        with suppress(ConnectionResetError, BrokenPipeError):
            while sent < LINGER_BYTES + _BUFFERED_BYTES:
                wire.send(piece)
                sent += len(piece)
        answer = wire.all()
    assert sent < LINGER_BYTES + _BUFFERED_BYTES
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in head.lower() + b"\r\n"
    assert b"/problems/token-refused" in body


@pytest.mark.parametrize(
    "beginning",
    [
        "GET /health?",
        "GET /health HTTP/1.1\r\nHost: localhost\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Endless: ",
        "POST /authenticate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        "POST /authenticate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Endless: ",
    ],
    ids=["address", "header-name", "header", "chunk", "trailer"],
)
def test_what_has_no_end_is_not_kept_until_it_ends(server: Server, beginning: str) -> None:
    sent = 0
    with Wire(server, timeout=30) as wire:
        with suppress(ConnectionResetError, BrokenPipeError):
            wire.send(beginning.encode())
            while sent < LINGER_BYTES + _BUFFERED_BYTES:
                wire.send(b"a" * 65536)
                sent += 65536
        answer = wire.all()
    assert sent < LINGER_BYTES + _BUFFERED_BYTES
    # An answer that was on its way may come before.
    assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 415 "))


def test_a_refused_upload_that_trickles_is_cut(server: Server) -> None:
    with Wire(server, timeout=30) as wire:
        wire.head("POST /package", "X-Authorization: wrong", _FORM, "Content-Length: 1000000")
        with suppress(ConnectionResetError, BrokenPipeError):
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                wire.send(b"x")
                time.sleep(0.1)
            pytest.fail("It was listened to for half a minute")


def test_what_follows_a_refused_body_is_no_request(server: Server, admin: httpx.Client) -> None:
    before = admin.get("/user/me").json()["calls_remaining"]
    token = admin.headers["X-Authorization"]
    with Wire(server) as wire:
        wire.head("POST /package", "X-Authorization: wrong", _FORM, "Content-Length: 20000")
        assert wire.line().startswith(b"HTTP/1.1 401 ")
        wire.send(bytes(20_000))
        wire.head("GET /user/me", f"X-Authorization: {token}")
        assert b"HTTP/1.1" not in wire.all()
    assert admin.get("/user/me").json()["calls_remaining"] == before - 1


def test_a_connection_stays_when_the_whole_body_had_come(server: Server) -> None:
    request = "POST /packages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    with Wire(server) as wire:
        wire.send(f"{request}\r\n[]".encode())
        wire.send(f"{request}Connection: close\r\n\r\n[]".encode())
        answers = wire.all()
    assert answers.count(b"HTTP/1.1 401 ") == 2
    assert answers.lower().count(b"connection: close") == 1


def test_httpx_sees_why_a_large_upload_was_refused(
    server: Server, reader: Account, twenty_megabytes: Path, strict: Server
) -> None:
    for at, token, status, kind in (
        (server, "wrong", 401, "token-refused"),
        (server, reader.token, 403, "permission-missing"),
        (strict, strict.admin_token, 413, "upload-too-large"),
    ):
        with client_of(at, token) as client, twenty_megabytes.open("rb") as file:
            answer = client.post("/package", data={"name": "a", "version": "1.0.0"}, files={"file": file})
            problem(answer, status, kind)

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(1_000_000)

    with client_of(server, "wrong") as client:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        problem(client.post("/package", content=pieces(), headers=headers), 401, "token-refused")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("expecting", [[], ["-H", "Expect:"]], ids=["asks-first", "asks-nothing"])
def test_curl_sees_why_a_large_upload_was_refused(server: Server, twenty_megabytes: Path, expecting: list[str]) -> None:
    form = ["-F", "name=a", "-F", "version=1.0.0", "-F", f"file=@{twenty_megabytes}"]
    command = ["curl", "-sS", *expecting, "-H", "X-Authorization: wrong", *form, f"{server.url}/package"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert b"/problems/token-refused" in done.stdout, done.stderr
