"""A server as an operator starts it: what happens when it, or a part of it, is told to end or is killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest

PATIENCE_SECONDS = 30


def until(what: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Returns as soon as `what` holds; fails the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def weighhouse(*arguments: str | Path, folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "weighhouse", *arguments],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def environment(settings: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHHOUSE_")}
    return inherited | {f"WEIGHHOUSE_{name}": value for name, value in settings.items()}


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that ended and waits for its parent to notice does not."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@dataclass
class Server:
    """A server that runs in `folder`, its data in `folder/data`."""

    process: subprocess.Popen[str]
    folder: Path
    address: str

    @classmethod
    def start(cls, folder: Path, port: int = 0) -> "Server":
        with (folder / "server.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "weighhouse", "serve", "--port", str(port), "--workers", "2"],
                cwd=folder,
                env=environment({}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        with process.stdout:
            line = process.stdout.readline()
        ready = re.search(r"ready at (http://\S+)", line)
        assert ready, (folder / "server.log").read_text()
        return cls(process, folder, ready[1])

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def children(self, word: str) -> set[int]:
        """Ids of the processes it started whose command line holds `word`."""
        found = psutil.process_iter(["ppid", "cmdline"])
        return {
            one.pid for one in found if one.info["ppid"] == self.process.pid and word in (one.info["cmdline"] or ())
        }

    def family(self) -> list[psutil.Process]:
        """The processes it started and those that they started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def is_healthy(self) -> bool:
        try:
            with urlopen(f"{self.address}/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("an installation")


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    server = Server.start(folder)
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For tests that leave it running."""
    server = Server.start(tmp_path_factory.mktemp("shared"))
    yield server
    assert server.end() == 0


def half_a_request(server: Server) -> socket.socket:
    """A connection on which the API process waits for the rest of a body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
    head = (
        "POST /authenticate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{"
    )
    connection.sendall(head.encode())
    # Nothing tells that the head was taken in.
    time.sleep(0.5)
    return connection


def test_sigterm_ends_everything_it_started(server: Server) -> None:
    assert server.is_healthy()
    family = server.family()
    assert {"postgres"} < {process.name() for process in family}
    # The worker is not asked for its health; a database out of its reach would show here.
    assert "error connecting" not in (server.folder / "server.log").read_text()

    began = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - began < 25
    # The database's log writer ends last, and nobody waits for it.
    until(lambda: not alive(family), 2)


def test_a_request_in_flight_is_answered_before_the_end_and_no_new_one_is_taken(server: Server) -> None:
    connection = half_a_request(server)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: refuses(server.port))
    assert server.process.poll() is None

    connection.sendall(b"}")
    assert connection.recv(64).startswith(b"HTTP/1.1 4")
    connection.close()
    assert server.process.wait(PATIENCE_SECONDS) == 0


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_second_signal_ends_it_without_waiting_for_requests(server: Server) -> None:
    with half_a_request(server):
        family = server.family()
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert time.monotonic() - began < 25
        until(lambda: not alive(family), 2)


def test_after_a_kill_no_child_holds_the_port_and_the_next_start_recovers(folder: Path, server: Server) -> None:
    ours = [process for process in server.family() if "weighhouse.doors.cli.child" in process.cmdline()]
    assert len(ours) == 3
    server.process.kill()
    server.process.wait()
    until(lambda: not alive(ours), 5)

    again = Server.start(folder, server.port)
    assert again.is_healthy()
    assert again.end() == 0


def test_each_part_that_is_killed_is_replaced(shared: Server) -> None:
    api, worker = shared.children("api"), shared.children("worker")
    assert (len(api), len(worker)) == (2, 1)
    os.kill(min(api), signal.SIGSEGV)
    os.kill(min(worker), signal.SIGKILL)
    until(lambda: len(shared.children("api") - api) == 1 and len(shared.children("worker") - worker) == 1)
    assert shared.is_healthy()
    assert f"api process {min(api)} ended (SIGSEGV)" in (shared.folder / "server.log").read_text()

    pid_file = shared.folder / "data" / "postgres" / "postmaster.pid"
    postmaster = int(pid_file.read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    until(lambda: "PostgreSQL runs again" in (shared.folder / "server.log").read_text())
    until(shared.is_healthy)
    assert int(pid_file.read_text().splitlines()[0]) != postmaster


def test_a_second_server_on_the_same_data_is_refused_and_so_is_a_port_in_use(shared: Server) -> None:
    second = weighhouse("serve", "--port", "0", folder=shared.folder)
    assert second.returncode == 1
    assert f"process {shared.process.pid}, {shared.address}" in second.stderr

    elsewhere = weighhouse("serve", "--port", str(shared.port), "--data-dir", "elsewhere", folder=shared.folder)
    assert elsewhere.returncode == 1
    assert f"Port {shared.port} on 127.0.0.1 is in use" in elsewhere.stderr
    assert not (shared.folder / "elsewhere" / "postgres").exists()


def test_secrets_are_not_on_a_command_line(shared: Server) -> None:
    password = (shared.folder / "data" / "postgres-password").read_text().strip()
    lines = [" ".join(process.cmdline()) for process in shared.family()]
    assert len(lines) > 4
    assert not [line for line in lines if password in line]


@pytest.mark.parametrize("password", [None, "", "admin123"])
def test_the_default_password_is_refused_where_others_could_use_it(folder: Path, password: str | None) -> None:
    settings = {} if password is None else {"ADMIN_PASSWORD": password}
    refused = weighhouse("serve", "--host", "0.0.0.0", "--port", "0", folder=folder, **settings)
    assert refused.returncode == 1
    assert "WEIGHHOUSE_ADMIN_PASSWORD" in refused.stderr


def test_the_default_password_is_refused_behind_a_proxy_too(folder: Path) -> None:
    refused = weighhouse("serve", "--port", "0", folder=folder, TRUSTED_PROXIES="127.0.0.1")
    assert refused.returncode == 1
    assert "through a proxy" in refused.stderr


def test_a_setting_that_cannot_be_used_is_named(folder: Path) -> None:
    refused = weighhouse("serve", folder=folder, PORT="a lot", LOG_LEVEL="loud", HF_TOKEN="hf_secret")
    assert refused.returncode == 2
    assert "WEIGHHOUSE_PORT" in refused.stderr
    assert "WEIGHHOUSE_LOG_LEVEL" in refused.stderr
    assert "hf_secret" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_migrate_makes_the_schema_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        done = weighhouse("migrate", folder=tmp_path)
        assert (done.returncode, done.stdout) == (0, "The schema is up to date.\n")
    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()


def test_a_worker_without_a_server_says_what_is_missing(tmp_path: Path) -> None:
    refused = weighhouse("worker", folder=tmp_path)
    assert refused.returncode == 1
    assert "holds no embedded database" in refused.stderr


def test_an_unknown_command_is_answered_with_those_that_exist(folder: Path) -> None:
    refused = weighhouse("srve", folder=folder)
    assert refused.returncode == 1
    assert "srve is neither a command" in refused.stderr
    assert "serve, worker, migrate" in refused.stderr
