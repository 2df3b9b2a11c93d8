"""An upload is one stream of known length, and nothing large is sent that has no chance."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.doors.range_server import RangeServer, serving
from weighhouse.doors.cli.client import Refused, Server
from weighhouse.doors.cli.upload import look_ahead, make_parcel, send, upload


@pytest.fixture
def peer() -> Iterator[RangeServer]:
    with serving(b"{}") as server:
        yield server


@pytest.fixture
def client(peer: RangeServer) -> Iterator[Server]:
    server = Server(peer.url, "secret")
    yield server
    server.close()


def test_the_form_is_streamed_with_its_length_and_the_file_last(
    peer: RangeServer, client: Server, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(b"a" * 1_000_000)
    (tmp_path / "b.txt").write_bytes(b"b")
    parcel = make_parcel(tmp_path, everything=False, ignore=())
    send(client, parcel, [("name", "bert"), ("version", "1.0.0")], respond_async=True)
    (method, path, headers), body = peer.asked[0], peer.bodies[0]
    assert (method, path) == ("POST", "/package")
    assert int(headers["Content-Length"]) == len(body)
    assert "Transfer-Encoding" not in headers
    assert headers["Prefer"] == "respond-async"
    boundary = headers["Content-Type"].partition("boundary=")[2].encode()
    name, version, file = body.removesuffix(b"\r\n--" + boundary + b"--\r\n").split(b"--" + boundary + b"\r\n")[1:]
    assert name.endswith(b"\r\n\r\nbert\r\n")
    assert version.endswith(b"\r\n\r\n1.0.0\r\n")
    with zipfile.ZipFile(io.BytesIO(file.partition(b"\r\n\r\n")[2])) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.bin", "b.txt"]


def test_a_zip_is_streamed_byte_for_byte(peer: RangeServer, client: Server, tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "a" * 100)
    send(client, make_parcel(path, everything=False, ignore=()), [("name", "m")], respond_async=False)
    assert path.read_bytes() in peer.bodies[0]
    assert "Prefer" not in peer.asked[0][2]


@pytest.mark.parametrize("is_folder", [True, False])
def test_both_kinds_of_parcel_know_the_digests_of_their_files(tmp_path: Path, is_folder: bool) -> None:
    digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("empty")
        archive.write(tmp_path / "in" / "a.txt", "a.txt")
    parcel = make_parcel(tmp_path / ("in" if is_folder else "m.zip"), everything=False, ignore=())
    assert parcel.digests() == {"a.txt": digest}


def test_a_large_upload_without_permission_is_not_begun(peer: RangeServer, client: Server) -> None:
    peer.data = json.dumps({"username": "ada", "permissions": ["search"]}).encode()
    with pytest.raises(Refused, match="ada may not upload"):
        look_ahead(client, {"name": "bert", "version": "1.0.0"})


def test_a_large_upload_of_a_version_that_is_there_is_not_begun(peer: RangeServer, client: Server) -> None:
    rows = [{"id": "1", "name": "BERT", "version": "1.0.0"}]
    peer.data = json.dumps({"permissions": ["admin"], "packages": rows, "total": 1}).encode()
    with pytest.raises(Refused, match="already has a version") as caught:
        look_ahead(client, {"name": "bert", "version": "1.0.0"})
    assert caught.value.status == 409
    look_ahead(client, {"name": "bert", "version": "1.0.1"})
    look_ahead(client, {"name": "bert"})


def test_an_upload_that_is_quarantined_is_no_success(peer: RangeServer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    peer.data = json.dumps({"package_id": "7", "status": "evaluated", "verdict": "unsafe"}).encode()
    arguments = [str(tmp_path), "--name", "bert", "--json", "--server", peer.url, "--token", "secret"]
    result = CliRunner(env={"XDG_CONFIG_HOME": str(tmp_path / "none")}).invoke(upload, arguments)
    assert result.exit_code == 1
    assert "quarantined the package; see `weighhouse show 7`" in result.stderr
    assert json.loads(result.stdout)["verdict"] == "unsafe"
