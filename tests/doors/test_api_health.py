"""GET /health: whether the parts answer, and the figures of all processes."""

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.conftest import ADMIN_PASSWORD, Server, eventually
from tests.doors.rest import Account, client_of, problem, sign_in
from tests.kept import store_away


def test_a_well_registry_says_so_to_anybody(anonymous: httpx.Client) -> None:
    answer = anonymous.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"status", "timestamp", "components"}
    assert body["status"] == "healthy"
    assert body["components"] == {"database": "healthy", "s3": "healthy"}
    assert abs((datetime.fromisoformat(body["timestamp"]) - datetime.now(UTC)).total_seconds()) < 5
    assert body["timestamp"].endswith("Z")


def test_the_figures_cover_all_processes(anonymous: httpx.Client, reader: Account) -> None:
    def figures() -> dict[str, float]:
        shown: dict[str, float] = anonymous.get("/health?detailed=true").json()["metrics"]
        return shown

    before = figures()
    # New connections, so that each process gets some.
    for _ in range(10):
        with httpx.Client(base_url=str(anonymous.base_url), verify=False) as client:
            client.get("/user/me")
            client.get("/health")
    # Looking counts as a request too, so only the refusals tell when those above are in.
    eventually(lambda: figures()["failed_requests"] >= before["failed_requests"] + 10, 12)
    after = figures()
    assert after["total_requests"] >= before["total_requests"] + 20
    assert after["total_requests"] == after["successful_requests"] + after["failed_requests"]
    assert after["error_rate_percent"] == round(100 * after["failed_requests"] / after["total_requests"], 2)
    assert after["avg_response_time_ms"] > 0
    assert 0 < after["p95_response_time_ms"] <= after["p99_response_time_ms"]
    for name in ("cpu_percent", "memory_percent", "disk_percent"):
        assert 0 <= after[name] <= 100

    body = anonymous.get("/health?detailed=true").json()
    assert body.keys() == {"status", "timestamp", "components", "metrics", "top_endpoints"}
    assert 1 <= len(body["top_endpoints"]) <= 5
    assert all(one.keys() == {"endpoint", "count", "errors", "avg_response_ms"} for one in body["top_endpoints"])
    counts = [one["count"] for one in body["top_endpoints"]]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("query", ["detailed=perhaps", "detailed=2", "detailed="])
def test_a_flag_that_is_none_is_refused(anonymous: httpx.Client, query: str) -> None:
    problem(anonymous.get(f"/health?{query}"), 422)


def test_a_store_that_is_away_degrades_the_registry(strict: Server) -> None:
    with client_of(strict) as client:
        with store_away(strict):
            answer = client.get("/health")
            assert answer.status_code == 200
            assert answer.json()["status"] == "degraded"
            assert answer.json()["components"] == {"database": "healthy", "s3": "unhealthy"}
        assert client.get("/health").json()["status"] == "healthy"


def test_without_its_database_the_registry_is_unwell_and_recovers_alone(strict: Server) -> None:
    token = sign_in(strict, "admin", ADMIN_PASSWORD)
    postmaster = int((strict.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    with client_of(strict) as client, client_of(strict, token) as admin, _without(strict, postmaster):
        answer = client.get("/health", timeout=20)
        assert answer.status_code == 503
        assert answer.json()["status"] == "unhealthy"
        assert answer.json()["components"]["database"] == "unhealthy"
        document = problem(admin.get("/user/me", timeout=20), 503, "database-away")
        assert "Try again" in document["detail"]
        problem(client.post("/authenticate", json={"username": "admin", "password": "x"}), 503, "database-away")

    def is_well() -> bool:
        with client_of(strict, token) as admin:
            return admin.get("/user/me").status_code == 200 and admin.get("/health").json()["status"] == "healthy"

    eventually(is_well, 30)


@contextlib.contextmanager
def _without(server: Server, postmaster: int) -> Iterator[None]:
    """The server with its supervisor stopped, so that nobody starts the database that dies here."""
    os.kill(server.process.pid, signal.SIGSTOP)
    os.kill(postmaster, signal.SIGQUIT)
    try:
        eventually(lambda: not Path(f"/proc/{postmaster}/cmdline").read_bytes(), 10)
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
