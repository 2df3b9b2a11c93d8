"""What the server says is told, what can be repeated is, and the token goes nowhere else."""

import json
from collections.abc import Iterator

import pytest

from tests.doors.range_server import RangeServer, serving
from weighhouse.doors.cli.client import Refused, Server, server_url


@pytest.fixture
def peer() -> Iterator[RangeServer]:
    with serving(b'{"a": 1}') as server:
        yield server


@pytest.fixture
def client(peer: RangeServer) -> Iterator[Server]:
    server = Server(peer.url, "secret")
    yield server
    server.close()


def test_the_token_is_shown_in_its_header(peer: RangeServer, client: Server) -> None:
    assert client.read("/user/me") == {"a": 1}
    headers = peer.asked[0][2]
    assert headers["X-Authorization"] == "secret"
    assert headers["User-Agent"].startswith("weighhouse/")


def test_the_detail_of_a_problem_is_the_message_and_names_the_next_step(peer: RangeServer, client: Server) -> None:
    peer.faults = [401]
    peer.body = json.dumps({"detail": "The token is revoked.", "status": 401, "token_id": "7"}).encode()
    with pytest.raises(Refused) as caught:
        client.read("/user/me")
    assert caught.value.message == f"The token is revoked.\nRun `weighhouse login --server {peer.url}` to sign in."
    assert (caught.value.status, caught.value.exit_code) == (401, 1)
    assert caught.value.members["token_id"] == "7"


def test_a_message_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Refused("a\x1b[2Jb\x9b31mc\u202ed [bold]e[/]").show()
    assert capsys.readouterr().err == "a[2Jb31mcd [bold]e[/]\n"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("fault", [503, "reset"])
def test_what_is_idempotent_is_sent_once_more(peer: RangeServer, client: Server, method: str, fault: str | int) -> None:
    peer.headers = {"Retry-After": "0"}
    peer.faults = [fault, "ok"]
    assert client.ask(method, "/x").status_code == 200
    peer.faults = [fault, fault, "ok"]
    with pytest.raises(Refused):
        client.ask(method, "/x")
    assert len(peer.asked) == 4


@pytest.mark.parametrize("fault", [503, "reset"])
def test_a_post_is_sent_once_unless_it_only_asks(peer: RangeServer, client: Server, fault: str | int) -> None:
    peer.headers = {"Retry-After": "0"}
    peer.faults = [fault]
    with pytest.raises(Refused):
        client.ask("POST", "/package", body={})
    assert len(peer.asked) == 1
    peer.faults = [fault]
    assert client.ask("POST", "/packages", body=[], repeatable=True).status_code == 200


def test_a_long_retry_after_is_told_and_not_slept(peer: RangeServer, client: Server) -> None:
    peer.headers = {"Retry-After": "3600"}
    peer.faults = [503]
    with pytest.raises(Refused, match="Try again in 3600 s"):
        client.read("/x")
    assert len(peer.asked) == 1


def test_a_redirect_is_not_followed_with_the_token(peer: RangeServer, client: Server) -> None:
    with serving(b"{}") as other:
        peer.faults = [307]
        peer.headers = {"Location": other.url}
        with pytest.raises(Refused, match="It points to"):
            client.read("/x")
        assert other.asked == []


def test_another_kind_of_server_is_noticed(peer: RangeServer, client: Server) -> None:
    peer.data = b"<html>hello</html>"
    with pytest.raises(Refused, match="not as a Weighhouse server does"):
        client.read("/x")


def test_a_server_that_is_not_there_is_named() -> None:
    server = Server("http://127.0.0.1:1")
    with pytest.raises(Refused, match=r"No server answers at http://127\.0\.0\.1:1"):
        server.read("/health")
    server.close()


def test_a_token_that_is_no_header_is_refused() -> None:
    for token in ("a\r\nX-Evil: 1", "ü"):
        with pytest.raises(Refused, match="characters that no token has"):
            Server("http://127.0.0.1:1", token)


@pytest.mark.parametrize(
    "text", ["", "models.example.org", "ftp://x", "http://", "http://u:p@h", "http://h:99999", "http://h?x"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not a server's address"):
        server_url(text)


def test_one_server_has_one_spelling() -> None:
    assert server_url(" HTTPS://Example.org/base/ ") == "https://example.org/base"
    assert server_url("http://[::1]:80") == "http://[::1]:80"


def test_a_listing_is_followed_by_cursor_or_by_offset(peer: RangeServer, client: Server) -> None:
    peer.data = b'{"rows": [{}], "next_cursor": "c/2"}'
    pages = client.pages("/list", "rows", {"limit": 1, "q": None})
    next(pages)
    peer.data = b'{"rows": [{}], "next_cursor": null}'
    assert len(list(pages)) == 1
    assert [path for _, path, _ in peer.asked] == ["/list?limit=1", "/list?limit=1&cursor=c%2F2"]
    peer.data = b'{"rows": [{}], "total": 2, "offset": 0}'
    pages = client.pages("/list", "rows")
    next(pages)
    peer.data = b'{"rows": [{}], "total": 2, "offset": 1}'
    assert len(list(pages)) == 1
    assert [path for _, path, _ in peer.asked][2:] == ["/list", "/list?offset=1"]
