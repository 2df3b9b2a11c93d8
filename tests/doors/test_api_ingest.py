"""POST /package/ingest over HTTP: a real server in front of a hub on this machine."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from tests.conftest import Server, start_server, stop_server
from tests.doors.rest import Account, client_of, fresh, post_package, problem, register
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
