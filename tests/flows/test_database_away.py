"""A server whose database is out of reach: it says so soon, and works again as soon as the database does."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from tests.conftest import ADMIN_PASSWORD, Server, eventually, new_database, new_place, server_at
from tests.doors.rest import client_of, problem
from tests.fault_proxy import Fault, FaultProxy

# A quiet machine needs less than five; without bounds of ours it would be minutes.
SOON_SECONDS = 25


@pytest.fixture(scope="module")
def network(
    request: pytest.FixtureRequest, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FaultProxy, Server]]:
    """A network that can fail, and a server that reaches its database through it."""
    with new_database(postgres) as database, FaultProxy(str(make_url(database).query["host"]), 5432) as proxy:
        through = make_url(database).set(host="127.0.0.1", port=proxy.port, query={"sslmode": "disable"})
        url = through.render_as_string(hide_password=False)
        folder = tmp_path_factory.mktemp("away") / "data"
        with server_at(new_place(request), folder, WEIGHHOUSE_DATABASE_URL=url, WEIGHHOUSE_WORKERS="1") as server:
            yield proxy, server
            proxy.set()


@pytest.fixture
def proxy(network: tuple[FaultProxy, Server]) -> Iterator[FaultProxy]:
    """The network, which works at first and again when the test has ended."""
    yield network[0]
    network[0].set()


@pytest.fixture
def server(network: tuple[FaultProxy, Server]) -> Server:
    return network[1]


@pytest.mark.parametrize(
    "fault",
    [Fault(is_refusing=True), Fault(is_resetting=True), Fault(is_silent=True)],
    ids=["refuses", "resets", "falls silent"],
)
def test_an_outage_is_told_soon_and_ends_by_itself(server: Server, proxy: FaultProxy, fault: Fault) -> None:
    credentials = {"username": "admin", "password": ADMIN_PASSWORD}
    with client_of(server, server.admin_token) as client:
        assert client.get("/packages").status_code == 200
        # Longer than a connection may be idle without being greeted.
        time.sleep(6)
        proxy.set(fault)
        requests = (
            client.build_request("GET", "/packages"),
            client.build_request("POST", "/authenticate", json=credentials),
            client.build_request("GET", "/readyz"),
        )
        for request in requests:
            began = time.monotonic()
            problem(client.send(request), 503, "database-away")
            took = time.monotonic() - began
            print(f"{took:.1f} s")
            assert took < SOON_SECONDS
        assert client.get("/healthz").status_code == 200
        assert client.get("/health").json()["status"] == "unhealthy"
        proxy.set()
        eventually(lambda: _is_well(client), 60)


def _is_well(client: httpx.Client) -> bool:
    return client.get("/packages").status_code == 200 and client.get("/readyz").status_code == 200


def test_a_database_that_answers_late_is_waited_for(server: Server, proxy: FaultProxy) -> None:
    proxy.set(Fault(latency_seconds=0.5))
    with client_of(server, server.admin_token) as client:
        assert client.get("/packages").status_code == 200
        assert client.get("/readyz").status_code == 200


# Two machines


def _has_namespaces() -> bool:
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@dataclass(frozen=True)
class Machine:
    """A host of its own on a cable of its own: a namespace of the network, and what runs in it."""

    namespace: str
    cable: str

    @property
    def command(self) -> tuple[str, ...]:
        """In front of a command that runs there."""
        return ("ip", "netns", "exec", self.namespace)

    def status(self, url: str) -> int:
        """What a server there answers to somebody beside it."""
        ask = [
            *self.command,
            "curl",
            "--silent",
            "--max-time",
            "30",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ]
        return int(subprocess.run([*ask, url], capture_output=True, text=True, check=False).stdout or "0")

    def plug(self, is_in: bool) -> None:
        """Puts the cable in, or pulls it out."""
        _ip("link", "set", self.cable, "up" if is_in else "down")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def machine() -> Iterator[tuple[Machine, str]]:
    """Another machine, and the address under which it reaches this one."""
    word = secrets.token_hex(3)
    other = Machine(f"wh-{word}", f"wh-{word}-a")
    network = f"10.213.{secrets.randbelow(250) + 1}"
    try:
        _ip("netns", "add", other.namespace)
        _ip("link", "add", other.cable, "type", "veth", "peer", "name", f"wh-{word}-b", "netns", other.namespace)
        _ip("addr", "add", f"{network}.1/24", "dev", other.cable)
        _ip("-n", other.namespace, "addr", "add", f"{network}.2/24", "dev", f"wh-{word}-b")
        for device in ("lo", f"wh-{word}-b"):
            _ip("-n", other.namespace, "link", "set", device, "up")
        other.plug(True)
        yield other, f"{network}.1"
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no networks: {error.stderr.decode()[:200]}")
    finally:
        # Its end of the cable goes with it.
        subprocess.run(["ip", "netns", "delete", other.namespace], capture_output=True, check=False)


@pytest.mark.long
@pytest.mark.skipif(not _has_namespaces(), reason="this machine makes no namespaces of the network")
def test_a_server_whose_cable_is_pulled_out_says_so_and_goes_on_when_it_is_back(
    machine: tuple[Machine, str], database_url: str, tmp_path: Path
) -> None:
    other, here = machine
    with FaultProxy(str(make_url(database_url).query["host"]), 5432, listen_on=here) as database:
        through = make_url(database_url).set(host=here, port=database.port, query={"sslmode": "disable"})
        environment = {
            "WEIGHHOUSE_DATABASE_URL": through.render_as_string(hide_password=False),
            "WEIGHHOUSE_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "WEIGHHOUSE_WORKERS": "1",
        }
        command = [*other.command, sys.executable, "-P", "-m", "weighhouse", "serve", "--port", "8000"]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, env=os.environ | environment, cwd=tmp_path, stdout=log, stderr=log)
        url = "http://127.0.0.1:8000"
        try:
            eventually(lambda: other.status(f"{url}/readyz") == 200, 120)
            # Longer than a connection may be idle without being greeted.
            time.sleep(6)
            other.plug(False)
            began = time.monotonic()
            assert other.status(f"{url}/readyz") == 503
            took = time.monotonic() - began
            print(f"{took:.1f} s")
            assert took < SOON_SECONDS
            assert other.status(f"{url}/healthz") == 200
            other.plug(True)
            eventually(lambda: other.status(f"{url}/readyz") == 200, 120)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(120)
            finally:
                process.kill()
                process.wait()
