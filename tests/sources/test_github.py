"""GitHub asked over real HTTP: kept answers, limits, tries, redirects, and every way to fail told apart."""

import gzip
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.github_server import Answer, Asked, Fault, GitHub
from tests.sources.asking import Memory
from weighhouse.rules.evidence import Reason
from weighhouse.sources import outbound as module
from weighhouse.sources.budget import Budget
from weighhouse.sources.github import RAW, GitHubMissing
from weighhouse.sources.github import GitHub as Client

REPO = "/repos/acme/tool"


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as running:
        running.add_repository("acme", "tool", {"LICENSE": "text", "src/a.py": "x"}, "MIT")
        yield running


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(github: GitHub, pauses: list[float]) -> Iterator[Client]:
    with Client(github.url, pause=pauses.append) as client:
        yield client


def document(client: Client, path: str = REPO) -> Any:
    return client.get_json(path)


def reason_of(client: Client, path: str = REPO) -> Reason:
    with pytest.raises(GitHubMissing) as missing:
        client.get(path)
    assert 0 < len(missing.value.advice) <= 160
    return missing.value.reason


def test_what_is_there_is_answered_and_what_is_not_is_none(client: Client) -> None:
    assert document(client)["full_name"] == "acme/tool"
    assert client.get(f"{REPO}/contents/src/a.py", accept=RAW) == b"x"
    assert client.get_json("/repos/acme/other") is None


def test_what_did_not_change_is_not_sent_again(github: GitHub) -> None:
    store = Memory()
    for _ in range(2):
        with Client(github.url, store=store) as client:
            assert document(client)["name"] == "tool"
    first, second = github.requests
    assert "if-none-match" not in first.headers
    assert second.headers["if-none-match"] == next(iter(store.kept.values()))[0]
    github.add_repository("acme", "tool", {}, "ISC")
    with Client(github.url, store=store) as client:
        assert document(client)["license"]["spdx_id"] == "ISC"


def test_answers_kept_for_one_token_are_not_shown_to_another(github: GitHub) -> None:
    store = Memory()
    for token in (None, "one", "two"):
        with Client(github.url, token, store=store) as client:
            client.get(REPO)
    assert len(store.kept) == 3
    assert not any("one" in key or "two" in key for key in store.kept)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_it_asks_again_twice(github: GitHub, client: Client, pauses: list[float], status: int) -> None:
    github.fail(Fault(status), Fault(status, {"Retry-After": "3"}))
    assert document(client)["name"] == "tool"
    assert (len(github.requests), pauses) == (3, [0.5, 3.0])


def test_it_gives_up_after_the_second_retry(github: GitHub, client: Client, pauses: list[float]) -> None:
    github.fail(*[Fault(500)] * 9)
    assert reason_of(client) is Reason.UNREACHABLE
    assert (len(github.requests), len(pauses)) == (3, 2)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(401), Reason.NO_TOKEN),
        (Fault(403), Reason.FORBIDDEN),
        (Fault(451), Reason.FORBIDDEN),
        (Fault(403, {"X-RateLimit-Remaining": "0"}), Reason.RATE_LIMITED),
        (Fault(403, {"Retry-After": "60"}), Reason.RATE_LIMITED),
        (Fault(403, body=b'{"message": "You have exceeded a secondary rate limit."}'), Reason.RATE_LIMITED),
        (Fault(429, {"Retry-After": "60"}), Reason.RATE_LIMITED),
        (Fault(429, {"X-RateLimit-Remaining": "0"}), Reason.RATE_LIMITED),
        (Fault(418), Reason.UNREACHABLE),
        (Fault(302, {"Location": "https://elsewhere.example/"}), Reason.UNREACHABLE),
        (Fault(302), Reason.UNREACHABLE),
        (Fault(200, body=b"{}", headers={"Content-Length": str(10 * 2**30)}), Reason.TOO_LARGE),
        (Fault(200, {"Content-Encoding": "gzip"}, gzip.compress(b"0" * 10_000_000)), Reason.MALFORMED),
    ],
)
def test_every_failure_has_its_reason(
    github: GitHub, client: Client, pauses: list[float], fault: Fault, reason: Reason
) -> None:
    github.fail(*[fault] * 4)
    assert reason_of(client) is reason
    assert pauses == []


def test_when_to_come_back_is_told(github: GitHub, client: Client) -> None:
    github.fail(
        Fault(429, {"Retry-After": "60"}),
        Fault(403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{time.time() + 90:.0f}"}),
    )
    for seconds in (60, 90):
        with pytest.raises(GitHubMissing) as missing:
            client.get(REPO)
        assert missing.value.retry_after_seconds == pytest.approx(seconds, abs=2)


@pytest.mark.parametrize("body", [b"<html>", b"", b"[" * 100_000, b'{"a": \xff}'])
def test_an_answer_that_is_not_json_is_malformed(github: GitHub, client: Client, body: bytes) -> None:
    github.fail(Fault(200, body=body))
    with pytest.raises(GitHubMissing) as missing:
        client.get_json(REPO)
    assert missing.value.reason is Reason.MALFORMED


def test_a_renamed_repository_is_followed(github: GitHub, client: Client) -> None:
    github.rename("acme/old", "acme/tool")
    assert document(client, "/repos/acme/old")["full_name"] == "acme/tool"


def test_redirects_in_a_circle_end(github: GitHub, client: Client) -> None:
    github.rename("acme/round", "acme/round")
    assert reason_of(client, "/repos/acme/round") is Reason.UNREACHABLE
    assert len(github.requests) == module.MAX_HOPS + 1


def test_the_token_goes_to_githubs_address_only() -> None:
    with GitHub() as elsewhere, GitHub(token="t0ken") as github:
        github.fail(Fault(302, {"Location": f"{elsewhere.url}{REPO}"}))
        with Client(github.url, "t0ken") as client:
            assert reason_of(client) is Reason.UNREACHABLE
        assert elsewhere.requests == []
        assert github.requests[0].headers["authorization"] == "Bearer t0ken"


def test_a_refused_token_is_told_from_none_and_never_shown() -> None:
    with GitHub(token="right") as github, Client(github.url, "wr0ng") as client:
        with pytest.raises(GitHubMissing) as missing:
            client.get(REPO)
        assert missing.value.reason is Reason.FORBIDDEN
        assert "wr0ng" not in str(missing.value)


def test_a_slow_answer_is_cut(github: GitHub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL_SECONDS", 0.3)
    github.fail(Fault(200, body=b"x" * 100, drip=0.1))
    started = time.monotonic()
    assert reason_of(client) is Reason.TIMEOUT
    assert time.monotonic() - started < 8


def test_a_server_that_says_nothing_is_given_up(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL_SECONDS", 0.2)
    github.fail(Fault(200, seconds=1))
    with Client(github.url) as client:
        assert reason_of(client) is Reason.TIMEOUT


def test_a_long_answer_is_left(github: GitHub, client: Client) -> None:
    github.fail(Fault(200, body=b"0" * (module.MAX_ANSWER_BYTES + 1)))
    assert reason_of(client) is Reason.TOO_LARGE


def test_a_connection_that_breaks_is_tried_again(github: GitHub, client: Client, pauses: list[float]) -> None:
    github.fail(*[Fault(drops=True)] * 2)
    assert document(client)["name"] == "tool"
    github.fail(*[Fault(drops=True)] * 3)
    assert reason_of(client) is Reason.UNREACHABLE
    assert pauses == [0.5, 1.0] * 2


def test_every_try_is_a_call_of_the_evaluation(github: GitHub) -> None:
    budget = Budget(calls=4)
    with Client(github.url, budget=budget, pause=lambda seconds: None) as client:
        github.fail(*[Fault(500)] * 2)
        client.get(REPO)
        assert budget.calls_made == 3
        client.get(REPO)
        assert reason_of(client) is Reason.TIMEOUT
    assert len(github.requests) == 4


def test_nobody_there_is_unreachable() -> None:
    with GitHub() as gone:
        url = gone.url
    with Client(url) as client:
        assert reason_of(client) is Reason.UNREACHABLE


def test_no_more_than_sixteen_ask_at_once() -> None:
    at_once, most = 0, 0
    guard = threading.Lock()

    def busy(asked: Asked, match: re.Match[str]) -> Answer:
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with guard:
            at_once -= 1
        return Answer.of({})

    with GitHub() as github, Client(github.url) as client:
        github.serve("/busy", busy)
        threads = [threading.Thread(target=client.get, args=("/busy",)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 < most <= module.CALLS_AT_ONCE


def test_graphql_is_asked_beside_rest_and_with_a_token_only(github: GitHub) -> None:
    github.serve("/graphql", lambda asked, match: Answer.of({"data": asked.json["query"]}))
    with Client(github.url, "t") as client:
        assert client.post({"query": "{ viewer }"}) == {"data": "{ viewer }"}
    with Client(github.url) as client, pytest.raises(GitHubMissing) as missing:
        client.post({"query": "{ viewer }"})
    assert missing.value.reason is Reason.NO_TOKEN
    with Client("https://git.example/api/v3") as client:
        assert client.graphql_url == "https://git.example/api/graphql"
