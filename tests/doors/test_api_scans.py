"""Files that would run something, uploaded like any others."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests import payloads
from tests.conftest import Server, eventually, new_environment, start_server, stop_server
from tests.doors.rest import Account, client_of, fresh, post_package, problem, publish, register, sql
from tests.payloads import Payload
from weighhouse.rules.scan.scanner import scan
from weighhouse.rules.scan.source import Bytes

WRAPPINGS = list(payloads.harmful_wrappings())
EVERYTHING = [*payloads.harmful(), *payloads.benign()]


def expected(payload: Payload) -> str:
    """The verdict on a file as the scanner has it."""
    return str(scan(Bytes(payload.content), payload.path.rpartition("/")[2], len(payload.content)).level)


def named(payload: Payload) -> str:
    return payload.name.replace(" ", "-")


@pytest.mark.parametrize("payload", WRAPPINGS, ids=named)
def test_every_wrapping_ends_as_the_policy_says(
    uploader: Account, reader: Account, admin: httpx.Client, payload: Payload
) -> None:
    name = fresh("wrapped")
    answer = post_package(uploader.client, name, files={payload.path: payload.content})
    assert answer.status_code == 201, answer.text
    package_id = answer.json()["package_id"]
    metadata = admin.get(f"/package/{package_id}/metadata").json()
    assert metadata["verdict"] == expected(payload)
    assert metadata["verdict"] in {"unsafe", "suspicious"}
    assert metadata["files"][0]["reasons"]
    found = [one["id"] for one in reader.client.get("/packages", params={"name": name}).json()["packages"]]
    if metadata["verdict"] == "unsafe":
        assert "quarantine" in answer.json()["message"]
        problem(reader.client.get(f"/package/{package_id}"), 404, "package-not-found")
        refused = problem(uploader.client.get(f"/package/{package_id}"), 403, "quarantined")
        assert refused["reasons"] == [f"{payload.path}: {one}" for one in metadata["files"][0]["reasons"]]
        assert found == []
    else:
        offered = reader.client.get(f"/package/{package_id}")
        assert offered.headers["x-weighhouse-verdict"] == "suspicious"
        assert found == [package_id]


def test_every_file_has_the_verdict_of_the_scanner_and_none_that_is_published_is_unsafe(uploader: Account) -> None:
    files: dict[str, str | bytes] = {f"{number}/{one.path}": one.content for number, one in enumerate(EVERYTHING)}
    answer = post_package(uploader.client, fresh("all"), files=files)
    package_id = answer.json()["package_id"]
    metadata = uploader.client.get(f"/package/{package_id}/metadata").json()
    verdicts = {file["path"]: file["verdict"] for file in metadata["files"]}
    assert verdicts == {f"{number}/{one.path}": expected(one) for number, one in enumerate(EVERYTHING)}
    benign = [verdicts[f"{number}/{one.path}"] for number, one in enumerate(EVERYTHING) if one in payloads.benign()]
    assert "unsafe" not in benign


def test_search_filters_by_verdict(uploader: Account, reader: Account) -> None:
    word = fresh("verdict")
    safe = post_package(uploader.client, f"{word}-a", files={"config.json": "{}"}).json()["package_id"]
    post_package(uploader.client, f"{word}-b", files={"x.xyz": bytes(range(255, 1, -1))})
    found = reader.client.get("/packages", params={"name": word, "verdict": "safe"}).json()["packages"]
    assert [one["id"] for one in found] == [safe]
    assert len(reader.client.get("/packages", params={"name": word}).json()["packages"]) == 2


def test_a_quarantined_package_is_released_by_an_admin(uploader: Account, reader: Account, admin: httpx.Client) -> None:
    answer = post_package(uploader.client, fresh("free"), files={"x.pkl": payloads.running_pickle()})
    package_id = answer.json()["package_id"]
    problem(uploader.client.post(f"/package/{package_id}/release", json={"reason": "Mine."}), 403)
    assert admin.post(f"/package/{package_id}/release", json={"reason": "A test of ours."}).status_code == 200
    assert reader.client.get(f"/package/{package_id}").headers["x-weighhouse-verdict"] == "unsafe"


@pytest.fixture(scope="module")
def refusing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server(
        tmp_path_factory.mktemp("refusing") / "data",
        WEIGHHOUSE_WORKERS="1",
        WEIGHHOUSE_SCAN_POLICY="unsafe=refuse",
        **new_environment(request),
    )
    yield running
    stop_server(running)


def test_a_registry_that_refuses_says_why_and_keeps_nothing(refusing: Server) -> None:
    account = register(refusing, "upload", "search", "download")
    with account.client:
        bad: dict[str, str | bytes] = {"README.md": "# Bad\n", "model.pkl": payloads.running_pickle()}
        document = problem(post_package(account.client, "bad", files=bad), 422, "package-refused")
        assert document["reasons"] == ["model.pkl: The pickle imports posix.system, which runs commands. (byte 40)"]
        assert sql(refusing, "SELECT count(*) FROM packages") == [(0,)]
        # Who does not wait finds nothing.
        package_id = publish(account.client, "bad", files=bad)
        eventually(lambda: account.client.get(f"/package/{package_id}/metadata").status_code == 404)
        good = post_package(account.client, "bad", files={"README.md": "# Good\n"})
        assert good.status_code == 201
        with client_of(refusing, account.token) as client:
            assert client.get(f"/package/{good.json()['package_id']}").status_code == 200


def test_no_field_of_an_upload_decides_the_verdict(server: Server, uploader: Account) -> None:
    fields = {"verdict": "safe", "is_quarantined": "false", "scanner_version": "9"}
    answer = post_package(uploader.client, fresh(), files={"x.pkl": payloads.running_pickle()}, fields=fields)
    package_id = answer.json()["package_id"]
    assert sql(server, "SELECT verdict, scanner_version FROM packages WHERE id = %s", package_id) == [("unsafe", 1)]
    reasons = sql(server, "SELECT reasons FROM blob_scans WHERE verdict = 'unsafe' AND name = 'x.pkl'")[0][0]
    assert json.dumps(reasons).count("posix.system") >= 1
