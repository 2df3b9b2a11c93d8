"""Each process of a server killed at each step of an upload, and of a reset: done or not done, and nothing between."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests import sabotage
from tests.conftest import ADMIN_PASSWORD, Server, eventually, start_server, stop_server
from tests.doors.rest import client_of, fresh, post_package, problem, sign_in, small_model, sql
from tests.flows.test_crash import _check_nothing_leaks, children, is_well

# What an upload and a reset go through; a function stands before those who import it.
_STEPS = (
    "weighhouse.store.blobs_disk:DiskBlobs.stage",
    "weighhouse.store.blobs_disk:DiskBlobs.settle",
    "weighhouse.store.blobs_disk:DiskBlobs.adopt",
    "weighhouse.registry.audit:record",
    "weighhouse.registry.record:record_package",
    "weighhouse.registry.reset:reset_registry",
)
# In the order in which an upload comes to them. From the last one on the package is there.
MOMENTS = (
    "before DiskBlobs.stage",
    "before DiskBlobs.settle",
    "after DiskBlobs.settle",
    "after DiskBlobs.adopt",
    "before record_package",
    "after record",
    "after record_package",
)
IS_THERE = "after record_package"


@dataclass(frozen=True)
class Site:
    """A server, and the folder that orders are laid into."""

    server: Server
    orders: Path

    def victims(self, who: str) -> list[int]:
        """The processes of a part; for the API none, since it kills itself."""
        if who == "api":
            return []
        if who == "worker":
            return [child.pid for child in children(self.server, "worker")]
        inside = psutil.Process(self.server.process.pid).children(recursive=True)
        return [process.pid for process in inside if process.name().startswith("postgres")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    orders = tmp_path_factory.mktemp("orders")
    harm = sabotage.environment(orders, steps=_STEPS)
    data_dir = tmp_path_factory.mktemp("steps") / "data"
    running = start_server(data_dir, WEIGHHOUSE_WORKERS="1", **harm)
    yield Site(running, orders)
    stop_server(running)


def upload(server: Server, name: str, files: dict[str, str | bytes]) -> httpx.Response | None:
    """The answer; `None` when the connection broke."""
    with client_of(server, server.admin_token) as client:
        try:
            return post_package(client, name, files=files, headers={"Prefer": "respond-async"})
        except httpx.HTTPError:
            return None


def found(server: Server, name: str, token: str | None = None) -> list[str]:
    """Ids of the packages of that name, once the database answers."""
    with client_of(server, token or server.admin_token) as client:

        def look() -> httpx.Response | None:
            answer = client.post("/packages", json=[{"name": name}])
            return answer if answer.status_code != 503 else None

        answer = eventually(look, 60)
    assert isinstance(answer, httpx.Response)
    return [package["id"] for package in answer.json()["packages"]]


def check_whole(server: Server, package_id: str, files: dict[str, str | bytes]) -> None:
    with client_of(server, server.admin_token) as client:
        content = client.get(client.get(f"/package/{package_id}").json()["download_url"]).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        there = {path: archive.read(path) for path in archive.namelist()}
    assert there == {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}


def test_an_upload_whose_process_is_killed_around_its_commit_is_there_whole_or_not_at_all(site: Site) -> None:
    check(site, "api", MOMENTS[-2:])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["api", "worker", "postgres"])
def test_an_upload_during_which_a_process_is_killed_is_there_whole_or_not_at_all(site: Site, who: str) -> None:
    check(site, who, MOMENTS)


def check(site: Site, who: str, moments: Sequence[str]) -> None:
    """Uploads once for each moment, has somebody killed then, and looks at what is left."""
    for moment in moments:
        name, files = fresh("steps"), small_model()
        sabotage.order(site.orders, moment, *site.victims(who))
        answer = upload(site.server, name, files)
        assert not sabotage.is_pending(site.orders), moment
        eventually(lambda: is_well(site.server), 60)
        packages = found(site.server, name)
        if who == "api":
            assert answer is None, moment
            assert len(packages) == (moment == IS_THERE), moment
        if answer is not None:
            assert answer.status_code in {202, 503}, (moment, answer.text)
            assert packages or answer.status_code == 503, moment
        # Whoever repeats it gets the package, or hears that it is there just so.
        again = upload(site.server, name, files)
        assert again is not None
        if packages:
            document = problem(again, 409, "version-exists")
            assert (document["is_same"], document["package_id"]) == (True, packages[0])
        else:
            assert again.status_code == 202, (moment, again.text)
        [package_id] = found(site.server, name)
        check_whole(site.server, package_id, files)
    _check_nothing_leaks(site.server)


@pytest.mark.parametrize(("moment", "is_done"), [("after record", False), ("after reset_registry", True)])
@pytest.mark.parametrize("who", ["api", pytest.param("postgres", marks=pytest.mark.long)])
def test_a_reset_that_is_killed_has_happened_or_not(site: Site, moment: str, is_done: bool, who: str) -> None:
    token, other = (sign_in(site.server, "admin", ADMIN_PASSWORD) for _ in range(2))
    name, files = fresh("kept"), small_model()
    with client_of(site.server, token) as admin:
        assert post_package(admin, name, files=files).status_code == 201
        sabotage.order(site.orders, moment, *site.victims(who))
        try:
            status = admin.delete("/reset").status_code
        except httpx.HTTPError:
            status = 0
        assert not sabotage.is_pending(site.orders)
        assert status in ({0} if who == "api" else {200, 503})
        eventually(lambda: is_well(site.server), 60)
        assert len(found(site.server, name, token)) == (not is_done)
        assert admin.get("/user/me", headers={"X-Authorization": other}).status_code == (401 if is_done else 200)
        if is_done:
            assert post_package(admin, name, files=files).status_code == 201
    rows = sql(
        site.server, "SELECT count(*) FROM files f LEFT JOIN packages p ON p.id = f.package_id WHERE p.id IS NULL"
    )
    assert rows == [(0,)]
