"""GET /metrics: figures for Prometheus."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Server, eventually
from tests.doors.rest import Account, client_of, problem


def test_the_figures_are_what_prometheus_reads(anonymous: httpx.Client, admin: httpx.Client) -> None:
    admin.get("/user/me")

    def families() -> dict[str, object]:
        answer = anonymous.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        return {family.name: family for family in text_string_to_metric_families(answer.text)}

    def is_counted() -> bool:
        return any(
            sample.labels.get("endpoint") == "GET /user/me" and sample.value > 0
            for sample in families()["weighhouse_requests"].samples  # type: ignore[attr-defined]  # of the parser
        )

    eventually(is_counted, 6)
    found = families()
    assert {"weighhouse_request_seconds", "weighhouse_cpu_percent", "weighhouse_memory_percent"} <= found.keys()
    histogram = found["weighhouse_request_seconds"].samples  # type: ignore[attr-defined]  # of the parser
    for endpoint in {sample.labels["endpoint"] for sample in histogram}:
        mine = [sample for sample in histogram if sample.labels["endpoint"] == endpoint]
        buckets = [sample.value for sample in mine if sample.name.endswith("_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == next(sample.value for sample in mine if sample.name.endswith("_count"))


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host"])
def test_behind_a_proxy_only_admins_see_them(
    anonymous: httpx.Client, admin: httpx.Client, reader: Account, header: str
) -> None:
    headers = {header: "127.0.0.1"}
    problem(anonymous.get("/metrics", headers=headers), 401, "token-refused")
    problem(reader.client.get("/metrics", headers=headers), 403, "permission-missing")
    assert admin.get("/metrics", headers=headers).status_code == 200


def test_under_a_public_address_only_admins_see_them_whatever_a_proxy_says(strict: Server) -> None:
    with client_of(strict) as nobody:
        problem(nobody.get("/metrics"), 401, "token-refused")
    with client_of(strict, strict.admin_token) as admin:
        assert admin.get("/metrics").status_code == 200
