"""A folder goes file by file: only what is lacking, again after an interruption, and never something else than announced."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from tests.conftest import eventually
from tests.counting_proxy import Traffic, counted
from tests.doors.range_server import Fault, RangeServer, serving
from tests.doors.rest import Account, fresh
from weighhouse.doors.cli import sending
from weighhouse.doors.cli.client import Refused, Server
from weighhouse.doors.cli.packing import list_members
from weighhouse.doors.cli.sending import Measured, measure, send_files
from weighhouse.doors.cli.upload import upload

Upload = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty files of 300 KB and a card; no content that was ever uploaded."""
    root = tmp_path / fresh()
    (root / "weights").mkdir(parents=True)
    for number in range(20):
        (root / "weights" / f"{number:02}.bin").write_bytes(secrets.token_bytes(300_000))
    (root / "README.md").write_text(f"---\nlicense: mit\n---\n# {root.name}\n")
    return root


@pytest.fixture
def traffic(uploader: Account) -> Iterator[Traffic]:
    """What goes to the server and comes from it."""
    place = urlsplit(str(uploader.client.base_url))
    with counted(str(place.hostname), int(place.port or 0)) as counter:
        yield counter


@pytest.fixture
def sent(uploader: Account, traffic: Traffic, tmp_path: Path) -> Upload:
    def run(folder: Path, version: str, *options: str) -> Result:
        arguments = [str(folder), "--version", version, "--json", "--no-wait", *options]
        where = ["--server", traffic.url, "--token", uploader.token]
        return CliRunner(env={"XDG_CONFIG_HOME": str(tmp_path / "none")}).invoke(upload, arguments + where)

    return run


def test_after_a_change_only_what_changed_is_sent(
    sent: Upload, traffic: Traffic, folder: Path, uploader: Account
) -> None:
    first = sent(folder, "1.0.0")
    assert first.exit_code == 0, first.output
    assert "21 files are sent" in first.stderr
    assert traffic.sent_bytes > 6_000_000
    before = traffic.sent_bytes
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Changed\n")
    second = sent(folder, "1.0.1")
    assert second.exit_code == 0, second.output
    assert "1 of 21 files are sent" in second.stderr
    assert traffic.sent_bytes - before < 100_000
    package_id = json.loads(second.stdout)["package_id"]
    files = uploader.client.get(f"/package/{package_id}/files", params={"limit": 100}).json()["files"]
    expected = {one.member.path: one.sha256 for one in measure(list_members(folder), 2)}
    assert {file["path"]: file["sha256"] for file in files} == expected


def test_a_zip_is_all_of_it(sent: Upload, traffic: Traffic, folder: Path) -> None:
    assert sent(folder, "1.0.0").exit_code == 0
    before = traffic.sent_bytes
    again = sent(folder, "1.0.1", "--zip")
    assert again.exit_code == 0, again.output
    assert traffic.sent_bytes - before > 6_000_000


def test_a_version_that_is_there_is_told_apart(sent: Upload, folder: Path) -> None:
    assert sent(folder, "1.0.0").exit_code == 0
    assert "with exactly these files" in sent(folder, "1.0.0").stderr
    assert sent(folder, "1.0.0", "--skip-existing").exit_code == 0
    (folder / "README.md").write_text("other")
    assert sent(folder, "1.0.0", "--skip-existing").exit_code == 1


def test_a_client_that_is_killed_goes_on_where_it_was(
    uploader: Account, traffic: Traffic, folder: Path, tmp_path: Path
) -> None:
    whole = b"".join(path.read_bytes() for path in (folder / "weights").iterdir())
    for number in range(6):
        (folder / f"large{number}.bin").write_bytes(whole + bytes([number]))
    command = [sys.executable, "-P", "-m", "weighhouse", "upload", str(folder), "--version", "1.0.0", "--no-wait"]
    where = ["--parallel", "1", "--server", traffic.url, "--token", uploader.token]
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "none")}
    killed = subprocess.Popen(command + where, env=environment, stderr=subprocess.PIPE)
    try:
        eventually(lambda: traffic.sent_bytes > 20_000_000, 60)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    before = traffic.sent_bytes
    done = subprocess.run(command + where, env=environment, capture_output=True, text=True, check=True, timeout=120)
    told = re.search(r"(\d+) of 27 files are sent", done.stderr)
    assert told is not None, done.stderr
    assert int(told[1]) < 27
    # Of 42 MB; what was on its way when it was killed, at most one file, is sent again.
    assert traffic.sent_bytes - before < 42_000_000 - 20_000_000 + len(whole) + 500_000


def test_ctrl_c_ends_it_at_once_and_the_same_command_goes_on(
    uploader: Account, traffic: Traffic, folder: Path, tmp_path: Path
) -> None:
    whole = b"".join(path.read_bytes() for path in (folder / "weights").iterdir())
    for number in range(6):
        (folder / f"large{number}.bin").write_bytes(whole + bytes([number]))
    command = [sys.executable, "-P", "-m", "weighhouse", "upload", str(folder), "--version", "1.0.0", "--no-wait"]
    where = ["--parallel", "2", "--server", traffic.url, "--token", uploader.token]
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "none")}
    stopped = subprocess.Popen(command + where, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: traffic.sent_bytes > 20_000_000, 60)
        stopped.send_signal(signal.SIGINT)
        _, told = stopped.communicate(timeout=30)
    finally:
        stopped.kill()
        stopped.communicate()
    assert stopped.returncode == 130
    assert "Interrupted. What has arrived stays for a day" in told
    assert "Traceback" not in told
    before = traffic.sent_bytes
    done = subprocess.run(command + where, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert re.search(r"\d+ of 27 files are sent", done.stderr), done.stderr
    # Of 42 MB; what was on its way, at most one file a connection, is sent again.
    assert traffic.sent_bytes - before < 42_000_000 - 20_000_000 + 2 * len(whole) + 500_000


@pytest.fixture
def peer() -> Iterator[RangeServer]:
    with serving(b"{}") as server:
        yield server


@pytest.fixture
def client(peer: RangeServer) -> Iterator[Server]:
    server = Server(peer.url, "secret")
    yield server
    server.close()


def test_a_file_that_changes_after_it_was_read_is_not_sent(client: Server, peer: RangeServer, folder: Path) -> None:
    files = measure(list_members(folder), 2)
    changed = files[3].member
    part = {"offset_bytes": 0, "size_bytes": 300_000, "method": "PUT", "url": f"{peer.url}/x", "headers": {}}
    missing = [{"sha256": files[3].sha256, "size_bytes": 300_000, "parts": [part]}]
    peer.data = json.dumps({"upload_id": "7", "bytes_total": 1, "missing": missing}).encode()
    changed.source.write_bytes(b"other")
    with pytest.raises(Refused, match=re.escape(f"{changed.path} changed while it was read")):
        send_files(client, files, {"name": "m"}, label="", parallel=2, respond_async=True)


def test_a_file_that_grows_while_it_is_read_is_told(folder: Path) -> None:
    members = list_members(folder)
    members[0].source.write_bytes(b"longer than it was listed" * 10_000)
    with pytest.raises(Refused, match="changed while it was read"):
        measure(members, 2)


def test_a_proxy_that_does_not_wait_for_the_server_is_asked_again(
    client: Server, peer: RangeServer, folder: Path
) -> None:
    peer.data = json.dumps({"upload_id": "7", "bytes_total": 6_000_000, "missing": []}).encode()
    peer.faults = ["ok", 504, 502]
    files = measure(list_members(folder), 2)
    answer = send_files(client, files, {"name": "m"}, label="", parallel=2, respond_async=True)
    assert answer is not None
    assert [path for _, path, _ in peer.asked] == ["/package/begin", *["/package/7/complete"] * 3]


def test_a_server_that_wants_the_same_again_and_again_is_left(client: Server, peer: RangeServer, folder: Path) -> None:
    files = measure(list_members(folder), 2)
    part = {"offset_bytes": 0, "size_bytes": 300_000, "method": "PUT", "url": f"{peer.url}/x", "headers": {}}
    missing = [{"sha256": files[3].sha256, "size_bytes": 300_000, "parts": [part]}]
    peer.data = json.dumps({"upload_id": "7", "bytes_total": 6_000_000, "missing": missing}).encode()
    peer.body = json.dumps({"type": "/problems/upload-incomplete", "status": 409, "detail": "1 file"}).encode()
    peer.faults = ["ok", "ok", 409, "ok", "ok", 409, "ok", "ok", 409, "ok", "ok", 409]
    with pytest.raises(Refused, match="does not take the files"):
        send_files(client, files, {"name": "m"}, label="", parallel=2, respond_async=True)


INCOMPLETE = (409, json.dumps({"type": "/problems/upload-incomplete", "status": 409, "detail": "1 file"}).encode())


def refusal(code: str, message: str) -> tuple[int, bytes]:
    """What a bucket answers."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message><Key>k</Key></Error>"
    return 403, text.encode()


@pytest.fixture
def measured(peer: RangeServer, folder: Path) -> Sequence[Measured]:
    """Files, of which the peer lacks four."""
    files = measure(list_members(folder), 2)
    missing = [
        {
            "sha256": file.sha256,
            "size_bytes": file.member.size_bytes,
            "parts": [
                {
                    "offset_bytes": 0,
                    "size_bytes": file.member.size_bytes,
                    "method": "PUT",
                    "url": f"{peer.url}/{number}",
                    "headers": {"Content-Length": str(file.member.size_bytes)},
                }
            ],
        }
        for number, file in enumerate(files[:4])
    ]
    peer.data = json.dumps({"upload_id": "7", "bytes_total": 6_000_000, "missing": missing}).encode()
    return files


def send(client: Server, files: Sequence[Measured]) -> None:
    assert send_files(client, files, {"name": "m"}, label="", parallel=1, respond_async=True) is not None


def paths(peer: RangeServer) -> list[str]:
    """What was asked for, in order; of the questions of the upload their last part."""
    return [path.rpartition("/")[2] for _, path, _ in peer.asked]


@pytest.mark.parametrize(
    "answer",
    [
        refusal("AccessDenied", "Request has expired"),
        refusal("AccessDenied", "Access Denied."),
        refusal("ExpiredToken", "The provided token has expired."),
        (403, b""),
        (404, b""),
        (403, b'{"detail": "This address has ended."}'),
    ],
    ids=["expired", "denied", "token", "no word", "gone", "registry"],
)
def test_after_an_address_that_has_ended_no_other_of_its_age_is_tried(
    client: Server, peer: RangeServer, measured: Sequence[Measured], answer: tuple[int, bytes]
) -> None:
    peer.faults = ["ok", "ok", answer, INCOMPLETE]
    send(client, measured)
    assert paths(peer) == ["begin", "0", "1", "complete", "7", "0", "1", "2", "3", "complete"]


def test_what_is_under_way_when_an_address_has_ended_is_sent_to_its_end(
    client: Server, peer: RangeServer, measured: Sequence[Measured]
) -> None:
    both = threading.Barrier(2)

    def refused() -> Fault:
        both.wait(30)
        return refusal("AccessDenied", "Request has expired")

    def busy() -> Fault:
        both.wait(30)
        return 503

    # Of the two that are sent at once one is refused; it is tried no more, and the other one is tried once again.
    peer.faults = ["ok", refused, busy]
    assert send_files(client, measured, {"name": "m"}, label="", parallel=2, respond_async=True) is not None
    assert sorted(paths(peer)[1:3]) == ["0", "1"]
    assert paths(peer)[3] in {"0", "1"}
    assert paths(peer)[4:] == ["complete"]


def test_a_bucket_that_refuses_for_another_reason_is_quoted(
    client: Server, peer: RangeServer, measured: Sequence[Measured]
) -> None:
    peer.faults = ["ok", refusal("SignatureDoesNotMatch", "What you &quot;signed&quot; is not what came.")]
    said = 'was refused: the store says SignatureDoesNotMatch: What you "signed" is not what came.'
    with pytest.raises(Refused, match=re.escape(f"{measured[0].member.path} {said}")):
        send(client, measured)
    assert paths(peer) == ["begin", "0"]


def test_a_bucket_that_denies_with_new_addresses_too_is_quoted(
    client: Server, peer: RangeServer, measured: Sequence[Measured]
) -> None:
    denied = refusal("AccessDenied", "Not by the policy of this bucket")
    peer.faults = ["ok", denied, INCOMPLETE, "ok", denied, INCOMPLETE, "ok", denied, INCOMPLETE, "ok"]
    with pytest.raises(Refused, match="the store says AccessDenied: Not by the policy of this bucket"):
        send(client, measured)
    assert paths(peer) == ["begin", *["0", "complete", "7"] * 3]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, "reset"])
def test_a_store_that_is_busy_or_broken_is_tried_again(
    client: Server, peer: RangeServer, measured: Sequence[Measured], status: int | str
) -> None:
    peer.faults = ["ok", status, status]
    send(client, measured)
    assert paths(peer) == ["begin", "0", "0", "0", "1", "2", "3", "complete"]
    sent = [body for body, path in zip(peer.bodies, paths(peer), strict=True) if path == "0"]
    assert sent[-1] == measured[0].member.source.read_bytes()


def test_a_store_that_asks_for_patience_is_left_alone_for_so_long(
    client: Server, peer: RangeServer, measured: Sequence[Measured]
) -> None:
    peer.faults, peer.headers = ["ok", 429], {"Retry-After": "3"}
    began = time.monotonic()
    send(client, measured)
    # By itself it would wait for 0.75 seconds at most.
    assert 3 <= time.monotonic() - began < 20
    assert paths(peer) == ["begin", "0", "0", "1", "2", "3", "complete"]


def test_a_store_that_stays_broken_is_told_with_its_own_words(
    client: Server, peer: RangeServer, measured: Sequence[Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_ATTEMPTS", 2)
    broken = (503, refusal("SlowDown", "Please reduce your request rate.")[1])
    peer.faults = ["ok", broken, broken]
    with pytest.raises(
        Refused, match=r"could not be sent: the store says SlowDown: Please reduce .*same command again"
    ):
        send(client, measured)


class _OnePartEach(HTTPServer):
    """Takes one part after each question what is missing; the addresses of the others have ended by then."""

    def __init__(self, sha256: str, parts: int, part_bytes: int) -> None:
        super().__init__(("127.0.0.1", 0), _OnePartHandler)
        self.sha256, self.part_bytes = sha256, part_bytes
        self.lacking = list(range(parts))
        self.taken: dict[int, bytes] = {}
        self.may_take = True

    def state(self) -> bytes:
        """What is missing, as the registry tells it."""
        url, size_bytes = f"http://127.0.0.1:{self.server_port}", self.part_bytes
        parts = [
            {
                "offset_bytes": n * size_bytes,
                "size_bytes": size_bytes,
                "method": "PUT",
                "url": f"{url}/{n}",
                "headers": {"Content-Length": str(size_bytes)},
            }
            for n in self.lacking
        ]
        missing = [{"sha256": self.sha256, "size_bytes": 6 * size_bytes, "parts": parts}] if parts else []
        return json.dumps({"upload_id": "7", "bytes_total": 6 * size_bytes, "missing": missing}).encode()


class _OnePartHandler(BaseHTTPRequestHandler):
    server: _OnePartEach

    def _answer(self) -> None:
        served = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer = 200, b""
        if self.command == "PUT" and served.may_take:
            number = int(self.path.removeprefix("/"))
            served.taken[number], served.may_take = body, False
            served.lacking.remove(number)
        elif self.command == "PUT":
            status = 403
        elif self.path.endswith("/complete") and served.lacking:
            status, answer = 409, json.dumps({"type": "/problems/upload-incomplete", "status": 409}).encode()
        else:
            served.may_take, answer = True, served.state()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: a test's output is the runner's."""


def test_a_file_that_outlasts_its_addresses_many_times_arrives_in_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(content := secrets.token_bytes(6 * 50_000))
    files = measure(list_members(tmp_path), 1)
    with _OnePartEach(files[0].sha256, 6, 50_000) as peer:
        thread = threading.Thread(target=peer.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server = Server(f"http://127.0.0.1:{peer.server_port}", "secret")
        try:
            assert send_files(server, files, {"name": "m"}, label="", parallel=1, respond_async=True) is not None
        finally:
            server.close()
            peer.shutdown()
            thread.join()
    assert b"".join(body for _, body in sorted(peer.taken.items())) == content


def test_a_server_that_takes_zips_only_is_told_apart(client: Server, peer: RangeServer, folder: Path) -> None:
    peer.faults = [405]
    files = measure(list_members(folder), 2)
    assert send_files(client, files, {"name": "m"}, label="", parallel=2, respond_async=True) is None
