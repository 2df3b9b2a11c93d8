"""GET /logs: requests as they were answered."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.conftest import Server, eventually
from tests.doors.rest import Account, client_of, fresh, from_bucket, from_stream, problem, publish

_KEYS = {"timestamp", "level", "endpoint", "method", "status_code", "error", "request_id", "username", "duration_ms"}


def logged(admin: httpx.Client, request_id: str) -> dict[str, object]:
    """The entry of a request, which may be some seconds behind."""

    def look() -> dict[str, object] | None:
        logs = admin.get("/logs?limit=1000").json()["logs"]
        return next((log for log in logs if log["request_id"] == request_id), None)

    found = eventually(look, 5.5)
    assert isinstance(found, dict)
    return found


def test_a_request_is_logged_with_what_became_of_it(admin: httpx.Client, reader: Account) -> None:
    good = reader.client.get("/user/me")
    bad = reader.client.get("/package/01926f3e-7c1a-7d3b-9a55-3f1f4c2f6a10/metadata?x=secret")
    log = logged(admin, good.headers["x-request-id"])
    assert log.keys() == _KEYS
    assert (log["level"], log["endpoint"], log["method"]) == ("INFO", "GET /user/me", "GET")
    assert (log["status_code"], log["error"], log["username"]) == (200, None, reader.username)
    log = logged(admin, bad.headers["x-request-id"])
    assert (log["level"], log["status_code"]) == ("WARNING", 404)
    assert log["error"] == bad.json()["detail"]
    assert log["endpoint"] == "GET /package/01926f3e-7c1a-7d3b-9a55-3f1f4c2f6a10/metadata"


def test_the_answer_has_the_fields_that_were_promised(admin: httpx.Client) -> None:
    body = admin.get("/logs?limit=2&offset=1").json()
    assert body.keys() == {"logs", "total", "offset", "limit", "note"}
    assert (body["offset"], body["limit"], len(body["logs"])) == (1, 2, 2)
    assert body["total"] > 2
    times = [log["timestamp"] for log in admin.get("/logs").json()["logs"]]
    assert len(times) <= 100
    assert all(time.endswith("Z") for time in times)


def test_a_level_is_exact(admin: httpx.Client, anonymous: httpx.Client) -> None:
    refused = anonymous.get("/users").headers["x-request-id"]
    logged(admin, refused)
    warnings = admin.get("/logs?level=WARNING&limit=1000").json()["logs"]
    assert warnings
    assert all(log["level"] == "WARNING" and 400 <= log["status_code"] < 500 for log in warnings)
    assert all(log["error"] is None for log in admin.get("/logs?level=INFO").json()["logs"])
    assert admin.get("/logs?level=ERROR").json()["total"] == 0
    for level in ("DEBUG", "CRITICAL"):
        assert admin.get(f"/logs?level={level}").json()["logs"] == []


def test_a_time_without_a_zone_is_utc(admin: httpx.Client, anonymous: httpx.Client) -> None:
    start = datetime.now(UTC)
    request_id = anonymous.get("/health").headers["x-request-id"]
    stamp = datetime.fromisoformat(str(logged(admin, request_id)["timestamp"]))
    plain = start.replace(tzinfo=None).isoformat()

    def found(**params: str) -> bool:
        logs = admin.get("/logs", params={"limit": "1000"} | params).json()["logs"]
        return any(log["request_id"] == request_id for log in logs)

    assert found(start_time=plain)
    assert found(start_time=start.isoformat(), end_time=datetime.now(UTC).isoformat())
    assert not found(end_time=plain)
    assert not found(start_time=(stamp + timedelta(seconds=1)).isoformat())
    elsewhere = (start - timedelta(hours=5)).replace(tzinfo=None).isoformat() + "-05:00"
    assert found(start_time=elsewhere)
    assert not found(start_time="9999-12-31T23:59:59")
    assert found(start_time="0001-01-01T00:00:00")


@pytest.mark.parametrize(
    "query",
    [
        "level=LOUD",
        "level=info",
        "level=",
        "start_time=yesterday",
        "end_time=2025-13-01",
        "limit=0",
        "limit=1001",
        "limit=x",
        "offset=-1",
        "offset=1e3",
    ],
)
def test_a_filter_that_cannot_be_is_refused(admin: httpx.Client, query: str) -> None:
    problem(admin.get(f"/logs?{query}"), 422)


@pytest.mark.parametrize(
    "query",
    [
        "start_time=0001-01-01T00:00:00%2B14:00",
        "end_time=9999-12-31T23:59:59-14:00",
        "start_time=1e300",
        "start_time=-1e15",
        "end_time=99999999999999999999",
    ],
)
def test_a_time_at_the_end_of_time_is_no_error_of_the_server(admin: httpx.Client, query: str) -> None:
    answer = admin.get(f"/logs?{query}")
    assert answer.status_code in {200, 422}


def test_no_secret_is_in_the_log(server: Server, admin: httpx.Client, uploader: Account) -> None:
    password = fresh("hunter")
    with client_of(server) as client:
        client.post("/authenticate", json={"username": uploader.username, "password": password})
    package_id = publish(uploader.client)
    secrets = [password, uploader.token, server.admin_token]
    if server.place is not None:
        secrets += [
            from_bucket(uploader.client, package_id).split("Signature=")[1],
            server.place.server.secret_access_key,
        ]
    address = from_stream(server, uploader.client, package_id)
    secrets.append(address.split("signature=")[1])
    fetched = httpx.get(address, verify=False)
    logged(admin, fetched.headers["x-request-id"])
    text = admin.get("/logs?limit=1000").text
    for secret in secrets:
        assert secret not in text
    on_disk = (server.data_dir.parent / f"{server.data_dir.name}.log").read_text()
    for secret in secrets:
        assert secret not in on_disk


def test_what_a_client_writes_is_shown_escaped_and_cut(admin: httpx.Client, anonymous: httpx.Client) -> None:
    answer = anonymous.get("/" + "é" * 1500)
    log = logged(admin, answer.headers["x-request-id"])
    assert len(str(log["endpoint"])) <= 1024
    assert str(log["endpoint"]).isascii()
