"""POST /package/ingest over HTTP: a real server in front of a hub on this machine."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import httpx
import psutil
import pytest
from click.testing import CliRunner, Result

from tests.conftest import Server, eventually, start_server, stop_server
from tests.doors.rest import Account, client_of, fresh, post_package, problem, register, sql
from tests.hub_server import Hub
from weighhouse.doors.cli.remote import commands

MODEL = Path(__file__).parents[2] / "docs" / "examples" / "tiny-sentiment"
BARE: dict[str, str | bytes] = {"README.md": "# Nothing much\n", "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture(scope="module")
def gated_server(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose upstream is the test's hub."""
    running = start_server(tmp_path_factory.mktemp("gated") / "data", WEIGHHOUSE_HF_ENDPOINT=hub.url)
    yield running
    stop_server(running)


@pytest.fixture(scope="module")
def uploader(gated_server: Server) -> Iterator[Account]:
    account = register(gated_server, "search", "download", "upload")
    with account.client:
        yield account


def add_good_model(hub: Hub) -> tuple[str, str]:
    """Id and commit of a model that passes."""
    repo_id = f"acme/{fresh('model')}"
    now = datetime.now(UTC)
    people = [(f"user{number % 3}", now - timedelta(days=10 + number)) for number in range(9)]
    return repo_id, hub.add_model(repo_id, MODEL, commits=people)


def ingest(client: httpx.Client, model_url: str, **fields: Any) -> httpx.Response:
    return client.post("/package/ingest", json={"model_url": model_url, **fields})


def test_a_model_that_passes_is_published_with_its_scores(hub: Hub, uploader: Account) -> None:
    repo_id, sha = add_good_model(hub)
    answer = ingest(uploader.client, f"https://huggingface.co/{repo_id}")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["name"], body["version"], body["revision"]) == (repo_id, sha[:12], sha)
    assert (body["status"], body["gate"], body["left_out"]) == ("evaluated", "hold", [])
    assert [(one["metric"], one["reason_code"]) for one in body["inconclusive"]] == [("reviewedness", "no_github_repo")]
    metadata = uploader.client.get(answer.headers["location"]).json()
    assert metadata["metrics"]["net_score"] == body["net_score"] > 0.7
    assert metadata["coverage"] == body["coverage"] == 0.95
    assert metadata["model_url"] == f"https://huggingface.co/{repo_id}"
    offer = uploader.client.get(f"/package/{body['package_id']}").json()
    assert len(httpx.get(offer["download_url"]).content) > 1000


def test_a_model_that_does_not_pass_is_refused_with_every_reason(hub: Hub, uploader: Account) -> None:
    repo_id = f"acme/{fresh('bare')}"
    hub.add_model(repo_id, BARE)
    document = problem(ingest(uploader.client, repo_id), 422, "model-refused")
    assert document["gate"] == "refuse"
    assert "license" in document["failing"]
    assert len(document["metrics"]) == len(document["scores"]) == 11
    assert [one["metric"] for one in document["metrics"]][: len(document["failing"])] == document["failing"]
    assert all(one["fix"] and one["reasons"] for one in document["metrics"][: len(document["failing"])])
    found = uploader.client.post("/packages", json=[{"name": repo_id}]).json()
    assert found["total"] == 0


def test_an_upload_is_weighed_with_what_the_hub_says(hub: Hub, uploader: Account) -> None:
    repo_id, _ = add_good_model(hub)
    answer = post_package(uploader.client, fresh(), files=BARE, model_url=f"https://huggingface.co/{repo_id}")
    metadata = uploader.client.get(f"/package/{answer.json()['package_id']}/metadata").json()
    bus_factor = metadata["metric_details"]["bus_factor"]
    assert (bus_factor["status"], bus_factor["method"]) == ("ok", "hub-commits")


def test_what_cannot_be_asked_for_is_said_in_the_fields(hub: Hub, uploader: Account) -> None:
    hub.add_model("acme/small", BARE)
    client = uploader.client
    assert problem(client.post("/package/ingest", json={}), 422)["errors"][0]["field"] == "model_url"
    problem(client.post("/package/ingest", content=b"{"), 415)
    problem(ingest(client, "file:///etc/passwd"), 400, "bad-url")
    problem(ingest(client, "https://example.org/a/b"), 422, "model-unknown")
    problem(ingest(client, "acme/small", name="no spaces"), 422)
    problem(ingest(client, "acme/small", version="no spaces"), 422)
    problem(ingest(client, "acme/small", dataset_url="ftp://x/y"), 400, "bad-url")
    problem(ingest(client, "acme/small", revision="../../../api"), 422, "model-unknown")
    problem(ingest(client, "acme/small", all_weights="perhaps"), 422)


def test_who_may_not_upload_may_not_ingest(gated_server: Server) -> None:
    reader = register(gated_server, "search", "download")
    with reader.client, client_of(gated_server) as nobody:
        problem(ingest(reader.client, "acme/small"), 403, "permission-missing")
        problem(ingest(nobody, "acme/small"), 401)


def test_an_upstream_that_is_away_is_a_503_that_says_when_to_come_back(hub: Hub, uploader: Account) -> None:
    repo_id = f"acme/{fresh('away')}"
    hub.add_model(repo_id, BARE)
    hub.fail(repo_id, status=429, headers={"Retry-After": "60"})
    problem(ingest(uploader.client, repo_id), 503, "upstream-away")
    hub.mend()
    hub.fail(f"{repo_id}/resolve/.*README", flip=True)
    problem(ingest(uploader.client, repo_id), 503, "upstream-away")
    hub.mend()


def test_the_same_commit_twice_is_a_conflict_that_names_the_package(hub: Hub, uploader: Account) -> None:
    repo_id, _ = add_good_model(hub)
    first = ingest(uploader.client, repo_id).json()
    document = problem(ingest(uploader.client, repo_id), 409, "version-exists")
    assert document["package_id"] == first["package_id"]


Run = Callable[..., Result]


@pytest.fixture
def run(gated_server: Server, uploader: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line of the uploader."""
    monkeypatch.chdir(tmp_path)
    env = {
        "XDG_CONFIG_HOME": str(tmp_path),
        "WEIGHHOUSE_SERVER": gated_server.url,
        "WEIGHHOUSE_TOKEN": uploader.token,
    }
    tree = click.Group("weighhouse", commands=list(commands))
    return lambda *arguments: CliRunner(env=env).invoke(tree, list(arguments), prog_name="weighhouse")


def test_the_command_line_ingests_and_explains_a_refusal(hub: Hub, run: Run) -> None:
    repo_id, sha = add_good_model(hub)
    done = run("ingest", repo_id, "--version", "1.0.0")
    assert done.exit_code == 0, done.output
    assert sha in done.stdout
    assert "Not known: reviewedness" in done.stderr
    hub.add_model("acme/refused", BARE)
    refused = run("ingest", "acme/refused")
    assert refused.exit_code == 1
    assert "What would fix it" in refused.stdout
    assert "license: Declare a license" in refused.stdout
    assert "acme/refused at" in refused.stderr
    shown = run("ingest", "acme/refused", "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["failing"]


def ended(client: httpx.Client, address: str) -> dict[str, Any]:
    """An ingest as it ended."""

    def look() -> dict[str, Any] | None:
        state: dict[str, Any] = client.get(address).json()
        return state if state["finished_at"] else None

    found = eventually(look, seconds=120)
    assert isinstance(found, dict)
    return found


def test_who_does_not_wait_may_look_how_far_it_is(hub: Hub, gated_server: Server, uploader: Account) -> None:
    repo_id, sha = add_good_model(hub)
    asked = uploader.client.post("/package/ingest", json={"model_url": repo_id}, headers={"Prefer": "respond-async"})
    assert asked.status_code == 202
    address = asked.headers["location"]
    assert address == f"/package/ingest/{asked.json()['ingest_id']}"
    assert (asked.json()["revision"], asked.json()["state"]) == (sha, "waiting")
    state = ended(uploader.client, address)
    assert (state["state"], state["gate"], state["problem"]) == ("admitted", "hold", None)
    assert state["bytes_done"] == state["bytes_total"] > 1000
    assert uploader.client.get(f"/package/{state['package_id']}/metadata").json()["name"] == repo_id

    with register(gated_server, "upload").client as other, gated_server.client() as admin:
        problem(other.get(address), 404, "ingest-not-found")
        assert admin.get(address).json() == state
    problem(uploader.client.get("/package/ingest/01a20f82-e3a0-72ad-b785-d74275a77223"), 404, "ingest-not-found")
    problem(uploader.client.get("/package/ingest/x"), 422)


def test_a_refusal_that_nobody_waited_for_says_all_that_the_call_would_have(hub: Hub, uploader: Account) -> None:
    repo_id = f"acme/{fresh('bare')}"
    hub.add_model(repo_id, BARE)
    asked = uploader.client.post("/package/ingest", json={"model_url": repo_id}, headers={"Prefer": "respond-async"})
    state = ended(uploader.client, asked.headers["location"])
    called = ingest(uploader.client, repo_id).json()
    assert (state["state"], state["package_id"]) == ("refused", None)
    assert state["problem"]["failing"] == called["failing"]
    assert state["problem"].keys() == called.keys() - {"request_id"}


@pytest.fixture(scope="module")
def impatient_server(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for nothing, with a worker that may be ended at any time."""
    environment = {"WEIGHHOUSE_HF_ENDPOINT": hub.url, "WEIGHHOUSE_EVALUATION_WAIT_SECONDS": "0.1"}
    running = start_server(tmp_path_factory.mktemp("impatient") / "data", **environment)
    yield running
    stop_server(running)


def add_slow_model(hub: Hub) -> tuple[str, frozenset[str]]:
    """Id and files of a good model whose `slow.npy` comes in drips, for many minutes, to the first who asks."""
    repo_id, _ = add_good_model(hub)
    files = {path.relative_to(MODEL).as_posix(): path.read_bytes() for path in MODEL.rglob("*") if path.is_file()}
    now = datetime.now(UTC)
    people = [(f"user{number % 3}", now - timedelta(days=10 + number)) for number in range(9)]
    whole: dict[str, str | bytes] = {**files, "slow.npy": secrets.token_bytes(400_000)}
    sha = hub.add_model(repo_id, whole, commits=people)
    hub.fail(f"/resolve/{sha}/slow.npy", times=1, method="GET", piece_seconds=0.05)
    return repo_id, frozenset(whole)


def begin_slowly(server: Server, client: httpx.Client, repo_id: str, files: frozenset[str]) -> str:
    """The address of an ingest that has all files but the slow one, which drips in."""
    asked = client.post("/package/ingest", json={"model_url": repo_id})
    assert asked.status_code == 202, asked.text
    address = asked.headers["location"]
    kept = "SELECT path FROM ingest_files WHERE ingest_id = %s"
    eventually(lambda: {row[0] for row in sql(server, kept, asked.json()["ingest_id"])} == files - {"slow.npy"}, 120)
    return str(address)


def worker_of(server: Server) -> psutil.Process:
    """The worker that the server runs now."""
    children = psutil.Process(server.process.pid).children()
    (worker,) = [
        child for child in children if "weighhouse.doors.cli.child" in child.cmdline() and "worker" in child.cmdline()
    ]
    return worker


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_in_the_middle_is_followed_by_one_that_fetches_what_is_lacking(
    hub: Hub, impatient_server: Server, number: signal.Signals
) -> None:
    repo_id, files = add_slow_model(hub)
    with impatient_server.client() as client:
        address = begin_slowly(impatient_server, client, repo_id, files)
        state = client.get(address).json()
        assert (state["state"], state["files_total"]) == ("fetching", len(files))
        assert client.get("/packages", params={"name": repo_id}).json()["total"] == 0
        hub.forget_requests()
        worker_of(impatient_server).send_signal(number)
        state = ended(client, address)
        assert state["state"] == "admitted", state
        assert {one.path.rpartition("/")[2] for one in hub.asked("/resolve/")} == {"slow.npy"}
        shown = client.get(f"/package/{state['package_id']}/files").json()["files"]
        assert {one["path"] for one in shown} == files
        assert client.get("/packages", params={"name": repo_id}).json()["total"] == 1
        evaluations = client.get(f"/package/{state['package_id']}/evaluations").json()["evaluations"]
        assert len(evaluations) == 1


def test_an_ingest_can_be_cancelled_and_leaves_nothing(hub: Hub, impatient_server: Server) -> None:
    repo_id, files = add_slow_model(hub)
    account = register(impatient_server, "upload", "search")
    with account.client as client, register(impatient_server, "upload").client as other:
        before = blobs_of(impatient_server)
        address = begin_slowly(impatient_server, client, repo_id, files)
        problem(other.delete(address), 404, "ingest-not-found")
        cancelled = client.delete(address)
        assert cancelled.status_code == 200, cancelled.text
        assert cancelled.json()["state"] == "cancelled"
        assert cancelled.json()["problem"]["type"] == "/problems/ingest-cancelled"
        assert problem(client.delete(address), 409, "ingest-ended")["state"] == "cancelled"
        eventually(lambda: blobs_of(impatient_server) == before, 120)
        listed = client.get("/package/ingests", params={"limit": 1}).json()
        assert listed == {"ingests": [cancelled.json()], "next_cursor": None}
        assert other.get("/package/ingests").json()["ingests"] == []
        assert client.get("/packages", params={"name": repo_id}).json()["total"] == 0


def blobs_of(server: Server) -> set[str]:
    """Digests of the blobs that the server keeps."""
    return {path.name for path in (server.data_dir / "store" / "blobs").rglob("*") if path.is_file()}


def test_the_command_line_can_leave_and_come_back(hub: Hub, run: Run) -> None:
    repo_id, _ = add_good_model(hub)
    left = run("ingest", repo_id, "--no-wait")
    assert left.exit_code == 0, left.output
    found = re.search(r"--resume ([0-9a-f-]{36})", left.stderr)
    assert found is not None
    back = run("ingest", "--resume", found[1])
    assert back.exit_code == 0, back.output
    assert repo_id in back.stdout
    assert "gate        hold" in back.stdout
    assert run("ingest").exit_code == 2
    assert run("ingest", repo_id, "--resume", found[1]).exit_code == 2
    late = run("ingest", "--cancel", found[1])
    assert late.exit_code == 1
    assert "has ended already" in late.stderr


def test_the_command_line_cancels(hub: Hub, run: Run) -> None:
    repo_id, _ = add_slow_model(hub)
    begun = json.loads(run("ingest", repo_id, "--no-wait", "--json").stdout)
    assert begun["finished_at"] is None
    cancelled = run("ingest", "--cancel", begun["ingest_id"])
    assert cancelled.exit_code == 0, cancelled.output
    assert "nothing is kept" in cancelled.stdout
    back = run("ingest", "--resume", begun["ingest_id"])
    assert back.exit_code == 1
    assert "was cancelled" in back.stderr


def test_ctrl_c_leaves_the_server_at_work_and_says_how_to_look_again(
    hub: Hub, gated_server: Server, uploader: Account, tmp_path: Path
) -> None:
    repo_id, _ = add_slow_model(hub)
    own = {"XDG_CONFIG_HOME": str(tmp_path), "WEIGHHOUSE_TOKEN": uploader.token}
    command = [sys.executable, "-m", "weighhouse", "ingest", repo_id, "--server", gated_server.url]
    with subprocess.Popen(command, env=os.environ | own, stderr=subprocess.PIPE, text=True) as process:

        def begun() -> dict[str, Any] | None:
            newest: list[dict[str, Any]] = uploader.client.get("/package/ingests").json()["ingests"]
            return next((one for one in newest if one["name"] == repo_id and one["state"] == "fetching"), None)

        found = eventually(begun, 120)
        assert isinstance(found, dict)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"weighhouse ingest --resume {found['ingest_id']}" in said
    address = f"/package/ingest/{found['ingest_id']}"
    assert uploader.client.get(address).json()["state"] == "fetching"
    assert uploader.client.delete(address).json()["state"] == "cancelled"
