"""A server that is told to stop: those in front of it hear of it first, and what is under way is finished."""

import dataclasses
import http.client
import io
import os
import secrets
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Server, eventually, new_place, start_server
from tests.doors.rest import client_of, fresh, from_stream, problem, publish, sha256
from tests.make import zip_of

LARGE_BYTES = 24 * 1024 * 1024


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """One that says for so many seconds that it is about to stop."""
    place = new_place(request)
    settings = {"WEIGHHOUSE_WORKERS": "2", "WEIGHHOUSE_DRAIN_SECONDS": request.param}
    running = start_server(tmp_path / "data", **settings, **(place.environment() if place else {}))
    yield dataclasses.replace(running, place=place)
    running.process.kill()
    running.process.wait()
    assert running.process.stdout is not None
    running.process.stdout.close()


patient = pytest.mark.parametrize("server", ["3600"], indirect=True, ids=["patient"])
brief = pytest.mark.parametrize("server", ["1"], indirect=True, ids=["brief"])


def ends(server: Server) -> int:
    # What may take long one after another: requests in flight, the worker's job, the database.
    return server.process.wait(35 + 30 + 40)


def is_not_ready(server: Server) -> bool:
    with client_of(server) as client:
        return client.get("/readyz").status_code == 503


@patient
def test_readiness_falls_first_and_a_second_signal_ends_the_wait(server: Server) -> None:
    with client_of(server) as client:
        assert client.get("/readyz").status_code == 200
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: is_not_ready(server))
    with client_of(server, server.admin_token) as late:
        document = problem(late.get("/readyz"), 503, "draining")
        assert "another" in document["detail"]
        # Whoever has not noticed yet is served as ever.
        assert late.get("/healthz").status_code == 200
        assert late.get("/user/me").status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert ends(server) == 0
    with pytest.raises(httpx.ConnectError), client_of(server) as nobody:
        nobody.get("/healthz")


@brief
def test_an_upload_and_a_download_under_way_are_finished(server: Server) -> None:
    content = secrets.token_bytes(LARGE_BYTES)
    with client_of(server, server.admin_token) as client:
        package_id = publish(client, files={"README.md": "# Large", "model.bin": content})
        address = from_stream(server, client, package_id)
    place = urlsplit(address)
    with closing(socket.create_connection((str(place.hostname), place.port or 80), timeout=60)) as download:
        # A small window, so that most of the file is still with the server.
        download.sendall(
            f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode()
        )
        taken = download.recv(1000)
        upload = _HalfAnUpload(server)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: _refuses(server), 60)
        assert server.process.poll() is None

        assert upload.finish() == 201
        while piece := download.recv(1024 * 1024):
            taken += piece
    with zipfile.ZipFile(io.BytesIO(taken.partition(b"\r\n\r\n")[2])) as archive:
        assert sha256(archive.read("model.bin")) == sha256(content)
    assert ends(server) == 0


class _HalfAnUpload:
    """An upload of which the server has read some, and waits for the rest."""

    def __init__(self, server: Server) -> None:
        mark = "the-boundary"
        file = zip_of({"README.md": "# Late", "model.bin": os.urandom(400_000)})
        head = "".join(
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in (("name", fresh("late")), ("version", "1.0.0"))
        )
        head += f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="p.zip"\r\n\r\n'
        body = head.encode() + file + f"\r\n--{mark}--\r\n".encode()
        place = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
        self._connection.putrequest("POST", "/package")
        self._connection.putheader("X-Authorization", server.admin_token)
        self._connection.putheader("Content-Type", f"multipart/form-data; boundary={mark}")
        self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders()
        self._connection.send(body[:200_000])
        self._rest = body[200_000:]
        # Nothing tells that it was taken in.
        time.sleep(0.5)

    def finish(self) -> int:
        """Sends the rest slowly; the status of the answer."""
        for start in range(0, len(self._rest), 50_000):
            self._connection.send(self._rest[start : start + 50_000])
            time.sleep(0.1)
        status = self._connection.getresponse().status
        self._connection.close()
        return status


def _refuses(server: Server) -> bool:
    place = urlsplit(server.url)
    with socket.socket() as probe:
        return probe.connect_ex((str(place.hostname), place.port or 80)) != 0


@patient
def test_under_load_nobody_who_heeds_readiness_sees_an_error(server: Server) -> None:
    faults: list[str] = []
    answered = 0

    def visit() -> None:
        nonlocal answered
        while True:
            try:
                with client_of(server, server.admin_token) as client:
                    if client.get("/readyz").status_code == 503:
                        return
                    status = client.get("/packages").status_code
            except httpx.HTTPError as error:
                faults.append(repr(error))
                return
            answered += 1
            if status != 200:
                faults.append(str(status))

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    server.process.send_signal(signal.SIGTERM)
    assert faults == []
    assert answered > 0
    assert ends(server) == 0
