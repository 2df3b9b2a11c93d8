"""Several machines, one registry: servers and workers that share a database and a store, and any of which may go."""

import contextlib
import io
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString

import httpx
import psutil
import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.conftest import Server, eventually, new_place, start_server, stop_server
from tests.doors.rest import PASSWORD, client_of, fresh, post_package, problem, publish, register
from tests.nginx import free_port, needs_nginx, nginx
from weighhouse.store import embedded
from weighhouse.store.database import libpq_url

BUDGET = 60


@dataclass(frozen=True)
class Site:
    """What machines share."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def database_url(self) -> str:
        return self.environment["WEIGHHOUSE_DATABASE_URL"]

    def server(self, name: str, port: int = 0, /, **settings: str) -> Server:
        """One more server, on a data directory of its own."""
        return start_server(self.folder / name, port, **self.environment, **settings)

    @contextlib.contextmanager
    def worker(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """One more worker, on a machine without a server."""
        folder = self.folder / name
        folder.mkdir()
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "weighhouse", "worker"],
                env=os.environ | dict(self.environment),
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def sql(self, statement: LiteralString, *values: object) -> list[tuple[object, ...]]:
        """The rows of a statement."""
        with psycopg.connect(libpq_url(make_url(self.database_url)), autocommit=True) as connection:
            done = connection.execute(statement, values)
            return done.fetchall() if done.description else []


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("machines")
    running = embedded.start(folder / "database")
    place = new_place(request)
    shared = place.environment() if place else {"WEIGHHOUSE_STORAGE_URL": f"file://{folder}/files"}
    nobody = {"WEIGHHOUSE_HF_ENDPOINT": "http://127.0.0.1:9", "WEIGHHOUSE_GITHUB_API_URL": "http://127.0.0.1:9"}
    yield Site(folder, {"WEIGHHOUSE_DATABASE_URL": running.url, "WEIGHHOUSE_WORKERS": "1", **nobody, **shared})
    running.stop()


@pytest.fixture(scope="module")
def pair(site: Site) -> Iterator[tuple[Server, Server]]:
    """Two servers that make their first start at the same time."""
    with ThreadPoolExecutor(2) as threads:
        starts = [threads.submit(site.server, name) for name in ("one", "two")]
        servers = (starts[0].result(), starts[1].result())
    yield servers
    for server in servers:
        stop_server(server)


Pair = tuple[Server, Server]


def test_an_upload_at_one_is_found_and_downloaded_at_the_other_at_once(pair: Pair) -> None:
    one, two = pair
    name = fresh("shared")
    with client_of(one, one.admin_token) as here, client_of(two, one.admin_token) as there:
        package_id = publish(here, name, files={"README.md": "# Here", "model.bin": b"there"})
        found = there.post("/packages", json=[{"name": name}]).json()["packages"]
        assert [package["id"] for package in found] == [package_id]
        assert there.get(f"/packages?name={name}").json()["packages"][0]["id"] == package_id
        address = there.get(f"/package/{package_id}").json()["download_url"]
        # Signed by one, honoured by the other: they share the key.
        moved = address.replace(two.url, one.url)
        for content in (there.get(address).content, here.get(moved).content):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                assert archive.read("model.bin") == b"there"
        assert there.delete(f"/package/{package_id}").status_code == 200
        assert here.get(f"/package/{package_id}/metadata").status_code == 404
        assert here.get(f"/packages?name={name}").json()["packages"] == []


def test_a_budget_is_exact_over_all_servers(site: Site, pair: Pair) -> None:
    account = register(pair[0], "search")
    site.sql("UPDATE tokens SET calls_used = calls_limit - %s WHERE user_id = %s", BUDGET, account.user_id)
    account.client.close()
    clients = [client_of(server, account.token) for server in pair]

    def call(number: int) -> int:
        return clients[number % 2].get("/user/me").status_code

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(call, range(2 * BUDGET)))
    for client in clients:
        client.close()
    assert sorted(answers) == [200] * BUDGET + [429] * BUDGET


def test_failed_logins_count_over_all_servers(pair: Pair) -> None:
    account = register(pair[0])
    account.client.close()
    wrong = {"username": account.username, "password": "not it at all"}
    with client_of(pair[0]) as here, client_of(pair[1]) as there:
        answers = [(here, there)[number % 2].post("/authenticate", json=wrong).status_code for number in range(10)]
        assert answers == [401] * 10
        right = {"username": account.username, "password": PASSWORD}
        for client in (here, there):
            problem(client.post("/authenticate", json=right), 429, "too-many-failures")


def test_what_is_taken_from_a_user_at_one_is_gone_at_the_other_with_the_next_request(pair: Pair) -> None:
    one, two = pair
    account = register(one, "search")
    with client_of(one, one.admin_token) as admin, client_of(two, account.token) as user:
        assert user.get("/packages").status_code == 200
        changed = admin.put(f"/user/{account.user_id}/permissions", json={"permissions": ["download"]})
        assert changed.status_code == 200
        problem(user.get("/packages"), 403)
        assert admin.delete(f"/user/{account.user_id}").status_code == 200
        problem(user.get("/user/me"), 401)
    account.client.close()


def test_figures_and_the_request_log_cover_all_servers(pair: Pair) -> None:
    marks = [f"machine-{secrets.token_hex(8)}" for _ in pair]
    for server, mark in zip(pair, marks, strict=True):
        with client_of(server) as client:
            client.get("/user/me", headers={"X-Request-ID": mark})

    def seen(server: Server) -> bool:
        with client_of(server, server.admin_token) as client:
            logged = {row["request_id"] for row in client.get("/logs?limit=1000").json()["logs"]}
            figures = client.get("/health?detailed=true").json()
        counts = {row["endpoint"]: row["count"] for row in figures["top_endpoints"]}
        return set(marks) <= logged and counts.get("GET /user/me", 0) >= 2

    for server in pair:
        eventually(lambda server=server: seen(server), 30)


# Workers


def worker_alone(folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHHOUSE_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "weighhouse", "worker"],
        cwd=folder,
        env=inherited | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_worker_elsewhere_has_to_be_told_of_the_store_and_of_the_right_one(
    site: Site, pair: Pair, tmp_path: Path
) -> None:
    with client_of(pair[0], pair[0].admin_token) as client:
        publish(client)
    refused = worker_alone(tmp_path, WEIGHHOUSE_DATABASE_URL=site.database_url)
    assert refused.returncode == 1
    assert "WEIGHHOUSE_STORAGE_URL" in refused.stderr
    assert not (tmp_path / "data").exists()

    wrong = f"file://{tmp_path}/elsewhere"
    refused = worker_alone(tmp_path, WEIGHHOUSE_DATABASE_URL=site.database_url, WEIGHHOUSE_STORAGE_URL=wrong)
    assert refused.returncode == 1
    assert "none of the files" in refused.stderr


def test_a_worker_of_its_own_weighs_and_ends_in_order(site: Site, pair: Pair) -> None:
    with _without_workers(pair), site.worker("helping") as worker, client_of(pair[0], pair[0].admin_token) as client:
        package_id = publish(client)
        eventually(lambda: _status(client, package_id) == "evaluated", 60)
        assert site.sql("SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '60 s'")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


@pytest.mark.long
def test_the_job_of_a_worker_that_was_killed_is_done_once_by_another(site: Site, pair: Pair) -> None:
    silent = _Silent()
    environment = {**site.environment, "WEIGHHOUSE_GITHUB_API_URL": silent.url}
    stalling = Site(site.folder, environment)
    with silent, _without_workers(pair), client_of(pair[0], pair[0].admin_token) as client:
        with stalling.worker("doomed") as doomed:
            package_id = publish(client, code_url="https://github.com/acme/code")

            def is_in_hand() -> bool:
                rows = site.sql(
                    "SELECT status::text FROM procrastinate_jobs WHERE args->>'package_id' = %s", package_id
                )
                return rows == [("doing",)]

            eventually(is_in_hand, 60)
            # With whatever it started: it leads a group of its own.
            os.killpg(doomed.pid, signal.SIGKILL)
            doomed.wait()
        assert _status(client, package_id) == "evaluating"
        with site.worker("following"):
            eventually(lambda: _status(client, package_id) == "evaluated", 200)
        assert len(client.get(f"/package/{package_id}/evaluations").json()["evaluations"]) == 1


def _status(client: httpx.Client, package_id: str) -> str:
    return str(client.get(f"/package/{package_id}/metadata").json()["status"])


@contextlib.contextmanager
def _without_workers(pair: Pair) -> Iterator[None]:
    """The servers with their own workers stopped, as if others were faster."""
    workers = [
        child
        for server in pair
        for child in psutil.Process(server.process.pid).children()
        if "worker" in child.cmdline()
    ]
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            worker.resume()


class _Silent:
    """A host that takes connections and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


# Behind a proxy, under load


@dataclass
class Visitors:
    """Clients that search, download and upload through the proxy, and try each request once more if it fails."""

    url: str
    token: str
    uploaded: dict[str, bytes] = field(default_factory=dict)
    answered: int = 0
    cured: int = 0
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Has them come for as long as the block lasts."""
        threads = [threading.Thread(target=self._visit, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-Authorization": self.token}, verify=False, timeout=60)

    def _visit(self, number: int) -> None:
        with self.client() as client:
            while not self._stop.is_set():
                self._search(client)
                if number % 2:
                    self._upload(client)

    def _search(self, client: httpx.Client) -> None:
        self._twice(lambda: client.post("/packages", json=[{"name": "load-"}]), {200})

    def _upload(self, client: httpx.Client) -> None:
        name, content = fresh("load"), secrets.token_bytes(200_000)
        files: dict[str, str | bytes] = {"README.md": "# The same for all", "model.bin": content}
        # The first try may have arrived, and only its answer be lost.
        sent = self._twice(
            lambda: post_package(client, name, files=files, headers={"Prefer": "respond-async"}), {201, 202, 409}
        )
        if sent is not None:
            with self._lock:
                self.uploaded[name] = content

    def _twice(self, ask: Callable[[], httpx.Response], good: set[int]) -> httpx.Response | None:
        faults = []
        for _ in range(2):
            try:
                answer = ask()
            except httpx.TransportError as error:
                faults.append(repr(error))
            else:
                if answer.status_code in good:
                    with self._lock:
                        self.answered += 1
                        self.cured += bool(faults)
                    return answer
                faults.append(f"{answer.status_code} {answer.text[:200]}")
            time.sleep(0.5)
        with self._lock:
            self.failed.append(" / ".join(faults))
        return None


def _lose_machines_under_load(site: Site, tmp_path: Path, rounds: int) -> None:
    port = free_port()
    settings = {"WEIGHHOUSE_TRUSTED_PROXIES": "127.0.0.1", "WEIGHHOUSE_PUBLIC_URL": f"https://localhost:{port}"}
    servers = [site.server(f"{tmp_path.name}-{number}", **settings) for number in range(2)]
    try:
        with (
            nginx(tmp_path / "nginx", port, [server.url.removeprefix("http://") for server in servers]) as url,
            contextlib.ExitStack() as workers,
        ):
            visitors = Visitors(url, servers[0].admin_token)
            with visitors.at_work():
                for number in range(rounds):
                    worker = workers.enter_context(site.worker(f"{tmp_path.name}-w{number}"))
                    time.sleep(1.5)
                    victim = servers.pop(0)
                    os.killpg(worker.pid, signal.SIGKILL)
                    if number % 2:
                        stop_server(victim)
                    else:
                        victim.process.kill()
                        _reap(victim)
                    time.sleep(1.5)
                    place = int(victim.url.rpartition(":")[2])
                    servers.append(site.server(f"{tmp_path.name}-r{number}", place, **settings))
            assert visitors.failed == []
            assert visitors.answered > 10
            _check_all_there(visitors)
    finally:
        for server in servers:
            stop_server(server)


def _reap(server: Server) -> None:
    server.process.wait()
    assert server.process.stdout is not None
    server.process.stdout.close()


def _check_all_there(visitors: Visitors) -> None:
    with visitors.client() as client:
        assert visitors.uploaded
        for name, content in visitors.uploaded.items():
            (package,) = client.post("/packages", json=[{"name": name}]).json()["packages"]
            address = client.get(f"/package/{package['id']}").json()["download_url"]
            with zipfile.ZipFile(io.BytesIO(client.get(address).content)) as archive:
                assert archive.read("model.bin") == content

        def is_all_weighed() -> bool:
            names = "/packages?name=load-&limit=100"
            page = client.get(names).json()["packages"]
            return all(_status(client, package["id"]) == "evaluated" for package in page)

        eventually(is_all_weighed, 120)


@needs_nginx
def test_one_server_and_one_worker_killed_under_load_cost_no_request_that_is_tried_again(
    site: Site, tmp_path: Path
) -> None:
    _lose_machines_under_load(site, tmp_path, 1)


@needs_nginx
@pytest.mark.long
def test_servers_and_workers_that_go_again_and_again_cost_no_request_that_is_tried_again(
    site: Site, tmp_path: Path
) -> None:
    _lose_machines_under_load(site, tmp_path, 4)
