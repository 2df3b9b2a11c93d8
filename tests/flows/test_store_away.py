"""A server whose bucket is out of reach, slow or unsure: it says so soon, loses nothing, and goes on by itself."""

import io
import secrets
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

from tests.conftest import Place, Server, eventually, place_in, start_server, stop_server
from tests.doors.rest import client_of, compose_nothing, fresh, post_package, problem, publish, sql
from tests.fault_proxy import BROKEN, UNAVAILABLE, Fault, FaultProxy
from tests.swift_server import SwiftServer
from weighhouse.app import App
from weighhouse.registry.housekeeping import sweep
from weighhouse.settings import Settings
from weighhouse.store import embedded
from weighhouse.store.circuit import FAILURES, LONGEST_PAUSE_SECONDS

MIB = 1024 * 1024
# What is refused or reset is known at once; the rest is for a machine that does other things too.
SOON_SECONDS = 12
# The circuit asks again after its longest pause at the latest.
WELL_SECONDS = LONGEST_PAUSE_SECONDS + 20

OUTAGES = {
    "refuses": Fault(is_refusing=True),
    "resets": Fault(is_resetting=True),
    "is unavailable": Fault(answer=UNAVAILABLE),
    "is broken": Fault(answer=BROKEN),
}


@pytest.fixture(scope="module")
def way(bucket_server: SwiftServer) -> Iterator[FaultProxy]:
    """The network between the server and its bucket."""
    parts = urlsplit(bucket_server.endpoint)
    with FaultProxy(parts.hostname or "", parts.port or 0) as running:
        yield running


@pytest.fixture(scope="module")
def own_place(whole_bucket: str, bucket_server: SwiftServer) -> Place:
    return place_in(whole_bucket, bucket_server)


@pytest.fixture(scope="module")
def running(own_place: Place, way: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_server(
        tmp_path_factory.mktemp("away") / "data",
        WEIGHHOUSE_WORKERS="1",
        WEIGHHOUSE_HF_ENDPOINT="http://127.0.0.1:9",
        WEIGHHOUSE_GITHUB_API_URL="http://127.0.0.1:9",
        **own_place.environment(way.url),
    )
    yield server
    way.set()
    stop_server(server)


@pytest.fixture
def server(running: Server, way: FaultProxy) -> Iterator[Server]:
    """A server that is well, and is made well again."""
    yield running
    with client_of(running, running.admin_token) as client:
        recover(client, way)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with client_of(server, server.admin_token) as client:
        client.timeout = httpx.Timeout(200)
        yield client


def model() -> dict[str, bytes]:
    return {"README.md": b"# A\n", "model.bin": secrets.token_bytes(1000), "run.py": secrets.token_hex(8).encode()}


def recover(client: httpx.Client, way: FaultProxy) -> None:
    """Makes the way good, and returns when the server has noticed."""
    way.set()
    # `/readyz` would not do: for five seconds after the last good look it says that all is well.
    eventually(lambda: post_package(client, fresh()).status_code in {201, 202}, WELL_SECONDS)


def listed(client: httpx.Client, name: str) -> int:
    """How many packages of this name there are."""
    return len(client.post("/packages", json=[{"name": name}]).json()["packages"])


def refused_soon(answer: httpx.Response, seconds: float = SOON_SECONDS) -> None:
    """Whether it is said clearly, and soon, that the store is away."""
    problem(answer, 503, "store-away")
    took = answer.elapsed.total_seconds()
    print(f"{took:.1f} s")
    assert took < seconds


def bytes_of(client: httpx.Client, package_id: str) -> bytes:
    answer = client.get(f"/package/{package_id}")
    assert answer.status_code == 200, answer.text
    return httpx.get(str(answer.json()["download_url"]), verify=False, timeout=60).raise_for_status().content


def members(content: bytes) -> Mapping[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES)
def test_an_outage_is_told_soon_loses_nothing_and_ends_by_itself(
    server: Server, client: httpx.Client, way: FaultProxy, fault: Fault
) -> None:
    old_name, old_files, name, files = fresh(), model(), fresh(), model()
    old = publish(client, old_name, files=old_files)
    assert members(bytes_of(client, old)) == old_files
    way.set(fault)
    refused_soon(post_package(client, name, "1.0.0", files))
    refused_soon(client.get(f"/package/{old}"))
    # It remembers for five seconds that it could write.
    eventually(lambda: client.get("/readyz").status_code == 503, 8)
    refused_soon(client.get("/readyz"))
    # What needs no file goes on.
    assert client.get("/healthz").status_code == 200
    assert client.get(f"/package/{old}/metadata").status_code == 200
    assert (listed(client, old_name), listed(client, name)) == (1, 0)
    health = client.get("/health").json()
    assert (health["status"], health["components"]["s3"]) == ("degraded", "unhealthy")
    way.set()

    def is_taken() -> bool:
        answer = post_package(client, name, "1.0.0", files)
        assert answer.status_code in {201, 202, 503}, answer.text
        return answer.status_code != 503

    eventually(is_taken, WELL_SECONDS)
    [found] = client.post("/packages", json=[{"name": name}]).json()["packages"]
    assert members(bytes_of(client, found["id"])) == files
    assert members(bytes_of(client, old)) == old_files


def test_while_nobody_answers_nobody_waits(server: Server, client: httpx.Client, way: FaultProxy) -> None:
    files = model()
    package_id = publish(client, files=files)
    bytes_of(client, package_id)
    way.set(Fault(is_silent=True))

    def ask(_: int) -> httpx.Response:
        with client_of(server, server.admin_token) as other:
            return other.get(f"/package/{package_id}")

    # Those who come first wait until it is clear that nobody answers: twice five seconds.
    with ThreadPoolExecutor(FAILURES) as pool:
        for answer in pool.map(ask, range(FAILURES)):
            refused_soon(answer, 20)
    # Then the circuit is open: who comes now is told at once, and when to come again.
    answer = client.get(f"/package/{package_id}")
    refused_soon(answer, 1)
    assert 1 <= int(answer.headers["retry-after"]) <= LONGEST_PAUSE_SECONDS
    refused_soon(post_package(client, fresh()), 1.5)
    recover(client, way)
    assert members(bytes_of(client, package_id)) == files


@pytest.mark.long
@pytest.mark.parametrize("size_bytes", [1000, 20 * MIB])
def test_an_upload_into_silence_ends_and_leaves_nothing(
    server: Server, client: httpx.Client, way: FaultProxy, size_bytes: int
) -> None:
    name, files = fresh(), {"README.md": b"# A", "model.bin": secrets.token_bytes(size_bytes)}
    way.set(Fault(is_silent=True))
    # Twice the 30 seconds that a store may take to say that it has some megabytes, and as long for what it is to forget.
    refused_soon(post_package(client, name, "1.0.0", files), 140)
    assert listed(client, name) == 0
    recover(client, way)
    assert members(bytes_of(client, publish(client, name, files=files))) == files


def test_a_store_that_answers_late_is_waited_for(server: Server, client: httpx.Client, way: FaultProxy) -> None:
    way.set(Fault(latency_seconds=0.3))
    name, files = fresh(), model()
    package_id = publish(client, name, files=files)
    assert members(bytes_of(client, package_id)) == files
    assert client.delete(f"/package/{package_id}").status_code == 200
    assert listed(client, name) == 0


@pytest.mark.parametrize("delay_seconds", [0, 0.1, 0.2, 0.4])
def test_a_lost_answer_is_asked_for_again(
    server: Server, client: httpx.Client, way: FaultProxy, delay_seconds: float, own_place: Place
) -> None:
    """The store did what it was told, and nobody heard of it."""
    name, files = fresh(), {**model(), "weights.bin": secrets.token_bytes(9 * MIB)}
    # One answer, each time another one: were several of one call lost, that call would rightly fail.
    losing = threading.Timer(delay_seconds, way.set, [Fault(cut_after_bytes=0, times=1)])
    losing.start()
    answer = post_package(client, name, "1.0.0", files)
    losing.join()
    assert answer.status_code in {201, 202}, answer.text
    way.set()
    assert members(bytes_of(client, answer.json()["package_id"])) == files
    with closing(own_place.open()) as bucket:
        assert not any(
            key.startswith("staging/") and size in map(len, files.values()) for key, size, _ in bucket.list()
        )


def test_an_upload_that_is_cut_off_from_its_store_in_the_middle_leaves_no_package(
    server: Server, client: httpx.Client, way: FaultProxy, own_place: Place
) -> None:
    name, files = fresh(), {f"{n}.bin": secrets.token_bytes(9 * MIB) for n in range(4)}

    def cut_off() -> None:
        with closing(own_place.open()) as bucket:
            eventually(lambda: next(bucket.list_multipart("staging/"), None) is not None, 20)
        way.set(Fault(is_refusing=True))

    cutting = threading.Thread(target=cut_off)
    cutting.start()
    answer = post_package(client, name, "1.0.0", files)
    cutting.join()
    refused_soon(answer, 30)
    assert listed(client, name) == 0
    recover(client, way)
    package_id = publish(client, name, files=files)
    compose_nothing(server, package_id)
    assert members(bytes_of(client, package_id)) == files


def test_a_delete_takes_the_package_at_once_and_a_sweep_its_bytes_later(
    server: Server, client: httpx.Client, way: FaultProxy, own_place: Place
) -> None:
    name, content = fresh(), secrets.token_bytes(321_987)
    package_id = publish(client, name, files={"model.bin": content})
    address = str(client.get(f"/package/{package_id}").json()["download_url"])
    way.set(Fault(is_refusing=True))
    began = time.monotonic()
    assert client.delete(f"/package/{package_id}").status_code == 200
    assert time.monotonic() - began < SOON_SECONDS
    problem(client.get(f"/package/{package_id}"), 404, "package-not-found")
    assert listed(client, name) == 0
    way.set()

    def left(folder: str) -> int:
        with closing(own_place.open()) as bucket:
            return sum(size >= len(content) for _, size, _ in bucket.list(folder) if size < 2 * len(content))

    assert (left("blobs/"), left(f"{name}/")) == (1, 1)
    _sweep(server, own_place)
    assert (left("blobs/"), left(f"{name}/")) == (0, 0)
    assert httpx.get(address, verify=False).status_code == 404
    again = publish(client, name, "1.0.1", files={"model.bin": content})
    assert members(bytes_of(client, again)) == {"model.bin": content}


def _sweep(server: Server, place: Place) -> None:
    """What the server does every night, without the day of grace."""
    settings = Settings(
        _env_file=None,
        database_url=embedded.database_url(server.data_dir),
        storage_url=place.url,
        s3_endpoint_url=place.endpoint,
        aws_access_key_id=place.server.access_key_id,
        aws_secret_access_key=SecretStr(place.server.secret_access_key),
        aws_region="us-east-1",
    )
    with closing(App.open(settings)) as app:
        time.sleep(1.1)  # Times in a bucket are whole seconds.
        sweep(app, grace=timedelta())


def test_a_stream_from_a_slow_store_that_hangs_up_now_and_then_is_whole(
    server: Server, client: httpx.Client, way: FaultProxy
) -> None:
    files = {"README.md": b"# A", "model.bin": secrets.token_bytes(12 * MIB)}
    package_id = publish(client, files=files)
    compose_nothing(server, package_id)
    # Each piece of 4 MiB is cut once or twice, and taken up where it broke off.
    way.set(Fault(cut_after_bytes=MIB, times=5))
    assert members(bytes_of(client, package_id)) == files
    way.set(Fault(bytes_per_second=1_500_000))
    assert members(bytes_of(client, package_id)) == files


def test_a_stream_whose_store_goes_away_breaks_off_and_is_never_taken_for_whole(
    server: Server, client: httpx.Client, way: FaultProxy
) -> None:
    # More than what is read ahead and what the connection holds.
    files = {"model.bin": secrets.token_bytes(MIB) * 48}
    package_id = publish(client, files=files)
    compose_nothing(server, package_id)
    address = str(client.get(f"/package/{package_id}").json()["download_url"])

    def cut_off() -> None:
        with client.stream("GET", address) as answer:
            assert answer.status_code == 200
            pieces = answer.iter_bytes(MIB)
            next(pieces)
            way.set(Fault(is_refusing=True))
            for _ in pieces:
                pass

    with pytest.raises(httpx.RemoteProtocolError):
        cut_off()
    # Who asks now gets an answer, and not the beginning of one.
    refused_soon(client.get(address))
    recover(client, way)
    assert members(client.get(address).content) == files


@pytest.mark.long
def test_a_zip_that_was_being_composed_in_an_outage_is_composed_after_it(
    server: Server, client: httpx.Client, way: FaultProxy
) -> None:
    # So slow that the upload is recorded before the bucket has composed.
    files = {f"{n}.bin": secrets.token_bytes(11 * MIB) for n in range(5)}
    package_id = publish(client, files=files)
    way.set(Fault(is_resetting=True))
    time.sleep(6)
    assert sql(server, "SELECT state FROM zips WHERE package_id = %s", package_id) == [("building",)]
    way.set()
    eventually(
        lambda: sql(server, "SELECT state FROM zips WHERE package_id = %s", package_id) == [("ready",)],
        WELL_SECONDS + 60,
    )
    address = str(client.get(f"/package/{package_id}").json()["download_url"])
    assert "X-Amz-Signature" in address
    assert members(httpx.get(address, verify=False, timeout=60).content) == files
