"""What tests stand on: one real PostgreSQL a session, a fresh database cloned for each test that asks, a real server."""

import contextlib
import dataclasses
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import hypothesis
import psycopg
import pytest
from pydantic import SecretStr

from tests.fault_proxy import FaultProxy
from tests.swift_server import SwiftServer, Unusable, shared
from weighhouse.app import App
from weighhouse.registry.accounts import ensure_admin
from weighhouse.settings import Settings
from weighhouse.store import embedded
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.database import Database, migrate
from weighhouse.store.s3 import S3, Access, bucket_at

# How fast an example runs says how busy the machine is, and nothing of what it checks.
hypothesis.settings.register_profile(
    "weighhouse", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("weighhouse")

ADMIN_PASSWORD = "correct horse battery staple"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--store s3` runs the tests of the doors on servers that keep their files in a bucket."""
    parser.addoption(
        "--store", choices=("disk", "s3"), default="disk", help="Where servers under test keep their files."
    )


@dataclasses.dataclass(frozen=True)
class Server:
    """A real server in processes of its own."""

    url: str
    admin_token: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    place: "Place | None" = None
    """Where in a bucket it keeps its files; `None` when it does so on disk."""
    way: FaultProxy | None = None
    """The network between it and that bucket, where there is one to be disturbed."""

    def client(self, token: str | None = None) -> httpx.Client:
        """A client that sends a token, the admin's when none is given; `""` sends none."""
        sent = self.admin_token if token is None else token
        return httpx.Client(base_url=self.url, headers={"X-Authorization": sent} if sent else {}, timeout=60)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL with a migrated database to clone."""
    folder = Path(tempfile.mkdtemp(prefix="wh-pg-"))
    running = embedded.start(folder)
    try:
        migrate(running.url)
        yield running.url
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count()


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """A database of the test's own, with the schema and no rows."""
    with new_database(postgres) as url:
        yield url


@contextlib.contextmanager
def new_database(postgres: str) -> Iterator[str]:
    """One more database, with the schema and no rows, until the block ends."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin_url = _on_database(postgres, "postgres")
    _run_alone(admin_url, f'CREATE DATABASE "{name}" TEMPLATE weighhouse STRATEGY FILE_COPY')
    yield _on_database(postgres, name, driver="postgresql+psycopg")
    _run_alone(admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _run_alone(url: str, statement: str) -> None:
    """Runs a statement that wants a database for itself, as soon as PostgreSQL's own vacuum has left it."""

    def is_done() -> bool:
        with psycopg.connect(url, autocommit=True) as connection:
            try:
                connection.execute(statement.encode())
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectInUse):
                # Its process is nobody's to end but a superuser's.
                return False
        return True

    eventually(is_done, seconds=60)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of a registry in the test's own database and folder."""
    return Settings(
        _env_file=None, database_url=database_url, data_dir=tmp_path / "data", admin_password=SecretStr(ADMIN_PASSWORD)
    )


@pytest.fixture
def registry(settings: Settings) -> Iterator[App]:
    """A registry of the test's own, at its first start."""
    assert settings.database_url is not None
    with DiskBlobs(settings.data_dir / "store") as blobs:
        app = App(settings, Database(settings.database_url), blobs)
        ensure_admin(app)
        yield app
        app.close()


@dataclasses.dataclass(frozen=True)
class Place:
    """A part of a bucket that nobody else uses."""

    url: str
    endpoint: str
    server: SwiftServer

    def open(self, endpoint: str | None = None) -> S3:
        """A client of its own, through a proxy if one is given."""
        access = Access(
            endpoint or self.endpoint, "us-east-1", self.server.access_key_id, self.server.secret_access_key
        )
        return bucket_at(self.url, access)

    def environment(self, endpoint: str | None = None) -> Mapping[str, str]:
        """What a server has to be told to keep its files here."""
        return {
            "WEIGHHOUSE_STORAGE_URL": self.url,
            "WEIGHHOUSE_S3_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": self.server.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_access_key,
            "AWS_REGION": "us-east-1",
        }


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """A real S3 server, shared by all processes of the run."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(shared(folder))
        except Unusable as why:
            pytest.skip(str(why))
        yield running


@pytest.fixture(scope="session")
def whole_bucket(bucket_server: SwiftServer) -> str:
    """The address of a bucket that tests share; each has a prefix of its own."""
    name = f"weighhouse-{secrets.token_hex(4)}"
    place = Place(f"s3://{name}", bucket_server.endpoint, bucket_server)
    with contextlib.closing(place.open()) as bucket:
        bucket._signer.create_bucket(Bucket=name)
    return place.url


def place_in(whole_bucket: str, bucket_server: SwiftServer) -> Place:
    """A new part of the bucket."""
    return Place(f"{whole_bucket}/t-{secrets.token_hex(4)}", bucket_server.endpoint, bucket_server)


@pytest.fixture
def place(whole_bucket: str, bucket_server: SwiftServer) -> Iterator[Place]:
    """A part of a bucket that is the test's own."""
    place = place_in(whole_bucket, bucket_server)
    yield place
    with contextlib.closing(place.open()) as bucket:
        # The server keeps its objects in memory, perhaps. Small ones may stay until it ends: there are many.
        bucket.delete(*(key for key, size_bytes, _ in bucket.list() if size_bytes > 1024 * 1024))


@pytest.fixture
def bucket(place: Place) -> Iterator[S3]:
    """The same, to look at and to write to."""
    with contextlib.closing(place.open()) as bucket:
        yield bucket


def new_place(request: pytest.FixtureRequest) -> Place | None:
    """Where in a bucket one more server keeps its files; `None` where `--store` says that it does so on disk."""
    if request.config.getoption("--store") == "disk":
        return None
    whole_bucket = request.getfixturevalue("whole_bucket")
    return place_in(whole_bucket, request.getfixturevalue("bucket_server"))


def new_environment(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """What one more server is told of its store, according to `--store`."""
    place = new_place(request)
    return place.environment() if place else {}


@contextlib.contextmanager
def server_at(
    place: Place | None, data_dir: Path, way: FaultProxy | None = None, /, **environment: str
) -> Iterator[Server]:
    """A server that keeps its files at this place, past this proxy if there is one, until the block ends."""
    told = place.environment(way.url if way else None) if place else {}
    running = start_server(data_dir, **environment, **told)
    try:
        yield dataclasses.replace(running, place=place, way=way)
    finally:
        stop_server(running)


def start_server(data_dir: Path, port: int = 0, /, **environment: str) -> Server:
    """Starts `weighhouse serve`, on a free port if none is given, and returns when it is ready."""
    command = [sys.executable, "-m", "weighhouse", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    settings = {"WEIGHHOUSE_ADMIN_PASSWORD": ADMIN_PASSWORD, "WEIGHHOUSE_TOKEN_CALLS": "10000000", **environment}
    data_dir.mkdir(parents=True, exist_ok=True)
    log = (data_dir.parent / f"{data_dir.name}.log").open("wb")
    process = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=log, cwd=data_dir)
    log.close()
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    assert "http://" in line, (data_dir.parent / f"{data_dir.name}.log").read_text()[-3000:]
    url = "http://" + line.split("http://")[1].split()[0].rstrip("/.,;)")
    answer = httpx.post(f"{url}/authenticate", json={"username": "admin", "password": ADMIN_PASSWORD}, timeout=30)
    return Server(url, answer.json()["token"], data_dir, process)


def stop_server(server: Server) -> None:
    """Ends a server in order; one that does not end in time is killed."""
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(timeout=40)
    finally:
        server.process.kill()
        server.process.wait()
        if server.process.stdout is not None:
            server.process.stdout.close()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server, shared by all tests of a session: each uses names of its own."""
    with server_at(new_place(request), tmp_path_factory.mktemp("server") / "data") as running:
        yield running


def eventually(look: object, seconds: float = 20) -> object:
    """What `look()` answers once it is true; fails when it is not in time."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()  # type: ignore[operator]  # any callable without arguments
        if seen:
            return seen
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.1)


def _on_database(url: str, name: str, driver: str = "postgresql") -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).set(drivername=driver, database=name).render_as_string(hide_password=False)
