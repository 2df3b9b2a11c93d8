"""Large files go straight into the bucket: the registry sees no byte of them, and believes nothing that it cannot know."""

import io
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from tests.conftest import Server, place_in, start_server, stop_server
from tests.counting_proxy import Traffic, counted
from tests.doors.rest import Account, client_of, fresh, problem, register, sha256
from tests.swift_server import SwiftServer
from weighhouse.doors.cli.upload import upload

LARGE_BYTES = 9 * 1024 * 1024


@pytest.fixture(scope="module")
def server(whole_bucket: str, bucket_server: SwiftServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = place_in(whole_bucket, bucket_server)
    running = start_server(tmp_path_factory.mktemp("direct") / "data", WEIGHHOUSE_WORKERS="1", **place.environment())
    yield running
    stop_server(running)


@pytest.fixture
def user(server: Server) -> Iterator[Callable[..., Account]]:
    """Makes a user who may do everything with packages, or what is named."""
    with ExitStack() as stack:

        def make(*permissions: str) -> Account:
            account = register(server, *(permissions or ("search", "download", "upload")))
            stack.enter_context(account.client)
            return account

        yield make


@pytest.fixture
def traffic(server: Server) -> Iterator[Traffic]:
    place = urlsplit(server.url)
    with counted(str(place.hostname), int(place.port or 0)) as counter:
        yield counter


def begin(client: httpx.Client, content: bytes, **announced: Any) -> dict[str, Any]:
    file = {"path": "model.bin", "size_bytes": len(content), "sha256": sha256(content), **announced}
    answer = client.post("/package/begin", json={"name": fresh(), "version": "1.0.0", "files": [file]})
    assert answer.status_code == 201, answer.text
    state: dict[str, Any] = answer.json()
    return state


def send(missing: Mapping[str, Any], content: bytes) -> int:
    (part,) = missing["parts"]
    return httpx.put(part["url"], headers=part["headers"], content=content).status_code


def test_a_folder_goes_past_the_registry_and_comes_back_whole(
    user: Callable[..., Account], traffic: Traffic, tmp_path: Path
) -> None:
    folder = tmp_path / fresh()
    folder.mkdir()
    files = {f"weights-{number}.bin": secrets.token_bytes(LARGE_BYTES) for number in range(3)}
    files["README.md"] = b"---\nlicense: mit\n---\n# Weights\n"
    for name, content in files.items():
        (folder / name).write_bytes(content)
    ada = user()
    arguments = [str(folder), "--version", "1.0.0", "--server", traffic.url, "--token", ada.token]
    done = CliRunner(env={"XDG_CONFIG_HOME": str(tmp_path / "none")}).invoke(upload, arguments)
    assert done.exit_code == 0, done.output
    assert traffic.bytes < 1_000_000
    (row,) = ada.client.get("/packages", params={"name": folder.name}).json()["packages"]
    url = ada.client.get(f"/package/{row['id']}").json()["download_url"]
    with zipfile.ZipFile(io.BytesIO(httpx.get(url).content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_what_the_bucket_did_not_compare_is_compared_before_it_counts(user: Callable[..., Account]) -> None:
    content = secrets.token_bytes(LARGE_BYTES)
    ada = user()
    state = begin(ada.client, content)
    assert send(state["missing"][0], secrets.token_bytes(LARGE_BYTES)) == 200
    document = problem(ada.client.post(f"/package/{state['upload_id']}/complete"), 409, "upload-incomplete")
    assert document["missing_total"] == 1
    again = ada.client.get(f"/package/uploads/{state['upload_id']}").json()
    assert send(again["missing"][0], content) == 200
    # All has arrived; whether it is right is looked at when it is completed.
    assert ada.client.get(f"/package/uploads/{state['upload_id']}").json()["missing"] == []
    assert ada.client.post(f"/package/{state['upload_id']}/complete").status_code in (201, 202)


@pytest.mark.parametrize("is_announced", [True, False], ids=["with crc", "without"])
def test_who_only_knows_the_digest_of_anothers_file_does_not_get_it(
    user: Callable[..., Account], is_announced: bool
) -> None:
    content = secrets.token_bytes(LARGE_BYTES)
    announced = {"crc32": zlib.crc32(content)} if is_announced else {}
    ada, eve = user(), user("upload")
    state = begin(ada.client, content, **announced)
    assert send(state["missing"][0], content) == 200
    assert ada.client.post(f"/package/{state['upload_id']}/complete").status_code in (201, 202)
    hers = begin(eve.client, content, **announced)
    assert len(hers["missing"]) == 1
    problem(eve.client.post(f"/package/{hers['upload_id']}/complete"), 409, "upload-incomplete")


def test_an_upload_that_is_given_up_leaves_nothing_in_the_bucket(server: Server) -> None:
    content = secrets.token_bytes(LARGE_BYTES)
    with client_of(server, server.admin_token) as client:
        state = begin(client, content)
        assert send(state["missing"][0], content) == 200
        assert client.delete(f"/package/uploads/{state['upload_id']}").status_code == 200
        assert send(state["missing"][0], content) == 404
