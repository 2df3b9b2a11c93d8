"""The way out: only to checked addresses, a token only to its own host, redirects within bounds, compression refused."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.hub_server import Hub
from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources import outbound
from weighhouse.sources.addresses import checked_addresses
from weighhouse.sources.budget import Budget
from weighhouse.sources.hub_answers import HubFile
from weighhouse.sources.hub_download import Damaged, HubFiles
from weighhouse.sources.outbound import Answer, Outbound


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def elsewhere() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def resolver(names: dict[str, str]) -> Callable[..., Sequence[str]]:
    """A resolver that knows these names, and checks all others as ever."""

    def resolve(host: str, port: int, **options: Any) -> Sequence[str]:
        return [names[host]] if host in names else checked_addresses(host, port, **options)

    return resolve


def ask(hub: Hub, path: str, **options: Any) -> Answer:
    with Outbound(hub.url, token="secret") as out:
        return out.ask(path, budget=Budget(), **options)


def test_a_redirect_to_a_public_host_is_followed_without_the_token(
    hub: Hub, elsewhere: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens = elsewhere.tokens = {"secret": "me"}
    elsewhere.add_model("a/b", {"x.txt": "from elsewhere"})
    port = urlsplit(elsewhere.url).port
    hub.fail("^/start", status=302, headers={"Location": f"http://cdn.example:{port}/a/b/resolve/main/x.txt"})
    monkeypatch.setattr(outbound, "checked_addresses", resolver({"cdn.example": "127.0.0.1"}))
    assert ask(hub, "/start").body == b"from elsewhere"
    [asked] = elsewhere.requests
    assert asked.headers["Host"] == f"cdn.example:{port}"
    assert asked.headers["Authorization"] is None
    assert hub.requests[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_no_connection_reaches_a_listener_that_is_not_the_operators(hub: Hub, elsewhere: Hub, host: str) -> None:
    port = urlsplit(elsewhere.url).port
    hub.fail("^/start", status=302, headers={"Location": f"http://{host}:{port}/"})
    with pytest.raises(Missing) as missing:
        ask(hub, "/start")
    assert missing.value.reason in {Reason.FORBIDDEN, Reason.UNREACHABLE}
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "location", ["ftp://example.org/x", "http://", "//", "http://[", "http://user:pw@127.0.0.1:1/x", "", "javascript:1"]
)
def test_a_redirect_to_no_usable_address_is_not_followed(hub: Hub, location: str) -> None:
    hub.fail("^/start", status=302, headers={"Location": location})
    with pytest.raises(Missing):
        ask(hub, "/start")


def test_a_redirect_on_the_same_host_keeps_the_token_and_ends_after_three_hops(hub: Hub) -> None:
    hub.tokens = {"secret": "me"}
    hub.add_model("a/b", {"x.txt": "here"})
    hub.fail("^/one", status=302, headers={"Location": "/two"})
    hub.fail("^/two", status=307, headers={"Location": f"{hub.url}/a/b/resolve/main/x.txt"})
    assert ask(hub, "/one").body == b"here"
    assert {one.headers["Authorization"] for one in hub.requests} == {"Bearer secret"}
    hub.fail("^/again", status=302, headers={"Location": "/again"})
    with pytest.raises(Missing):
        ask(hub, "/again")
    assert len(hub.asked("^/again")) == 4


def test_an_answer_longer_than_the_limit_is_left(hub: Hub) -> None:
    hub.add_model("a/b", {"x.txt": "x" * 2000})
    hub.tokens = {"secret": "me"}
    with pytest.raises(Missing) as missing:
        ask(hub, "/a/b/resolve/main/x.txt", max_bytes=1999)
    assert missing.value.reason is Reason.TOO_LARGE
    assert len(ask(hub, "/a/b/resolve/main/x.txt", max_bytes=2000).body) == 2000


def test_a_connection_cut_within_an_answer_is_asked_again(hub: Hub) -> None:
    hub.add_model("a/b", {"x.txt": "x" * 2000})
    hub.tokens = {"secret": "me"}
    hub.fail("x.txt", times=1, cut_after=100)
    assert len(ask(hub, "/a/b/resolve/main/x.txt").body) == 2000


def test_a_server_that_ignores_a_range_sends_nothing_twice(hub: Hub) -> None:
    content = bytes(range(256)) * 1000
    sha = hub.add_model("a/b", {"x.bin": content})
    hub.redirects_lfs_to = None
    file = HubFile("x.bin", len(content), hub.kept(sha, "x.bin").sha256, None)  # type: ignore[union-attr]  # just added
    hub.fail("x.bin", times=1, cut_after=70_000)
    with Outbound(hub.url) as out:
        pieces = HubFiles(out, "a/b", sha).read(file)
        got = bytearray(next(pieces))
        # From now on the whole file comes, whatever part is asked for.
        hub.fail("x.bin", status=200, body=content)
        got += b"".join(pieces)
    assert got == content


def test_a_file_without_a_digest_is_held_to_its_size(hub: Hub) -> None:
    sha = hub.add_model("a/b", {"x.txt": "12345"})
    with Outbound(hub.url) as out:
        files = HubFiles(out, "a/b", sha)
        assert b"".join(files.read(HubFile("x.txt", 5, None, None))) == b"12345"
        assert b"".join(files.read(HubFile("x.txt", 0, None, None, is_sized=False))) == b"12345"
        with pytest.raises(Damaged):
            b"".join(files.read(HubFile("x.txt", 4, None, None)))
