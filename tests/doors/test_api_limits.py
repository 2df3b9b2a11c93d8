"""Every limit, met and passed; bytes that no client should send."""

import gzip
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.conftest import ADMIN_PASSWORD, Server
from tests.doors.rest import (
    PASSWORD,
    Account,
    Wire,
    client_of,
    fresh,
    post_package,
    problem,
    publish,
    register,
    sign_in,
)
from tests.make import zip_of

_JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"{]", 400),
        (b"nope", 400),
        (b'{"username": "a", "password": "b",}', 400),
        (b'\xef\xbb\xbf{"username": "a", "password": "b"}', 400),
        (b'{"username": "\xff", "password": "b"}', 400),
        (b'{"username": "a", "username": "b", "password": "c"}', 400),
        (b'{"username": NaN, "password": "b"}', 400),
        (b'{"username": Infinity, "password": "b"}', 400),
        (b'{"username": 1e999, "password": "b"}', 400),
        (b'{"username": ' + b"1" * 5000 + b', "password": "b"}', 400),
        (b"[" * 200_000, 400),
        (b'{"a":' * 65 + b"1" + b"}" * 65, 400),
        (b'{"username": "' + b"a" * 70_000 + b'", "password": "b"}', 400),
        (b'{"username": "\\u0000", "password": "b"}', 422),
        (b'{"username": "\\ud800", "password": "b"}', 422),
        (b'{"username": "a", "password": "\\udfff"}', 422),
    ],
)
def test_json_that_not_everybody_reads_alike_is_refused(
    anonymous: httpx.Client, admin: httpx.Client, content: bytes, status: int
) -> None:
    document = problem(anonymous.post("/authenticate", content=content, headers=_JSON), status)
    # The reason is said, and not only that there was one.
    assert document["type"] in {"/problems/unacceptable-json", "/problems/body-malformed", "/problems/invalid"}
    assert problem(admin.post("/user/register", content=content, headers=_JSON), status)["type"] == document["type"]


def test_a_compressed_body_is_not_unpacked(admin: httpx.Client) -> None:
    for path, kind in (("/packages", "application/json"), ("/package", "multipart/form-data; boundary=b")):
        for coding in ("gzip", "deflate", "br", "identity, gzip"):
            headers = {"Content-Type": kind, "Content-Encoding": coding}
            problem(admin.post(path, content=gzip.compress(b"[]"), headers=headers), 415, "unsupported-media-type")
    plain = _JSON | {"Content-Encoding": "identity"}
    assert admin.post("/packages", content=b'[{"name": "*"}]', headers=plain).status_code == 200


def test_a_refused_text_is_told_of_in_the_registrys_words(admin: httpx.Client) -> None:
    document = problem(admin.post("/packages", content=b'[{"name": "a\\u0000"}]', headers=_JSON), 422, "invalid")
    assert "Value error" not in document["detail"]
    assert ".." not in document["detail"]
    assert document["errors"][0]["detail"][0] != "V"


def test_a_body_over_a_mebibyte_is_too_large_whether_announced_or_not(server: Server, anonymous: httpx.Client) -> None:
    content = json.dumps({"username": "a", "password": "b", "more": "x" * 1024 * 1024}).encode()
    problem(anonymous.post("/authenticate", content=content, headers=_JSON), 413, "body-too-large")

    def pieces() -> "list[bytes]":
        return [content[at : at + 65536] for at in range(0, len(content), 65536)]

    problem(anonymous.post("/authenticate", content=iter(pieces()), headers=_JSON), 413, "body-too-large")
    with Wire(server) as wire:
        wire.head("POST /packages", "Content-Type: application/json", "Content-Length: 10000000000")
        assert wire.line().startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None]
)
def test_json_is_taken_as_json_only(anonymous: httpx.Client, kind: str | None) -> None:
    content = json.dumps({"username": "admin", "password": "wrong"}).encode()
    headers = {"Content-Type": kind} if kind else {}
    problem(anonymous.post("/authenticate", content=content, headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", {404}),
        ("//", {404}),
        ("/package/", {404}),
        ("/users/", {404}),
        ("/package/%2e%2e%2fusers", {404, 422}),
        ("/package/%252e%252e", {422}),
        ("/package/..%5c..%5cusers", {404, 422}),
        ("/package/%00/metadata", {400}),
        ("/package/%0d%0aX-Evil:%201/metadata", {400}),
        ("/package/%ff/metadata", {400}),
        ("/package/%ed%a0%80/metadata", {400}),
        ("/" + "x" * 8200, {400}),
        ("/user/{user_id}/tokens", {422}),
        ("/problems/no-such", {404}),
        ("/static/../../settings.py", {404}),
        ("/static/%2e%2e/system.py", {404}),
        ("/users?limit=%00", {422}),
        ("/users?limit=%ff", {422}),
        ("/users?%00=1", {422}),
        ("/package/01926F3E-7C1A-7D3B-9A55-3F1F4C2F6A10/metadata", {422}),
        ("/package/%7b01926f3e-7c1a-7d3b-9a55-3f1f4c2f6a10%7d/metadata", {422}),
        ("/package/urn:uuid:01926f3e-7c1a-7d3b-9a55-3f1f4c2f6a10/metadata", {422}),
        ("/package/01926f3e7c1a7d3b9a553f1f4c2f6a10/metadata", {422}),
        ("/package/01926f3e-7c1a-7d3b-9a55-3f1f4c2f6a10/metadata", {404}),
        ("/users?limit=1&limit=1", {422}),
        ("/users?limit=1&%6cimit=2", {422}),
    ],
)
def test_a_path_or_query_that_leads_nowhere_says_so(admin: httpx.Client, path: str, status: set[int]) -> None:
    answer = admin.get(path)
    assert answer.status_code in status, answer.text
    problem(answer, answer.status_code)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_an_address_does_not_take_is_named(admin: httpx.Client, method: str) -> None:
    answer = admin.request(method, "/packages")
    assert answer.status_code in {405, 400}
    if method != "BREW":
        problem(answer, 405, "method-not-allowed")
        assert {"GET", "POST"} & set(answer.headers["allow"].split(", "))
    overridden = admin.get("/packages", headers={"X-HTTP-Method-Override": "DELETE"})
    assert overridden.status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example", "evil.example:80", "[::2]"]
)
def test_another_hosts_name_is_refused(anonymous: httpx.Client, host: str) -> None:
    problem(anonymous.get("/health", headers={"Host": host}), 400, "host-refused")


def test_two_hosts_are_no_host(server: Server) -> None:
    with Wire(server) as wire:
        wire.head("GET /health", "Host: localhost", "Connection: close")
        assert wire.all().startswith(b"HTTP/1.1 400 ")


def test_the_names_of_this_machine_are_answered_to(anonymous: httpx.Client) -> None:
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8000", "[::1]"):
        assert anonymous.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "request_line",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_a_problem_and_the_door(server: Server, request_line: bytes) -> None:
    with Wire(server) as wire:
        wire.send(request_line)
        wire.end()
        answer = wire.all()
    assert answer == b"" or (answer.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" in answer)


@pytest.mark.parametrize(
    "header", ["User-Agent", "X-Request-ID", "Range", "If-None-Match", "Prefer", "Accept", "Cookie"]
)
@pytest.mark.parametrize("value", [b"\x00", b"a\x01b", b"\xff\xfe", b"%s%n{}" * 200])
def test_no_header_value_upsets_the_server(server: Server, uploader: Account, header: str, value: bytes) -> None:
    package_id = _any_package(uploader)
    with Wire(server) as wire:
        wire.send(
            f"GET /package/{package_id} HTTP/1.1\r\nHost: localhost\r\nX-Authorization: {uploader.token}\r\n".encode()
            + header.encode()
            + b": "
            + value
            + b"\r\nConnection: close\r\n\r\n"
        )
        answer = wire.all()
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))


_made: list[str] = []


def _any_package(uploader: Account) -> str:
    if not _made:
        _made.append(publish(uploader.client))
    return _made[0]


def test_a_request_id_is_kept_when_it_is_fit_for_a_log(anonymous: httpx.Client) -> None:
    assert anonymous.get("/health", headers={"X-Request-ID": "my-request-1"}).headers["x-request-id"] == "my-request-1"
    for odd in ("short", "x" * 65, "with space", "a;b-c-d-e"):
        assert anonymous.get("/health", headers={"X-Request-ID": odd}).headers["x-request-id"] != odd


def test_an_upload_over_the_limit_is_too_large_announced_or_not(strict: Server) -> None:
    with client_of(strict, sign_in(strict, "admin", ADMIN_PASSWORD)) as client:
        name = fresh()
        noise = bytes(range(256)) * 1000
        big: dict[str, str | bytes] = {"model.bin": noise, "README.md": "x"}
        assert post_package(client, fresh(), files={"a.bin": bytes(299_000)}).status_code == 201
        problem(post_package(client, fresh(), files={"a.bin": bytes(301_000)}), 413, "unpacks-too-far")
        content = zip_of(big, method=zipfile.ZIP_STORED)
        form = {"name": name, "version": "1.0.0"}
        document = problem(
            client.post("/package", data=form, files={"file": ("p.zip", content)}), 413, "upload-too-large"
        )
        assert document["max_upload_bytes"] == 200_000
        with Wire(strict) as wire:
            headers = ["Content-Type: multipart/form-data; boundary=b", "Content-Length: 100000000000"]
            wire.head("POST /package", f"X-Authorization: {client.headers['X-Authorization']}", *headers)
            assert wire.line().startswith(b"HTTP/1.1 413 ")
        assert client.post("/packages", json=[{"name": name}]).json()["total"] == 0


def test_a_token_makes_its_calls_and_not_one_more(strict: Server) -> None:
    token = sign_in(strict, "admin", ADMIN_PASSWORD)

    def call(_: int) -> httpx.Response:
        with client_of(strict, token) as client:
            return client.get("/user/me")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(50)))
    served = [answer for answer in answers if answer.status_code == 200]
    assert len(served) == 40
    assert sorted(answer.json()["calls_remaining"] for answer in served) == list(range(40))
    for answer in answers:
        if answer.status_code != 200:
            document = problem(answer, 429, "budget-used-up")
            assert document["calls_limit"] == 40
    with client_of(strict, token) as client:
        # Whatever it asks for, and not 401: the token is good, its calls are not.
        problem(client.get("/logs"), 429, "budget-used-up")
        problem(post_package(client, fresh()), 429, "budget-used-up")


def test_a_call_counts_also_when_it_fails(strict: Server) -> None:
    with client_of(strict, sign_in(strict, "admin", ADMIN_PASSWORD)) as client:
        for path in ("/package/x", "/users?limit=0", "/problems/x", "/nothing"):
            client.get(path)
        # Two of them need a token, and each of those took a call.
        assert client.get("/user/me").json()["calls_remaining"] == 40 - 3


def test_failed_logins_make_an_account_wait(strict: Server) -> None:
    someone = register(strict, username=fresh("victim"), admin_token=sign_in(strict, "admin", ADMIN_PASSWORD))
    someone.client.close()
    with client_of(strict) as client:
        wrong, right = ({"username": someone.username, "password": password} for password in ("wrong", PASSWORD))
        for _ in range(3):
            problem(client.post("/authenticate", json=wrong), 401, "login-refused")
        for body in (wrong, right, right | {"username": someone.username.upper()}):
            answer = client.post("/authenticate", json=body)
            problem(answer, 429, "too-many-failures")
            assert 0 < int(answer.headers["retry-after"]) <= 60
        # Tokens given out before and other accounts are not held up.
        assert someone.token
        assert client.get("/user/me", headers={"X-Authorization": someone.token}).status_code == 200
        assert sign_in(strict, "admin", ADMIN_PASSWORD)
