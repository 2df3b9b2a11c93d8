"""The API's description, and its pages."""

import re
from typing import Any

import httpx
import pytest

_STATUSES_OF_ALL = {
    "200",
    "201",
    "202",
    "206",
    "304",
    "400",
    "401",
    "403",
    "404",
    "409",
    "413",
    "415",
    "416",
    "422",
    "429",
    "503",
}


@pytest.fixture(scope="module")
def document(anonymous: httpx.Client) -> dict[str, Any]:
    answer = anonymous.get("/openapi.json")
    assert answer.status_code == 200
    described: dict[str, Any] = answer.json()
    return described


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_endpoint_of_the_contract_is_described(document: dict[str, Any]) -> None:
    described = {re.sub(r"\{\w+\}", "{}", name) for name, _ in operations(document)}
    promised = """
        POST /authenticate|DELETE /authenticate|GET /user/me|GET /users|POST /user/register|PUT /user/{}/password
        GET /user/{}/tokens|DELETE /user/{}/tokens/{}|PUT /user/{}/permissions|DELETE /user/{}|POST /package
        POST /package/{}/evaluate|GET /package/{}/evaluations|PUT /package/{}/rate|GET /package/{}/ratings|GET /package/{}
        GET /package/{}/files|GET /package/{}/download-history|POST /packages|GET /packages|GET /package/{}/metadata
        GET /package/{}/lineage|DELETE /package/{}|POST /package/{}/release|DELETE /reset|GET /health|GET /logs
        GET /metrics
    """
    assert {one.strip() for line in promised.strip().splitlines() for one in line.split("|")} <= described


def test_every_operation_says_what_it_does_and_may_answer(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["responses"].keys() <= _STATUSES_OF_ALL, name
        for status, response in operation["responses"].items():
            if int(status) >= 400 and not (name == "GET /health" and status == "503"):
                assert "application/problem+json" in response["content"], (name, status)
        if operation.get("security"):
            assert {"401", "429", "503"} <= operation["responses"].keys(), name


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_its_pages_need_nothing_from_elsewhere(anonymous: httpx.Client, path: str) -> None:
    page = anonymous.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline'" not in policy.split("style-src")[0]
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)
    for address in re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text):
        if not address.startswith("data:"):
            assert anonymous.get(address).status_code == 200, address
