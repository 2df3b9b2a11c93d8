"""Processes killed without warning: what was acknowledged stays, nothing is half there, nothing leaks."""

import io
import os
import random
import secrets
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import timedelta

import httpx
import psutil
import pytest
from pydantic import SecretStr

from tests.conftest import ADMIN_PASSWORD, Server, eventually, new_place, server_at
from tests.doors.rest import client_of, offered, post_package, publish, sql
from tests.kept import blobs, staged
from tests.payloads import running_pickle
from weighhouse.app import App
from weighhouse.registry.housekeeping import sweep
from weighhouse.settings import Settings
from weighhouse.store import embedded
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.database import Database


@pytest.fixture(scope="module")
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("crash") / "data"
    with server_at(new_place(request), folder, WEIGHHOUSE_WORKERS="2") as running:
        yield running


def children(server: Server, role: str) -> list[psutil.Process]:
    """The processes of this role that the server runs now."""
    return [child for child in psutil.Process(server.process.pid).children() if role in child.cmdline()]


def kill(server: Server, role: str) -> None:
    """Ends every process of a role, with whatever it started, as a loss of power would."""
    for child in children(server, role):
        os.killpg(child.pid, signal.SIGKILL)


def is_well(server: Server) -> bool:
    try:
        with client_of(server) as client:
            return bool(client.get("/health").json()["status"] == "healthy")
    except httpx.HTTPError:
        return False


class Uploads:
    """Uploads without end, and what came of them."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self.sent: dict[str, dict[str, str | bytes]] = {}
        self.acknowledged: dict[str, str] = {}
        self.strange: list[str] = []

    def __call__(self) -> None:
        while not self._stop.is_set():
            name = f"crash-{secrets.token_hex(6)}"
            own = self._random.randbytes(self._random.choice([10, 100_000, 3_000_000]))
            self.sent[name] = {"README.md": "# The same for all", "model.bin": own, "data/a.csv": name}
            try:
                with client_of(self._server, self._server.admin_token) as client:
                    answer = post_package(client, name, files=self.sent[name], headers={"Prefer": "respond-async"})
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code in {201, 202}:
                self.acknowledged[name] = answer.json()["package_id"]
            elif answer.status_code != 503:
                self.strange.append(f"{answer.status_code} {answer.text[:200]}")

    def stop(self) -> None:
        self._stop.set()


def _crash(server: Server, rounds: int, seed: int) -> None:
    print("seed", seed)
    moments = random.Random(seed)
    # So that some uploads get through: into a bucket each takes longer.
    longest_seconds = 0.6 if server.place is None else 3.0
    uploads = [Uploads(server, seed + number) for number in range(3)]
    threads = [threading.Thread(target=upload) for upload in uploads]
    for thread in threads:
        thread.start()
    try:
        for _ in range(rounds):
            time.sleep(moments.uniform(0.05, longest_seconds))
            kill(server, "api")
            eventually(lambda: is_well(server), 60)
    finally:
        for upload in uploads:
            upload.stop()
        for thread in threads:
            thread.join()
    assert not [line for upload in uploads for line in upload.strange]
    sent = {name: files for upload in uploads for name, files in upload.sent.items()}
    acknowledged = {name: package_id for upload in uploads for name, package_id in upload.acknowledged.items()}
    assert len(acknowledged) > rounds
    _check_visible(server, sent, acknowledged)
    _check_nothing_leaks(server)


def _check_visible(server: Server, sent: dict[str, dict[str, str | bytes]], acknowledged: dict[str, str]) -> None:
    found: dict[str, str] = {}
    with client_of(server, server.admin_token) as client:
        address: str | None = "/packages?name=crash-&limit=100"
        while address:
            page = client.get(address)
            found |= {package["name"]: package["id"] for package in page.json()["packages"]}
            address = page.links["next"]["url"] if page.json()["next_cursor"] else None
        assert acknowledged.items() <= found.items()
        assert found.keys() <= sent.keys()
        for name, package_id in found.items():
            # Without a token: a bucket takes it for one of its own.
            content = httpx.get(offered(client, package_id), timeout=60).content
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                there = {path: archive.read(path) for path in archive.namelist()}
            assert there == {
                path: text.encode() if isinstance(text, str) else text for path, text in sent[name].items()
            }


def _check_nothing_leaks(server: Server) -> None:
    settings = Settings(
        _env_file=None,
        database_url=embedded.running_url(server.data_dir),
        data_dir=server.data_dir,
        admin_password=SecretStr(ADMIN_PASSWORD),
    )
    assert settings.database_url
    # A bucket tells the age of what it keeps in whole seconds, some rounded up.
    grace = timedelta(seconds=-1 if server.place is None else -2)
    store = DiskBlobs(server.data_dir / "store") if server.place is None else S3Blobs(server.place.open())
    with store as kept:
        app = App(settings, Database(settings.database_url), kept)
        sweep(app, grace=grace)
        app.close()
    assert staged(server) == []
    held = {row[0] for row in sql(server, "SELECT DISTINCT encode(sha256, 'hex') FROM files")}
    assert set(blobs(server)) == held


def test_killed_in_the_middle_of_uploads_the_registry_is_whole(own: Server) -> None:
    _crash(own, 4, random.SystemRandom().randrange(10**6))


@pytest.mark.long
def test_killed_in_the_middle_of_uploads_again_and_again_the_registry_is_whole(own: Server) -> None:
    _crash(own, 15, random.SystemRandom().randrange(10**6))


@pytest.mark.long
def test_an_evaluation_whose_worker_was_killed_is_taken_up_again_and_counts_once(own: Server) -> None:
    code = {
        f"part{number}/run{other}.py": f"import os\nx{number} = {other}\n" * 200
        for number in range(20)
        for other in range(20)
    }
    with client_of(own, own.admin_token) as client:
        for _ in range(20):
            package_id = publish(client, files=code | {"README.md": f"# {secrets.token_hex(4)}"})
            if _killed_at_work(own, package_id):
                break
        else:
            pytest.fail("No evaluation took long enough to be interrupted.")

        def is_weighed() -> bool:
            return bool(client.get(f"/package/{package_id}/metadata").json()["status"] == "evaluated")

        assert not is_weighed()
        eventually(is_weighed, 90)
        assert len(client.get(f"/package/{package_id}/evaluations").json()["evaluations"]) == 1


@pytest.mark.long
def test_a_worker_that_is_killed_while_it_scans_leaves_no_child_and_the_verdict_comes(own: Server) -> None:
    # Harmless in the end, and seconds of opcodes before it. What is behind it is not.
    slow = b"\x80\x02" + b")" * 1_000_000 + b"\x85" * 1_000_000 + b"." + running_pickle()
    with client_of(own, own.admin_token) as client:
        package_id = publish(client, files={"README.md": f"# {secrets.token_hex(4)}", "model.pkl": slow})
        child = eventually(lambda: _scanning_child(own), 30)
        assert isinstance(child, psutil.Process)
        kill(own, "worker")
        eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)
        assert client.get(f"/package/{package_id}/metadata").json()["verdict"] == "unscanned"

        def is_weighed() -> bool:
            return bool(client.get(f"/package/{package_id}/metadata").json()["status"] == "evaluated")

        eventually(is_weighed, 120)
        assert client.get(f"/package/{package_id}/metadata").json()["verdict"] == "unsafe"
        assert sql(own, "SELECT attempts, fault FROM blob_scans WHERE name = 'model.pkl'") == [(1, None)]


def _scanning_child(server: Server) -> psutil.Process | None:
    """The child of the worker that has been busy with a file for a moment."""
    for worker in children(server, "worker"):
        for child in worker.children():
            if "scan_child" in " ".join(child.cmdline()) and child.cpu_times().user > 0.7:
                return child
    return None


def _killed_at_work(server: Server, package_id: str) -> bool:
    """Whether the worker was killed while it had this package in hand."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        rows = sql(server, "SELECT status::text FROM procrastinate_jobs WHERE args->>'package_id' = %s", package_id)
        if not rows:
            return False
        if rows[0][0] == "doing":
            kill(server, "worker")
            left = sql(server, "SELECT status::text FROM packages WHERE id = %s", package_id)
            return left == [("evaluating",)]
    return False
