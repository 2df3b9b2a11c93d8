"""GET /healthz and /readyz: what load balancers and container runtimes ask."""

import httpx

from tests.conftest import Server, eventually
from tests.doors.rest import client_of, problem, sql
from tests.kept import store_away


def test_a_process_that_lives_says_so_and_one_that_is_ready_too(anonymous: httpx.Client) -> None:
    for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
        answer = anonymous.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": status})
        assert anonymous.head(path).status_code == 200


def test_who_probes_may_ask_by_any_address(anonymous: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        assert anonymous.get(path, headers={"Host": "10.1.2.3:8000"}).status_code == 200
    problem(anonymous.get("/health", headers={"Host": "10.1.2.3:8000"}), 400, "host-refused")


def test_probes_take_no_call_and_stand_in_no_figure_or_log(admin: httpx.Client) -> None:
    def calls() -> int:
        return int(admin.get("/user/me").json()["calls_remaining"])

    before = calls()
    for _ in range(5):
        assert admin.get("/readyz", headers={"X-Request-ID": "a-probe-of-the-test"}).status_code == 200
        assert admin.get("/healthz", headers={"X-Request-ID": "a-probe-of-the-test"}).status_code == 200
    assert calls() == before - 1
    marked = {"X-Request-ID": "a-request-after-the-probes"}
    assert admin.get("/health", headers=marked).status_code == 200

    def ids() -> set[str]:
        return {row["request_id"] for row in admin.get("/logs?limit=1000").json()["logs"]}

    # Each process writes by itself every two seconds, and the one that was asked wrote all it had.
    eventually(lambda: marked["X-Request-ID"] in ids(), 30)
    assert "a-probe-of-the-test" not in ids()
    endpoints = {one["endpoint"] for one in admin.get("/health?detailed=true").json()["top_endpoints"]}
    assert not endpoints & {"GET /healthz", "GET /readyz"}


def test_without_its_store_the_server_lives_and_is_not_ready(strict: Server) -> None:
    with client_of(strict) as client:
        with store_away(strict):
            problem(client.get("/readyz"), 503, "store-away")
            assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200


def test_a_schema_that_is_too_old_is_not_ready_and_a_newer_one_is(expendable: Server) -> None:
    ((revision,),) = sql(expendable, "SELECT version_num FROM alembic_version")
    with client_of(expendable) as client:
        try:
            sql(expendable, "UPDATE alembic_version SET version_num = '0001'")
            assert "weighhouse migrate" in problem(client.get("/readyz"), 503, "schema-outdated")["detail"]
            sql(expendable, "UPDATE alembic_version SET version_num = '9999'")
            assert client.get("/readyz").status_code == 200
        finally:
            sql(expendable, "UPDATE alembic_version SET version_num = %s", revision)
        assert client.get("/readyz").status_code == 200
