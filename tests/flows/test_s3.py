"""The workflow of the API on a server that keeps its files in a bucket: what is downloaded comes from there."""

import io
import os
import secrets
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config

from tests.conftest import ADMIN_PASSWORD, Place, Server, eventually, place_in, start_server, stop_server
from tests.counting_proxy import Traffic, counted
from tests.doors.rest import client_of, fresh, from_bucket, post_package, problem, publish, sql
from tests.swift_server import SwiftServer

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def own_place(whole_bucket: str, bucket_server: SwiftServer) -> Place:
    return place_in(whole_bucket, bucket_server)


@pytest.fixture(scope="module")
def server(own_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a bucket; nothing listens where it would ask the hub."""
    running = start_server(
        tmp_path_factory.mktemp("s3") / "data",
        WEIGHHOUSE_WORKERS="1",
        WEIGHHOUSE_HF_ENDPOINT="http://127.0.0.1:9",
        WEIGHHOUSE_GITHUB_API_URL="http://127.0.0.1:9",
        **own_place.environment(),
    )
    yield running
    stop_server(running)


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Traffic]:
    """What passes between clients and the API."""
    place = urlsplit(server.url)
    with counted(place.hostname or "", place.port or 0) as traffic:
        yield traffic


@pytest.fixture
def client(server: Server, api: Traffic) -> Iterator[httpx.Client]:
    """The admin, whose bytes are counted."""
    headers = {"X-Authorization": server.admin_token}
    with httpx.Client(base_url=api.url, headers=headers, timeout=60, verify=False) as client:
        yield client


@pytest.fixture(scope="module")
def aws(own_place: Place) -> Any:
    """Amazon's own client, which knows nothing of the registry."""
    return boto3.client(
        "s3",
        endpoint_url=own_place.endpoint,
        region_name="us-east-1",
        aws_access_key_id=own_place.server.access_key_id,
        aws_secret_access_key=own_place.server.secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )


def model() -> dict[str, bytes]:
    """Files of each component, two of them so large that the bucket copies them."""
    return {
        "README.md": b"---\nlicense: mit\n---\n# A model\n",
        "model.bin": secrets.token_bytes(11 * MIB),
        "train.csv": b"a,b\n" + secrets.token_hex(6 * MIB).encode(),
        "run.py": b"print(%d)\n" % secrets.randbelow(10**9),
    }


def offer(client: httpx.Client, package_id: str, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/package/{package_id}{query}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def fetch(address: str, **headers: str) -> httpx.Response:
    """What an address gives to anybody."""
    return httpx.get(address, headers=headers, verify=False, timeout=60)


def members(content: bytes) -> Mapping[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def split(location: str) -> dict[str, str]:
    """Bucket and key of an `s3://` address, as boto3 wants them."""
    parts = urlsplit(location)
    return {"Bucket": parts.netloc, "Key": parts.path.removeprefix("/")}


def gc(server: Server, place: Place, *options: str) -> str:
    """What the command prints; to it, an address is good for a second."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WEIGHHOUSE_")},
        **place.environment(),
        "WEIGHHOUSE_DOWNLOAD_URL_SECONDS": "1",
    }
    command = [sys.executable, "-P", "-m", "weighhouse", "gc", "--data-dir", str(server.data_dir), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_workflow_of_the_api_on_a_bucket(client: httpx.Client, server: Server, own_place: Place, aws: Any) -> None:
    name, files = fresh("my-model"), model()
    signed_in = client.post("/authenticate", json={"username": "admin", "password": ADMIN_PASSWORD})
    client.headers["X-Authorization"] = signed_in.json()["token"]
    uploaded = post_package(client, name, "1.0.0", files)
    assert uploaded.status_code == 201, uploaded.text
    package_id, location = uploaded.json()["package_id"], uploaded.json()["s3_path"]
    assert location == f"{own_place.url}/{name}/1.0.0/package.zip"

    [found] = client.post("/packages", json=[{"name": name}]).json()["packages"]
    assert found["id"] == package_id

    offered = offer(client, package_id)
    assert (offered["expires_in_seconds"], offered["components_missing"]) == (300, [])
    address = from_bucket(client, package_id)
    downloaded = fetch(address)
    assert downloaded.status_code == 200
    assert members(downloaded.content) == files

    # What `s3_path` names is there for Amazon's own client, and is what was downloaded.
    eventually(lambda: _is_there(aws, location))
    kept = aws.get_object(**split(location))["Body"].read()
    assert kept == downloaded.content

    assert client.put(f"/package/{package_id}/rate", json={"score": 5}).status_code == 200
    assert client.get(f"/package/{package_id}/metadata").json()["average_rating"] == 5
    assert client.delete(f"/package/{package_id}").status_code == 200
    problem(client.get(f"/package/{package_id}"), 404, "package-not-found")
    assert not _is_there(aws, location)
    assert fetch(address).status_code == 404


def _is_there(aws: Any, location: str) -> bool:
    try:
        aws.head_object(**split(location))
    except aws.exceptions.ClientError:
        return False
    return True


def test_an_address_is_presigned_for_300_seconds_and_names_the_file(client: httpx.Client, own_place: Place) -> None:
    name = fresh("team/model")
    package_id = publish(client, name)
    address = from_bucket(client, package_id)
    parts, query = urlsplit(address), parse_qs(urlsplit(address).query)
    assert f"{parts.scheme}://{parts.netloc}" == own_place.endpoint
    assert parts.path == f"/{own_place.url.removeprefix('s3://')}/{name}/1.0.0/package.zip"
    assert query["X-Amz-Expires"] == ["300"]
    answer = fetch(address)
    assert answer.headers["content-type"] == "application/zip"
    saved_as = f"{name.replace('/', '-')}-1.0.0-package.zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{saved_as}"'
    # No other object, no other method, no longer time.
    assert fetch(address.replace("package.zip", "weights.zip", 1)).status_code == 403
    assert fetch(address.replace("X-Amz-Expires=300", "X-Amz-Expires=9000")).status_code == 403
    assert httpx.delete(address, verify=False).status_code == 403
    assert fetch(address).content == answer.content


def test_no_byte_of_a_download_passes_through_the_api(client: httpx.Client, api: Traffic) -> None:
    files = model()
    package_id = publish(client, files=files)
    address = from_bucket(client, package_id)
    before = api.bytes
    address = str(offer(client, package_id)["download_url"])
    content = fetch(address).content
    assert len(content) > sum(map(len, files.values()))
    assert fetch(address, Range="bytes=1000000-2999999").content == content[1_000_000:3_000_000]
    # One request, one answer.
    assert api.bytes - before < 4000


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("?weights=true", {"README.md", "model.bin"}),
        ("?datasets=true", {"README.md", "train.csv"}),
        ("?code=true", {"README.md", "run.py"}),
        ("?weights=true&code=true", {"README.md", "model.bin", "run.py"}),
    ],
)
def test_a_component_download_is_a_zip_of_its_own_in_the_bucket(
    client: httpx.Client, component_package: tuple[str, Mapping[str, bytes]], query: str, paths: set[str]
) -> None:
    package_id, files = component_package
    address = from_bucket(client, package_id, query)
    asked = "-".join(word.removesuffix("=true") for word in query.removeprefix("?").split("&"))
    assert urlsplit(address).path.endswith(f"/1.0.0/{asked}.zip")
    assert members(fetch(address).content) == {path: files[path] for path in paths}


@pytest.fixture(scope="module")
def component_package(server: Server) -> tuple[str, Mapping[str, bytes]]:
    """A package with files of each component."""
    files = model()
    with client_of(server, server.admin_token) as client:
        return publish(client, files=files), files


def test_all_components_together_are_the_whole_package(
    client: httpx.Client, component_package: tuple[str, Mapping[str, bytes]]
) -> None:
    package_id, files = component_package
    whole = "?weights=true&datasets=true&code=true"
    for query in ("", "?full=true", whole):
        address = from_bucket(client, package_id, query)
        assert urlsplit(address).path.endswith("/1.0.0/package.zip")
        assert members(fetch(address).content) == files


def test_a_zip_that_was_dropped_comes_back_when_it_is_asked_for(
    client: httpx.Client, server: Server, own_place: Place, aws: Any
) -> None:
    name, files = fresh("dropped"), model()
    package_id = publish(client, name, files=files)
    first = fetch(from_bucket(client, package_id)).content
    location = f"{own_place.url}/{name}/1.0.0/package.zip"
    time.sleep(1.5)  # The address is still good as long as gc thinks that it may be.
    assert f"{name}/1.0.0/package.zip" in gc(server, own_place, "--zips", "--dry-run")
    assert _is_there(aws, location)
    assert f"{name}/1.0.0/package.zip" in gc(server, own_place, "--zips")
    assert not _is_there(aws, location)
    assert sql(server, "SELECT state FROM zips WHERE package_id = %s", package_id) == []
    assert fetch(from_bucket(client, package_id)).content == first
    assert _is_there(aws, location)


def test_a_zip_that_somebody_removed_or_replaced_by_hand_is_never_offered(
    client: httpx.Client, own_place: Place, aws: Any
) -> None:
    name = fresh("replaced")
    package_id = publish(client, name, files=model())
    first = fetch(from_bucket(client, package_id)).content
    where = split(f"{own_place.url}/{name}/1.0.0/package.zip")
    aws.put_object(**where, Body=b"not what was composed")
    assert fetch(from_bucket(client, package_id)).content == first
    aws.delete_object(**where)
    assert fetch(from_bucket(client, package_id)).content == first


def test_files_are_kept_once_and_go_with_the_last_who_has_them(
    client: httpx.Client, server: Server, own_place: Place
) -> None:
    shared = secrets.token_bytes(2 * MIB)
    first = publish(client, files={"README.md": b"# One", "model.bin": shared})
    second = publish(client, files={"README.md": b"# Two", "model.bin": shared})

    def kept() -> int:
        with closing(own_place.open()) as bucket:
            return sum(size == len(shared) for key, size, _ in bucket.list("blobs/"))

    assert kept() == 1
    assert client.delete(f"/package/{first}").status_code == 200
    assert kept() == 1
    assert client.delete(f"/package/{second}").status_code == 200
    eventually(lambda: kept() == 0)
