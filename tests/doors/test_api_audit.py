"""The audit trail over HTTP: what comes into it, who reads it, and that it can be checked by anybody."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, eventually, start_server, stop_server
from tests.doors.rest import PASSWORD, Account, client_of, fresh, post_package, problem, publish, register, sql

Register = Callable[..., Account]


@pytest.fixture
def signed_in(server: Server) -> Iterator[Register]:
    """Registers users whose clients are closed in the end."""
    with ExitStack() as stack:

        def make(*permissions: str) -> Account:
            account = register(server, *permissions)
            stack.enter_context(account.client)
            return account

        yield make


def export(server: Server, **wanted: str) -> list[dict[str, Any]]:
    """The lines of an export."""
    with client_of(server, server.admin_token) as admin:
        answer = admin.get("/audit", params=wanted)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def told(entries: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(entry[name] for name in names) for entry in entries]


def sealed(server: Server) -> Mapping[str, Any]:
    """The head, when nothing waits any more."""
    with client_of(server, server.admin_token) as admin:
        eventually(lambda: admin.get("/audit/head").json()["waiting"] == 0, seconds=20)
        return dict(admin.get("/audit/head").json())


def test_what_a_user_does_is_told_with_address_request_and_outcome(server: Server, signed_in: Register) -> None:
    name, ada = fresh(), signed_in("search", "download", "upload")
    package_id = publish(ada.client, name)
    request_id = ada.client.get(f"/package/{package_id}").headers["x-request-id"]
    assert ada.client.put(f"/package/{package_id}/rate", json={"score": 4}).status_code == 200
    problem(post_package(ada.client, name), 409)
    problem(ada.client.delete(f"/package/{package_id}"), 403)
    entries = export(server, package=name)
    assert told(entries, "action", "outcome", "actor", "subject") == [
        ("upload package", "done", ada.username, f"package {name} 1.0.0"),
        ("download package", "done", ada.username, f"package {name} 1.0.0"),
        ("rate package", "done", ada.username, f"package {name} 1.0.0"),
        ("upload package", "refused", ada.username, f"package {name} 1.0.0"),
        ("delete package", "refused", ada.username, f"package {name} 1.0.0"),
    ]
    assert {entry["address"] for entry in entries} == {"127.0.0.1"}
    assert entries[1]["request_id"] == request_id
    assert [entry["detail"].get("problem") for entry in entries[3:]] == ["version-exists", "permission-missing"]
    assert export(server, package=f"{name}@1.0.0") == export(server, package=name.upper())
    assert told(export(server, package=package_id), "action")[-1] == ("delete package",)
    assert export(server, package=f"{name}@2.0.0") == []


def test_failed_logins_are_told_without_what_may_be_a_password(server: Server, signed_in: Register) -> None:
    ada, slip = signed_in(), fresh("my-password")
    with client_of(server) as nobody:
        for username in (ada.username.upper(), slip):
            body = {"username": username, "password": f"wrong {PASSWORD}"}
            problem(nobody.post("/authenticate", json=body), 401)
    found = export(server, user=ada.username)
    assert told(found, "action", "outcome", "actor", "subject") == [
        ("register user", "done", "admin", f"user {ada.username}"),
        ("sign in", "done", ada.username, f"user {ada.username}"),
        ("sign in", "refused", "nobody", f"user {ada.username}"),
    ]
    everything = json.dumps(export(server))
    assert "an unknown user" in everything
    assert slip not in everything
    assert PASSWORD not in everything
    assert ada.token not in everything


def test_an_export_can_be_checked_by_anybody(server: Server, signed_in: Register) -> None:
    ada = signed_in("search")
    problem(ada.client.post("/user/register", json={"username": "eve", "password": PASSWORD, "permissions": []}), 403)
    head = sealed(server)["head"]
    before = bytes(32)
    for line in export(server):
        sha256 = line.pop("sha256")
        if sha256 is None:
            break
        form = json.dumps(line, sort_keys=True, separators=(",", ":")).encode()
        before = hashlib.sha256(before + form).digest()
        assert before.hex() == sha256
        if head == f"{line['seq']}:{sha256}":
            return
    raise AssertionError("The head was not in the export")


def test_times_bound_an_export(server: Server, signed_in: Register) -> None:
    ada = signed_in()
    [*_, last] = export(server, user=ada.username)
    assert export(server, user=ada.username, start_time=last["acted_at"]) == [last]
    assert last not in export(server, end_time="2020-01-01T00:00:00")
    with client_of(server, server.admin_token) as admin:
        problem(admin.get("/audit", params={"start_time": "yesterday"}), 422)


def test_who_may_see_a_package_reads_what_was_done_to_it_page_by_page(server: Server, signed_in: Register) -> None:
    owner, other = signed_in("search", "download", "upload"), signed_in("search", "download")
    package_id = publish(owner.client)
    for score in (1, 2, 3):
        other.client.put(f"/package/{package_id}/rate", json={"score": score})
    other.client.get(f"/package/{package_id}")
    problem(other.client.delete(f"/package/{package_id}"), 403)
    address = f"/package/{package_id}/audit"
    entries, cursor = [], None
    while True:
        page = owner.client.get(address, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        entries += page["entries"]
        cursor = page["next_cursor"]
        assert len(page["entries"]) <= 2
        if cursor is None:
            break
    assert told(entries, "action") == [
        ("delete package",),
        ("download package",),
        *[("rate package",)] * 3,
        ("upload package",),
    ]
    assert told(owner.client.get(address, params={"outcome": "refused"}).json()["entries"], "actor", "address") == [
        (other.username, "127.0.0.1")
    ]
    seen = other.client.get(address, params={"action": "rate package"}).json()["entries"]
    assert told(seen, "detail", "address") == [({"score": score}, None) for score in (3, 2, 1)]
    assert {entry["action"] for entry in other.client.get(address).json()["entries"]} == {
        "rate package",
        "upload package",
    }


def test_behind_a_trusted_proxy_the_address_is_the_clients_and_else_that_of_the_connection(
    server: Server, tmp_path: Path
) -> None:
    claimed = {"X-Forwarded-For": "203.0.113.9"}
    settings = {"WEIGHHOUSE_TRUSTED_PROXIES": "127.0.0.1", "WEIGHHOUSE_PUBLIC_URL": "https://localhost"}
    proxied = start_server(tmp_path / "data", WEIGHHOUSE_WORKERS="1", **settings)
    try:
        for running, address in ((proxied, "203.0.113.9"), (server, "127.0.0.1")):
            with client_of(running) as nobody:
                body = {"username": fresh("nobody"), "password": PASSWORD}
                refused = nobody.post("/authenticate", json=body, headers=claimed)
            problem(refused, 401)
            request_id = refused.headers["x-request-id"]
            assert sql(running, "SELECT address FROM audit_log WHERE request_id = %s", request_id) == [(address,)]
    finally:
        stop_server(proxied)
