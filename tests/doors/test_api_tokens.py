"""Tokens over HTTP: how they are sent, counted, listed and revoked."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.conftest import Server
from tests.doors.rest import Account, Wire, problem, register, sign_in


@pytest.fixture(scope="module")
def someone(server: Server) -> Iterator[Account]:
    account = register(server, "search")
    with account.client:
        yield account


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("X-Authorization", "{}"),
        ("X-Authorization", "Bearer {}"),
        ("x-authorization", "bearer  {}"),
        ("Authorization", "Bearer {}"),
        ("Authorization", "BEARER {}"),
    ],
)
def test_a_token_is_taken_in_each_documented_form(
    anonymous: httpx.Client, someone: Account, name: str, form: str
) -> None:
    answer = anonymous.get("/user/me", headers={name: form.format(someone.token)})
    assert answer.status_code == 200
    assert answer.json()["username"] == someone.username


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Authorization", "")],
        [("X-Authorization", "Bearer")],
        [("X-Authorization", "Bearer  Bearer")],
        [("X-Authorization", "{}x")],
        [("X-Authorization", "{} {}")],
        [("X-Authorization", "{}"), ("X-Authorization", "other")],
        [("X-Authorization", "{}"), ("Authorization", "Bearer other")],
        [("X-Authorization", "x" * 10_000)],
        [("X-Authorization", "tök")],
        [("Authorization", "{}")],
        [("Authorization", "Basic {}")],
        [("Authorization", "Token {}")],
        [("Cookie", "token={}")],
    ],
)
def test_anything_else_is_refused_with_one_and_the_same_answer(
    anonymous: httpx.Client, someone: Account, headers: list[tuple[str, str]]
) -> None:
    sent = [(name.encode(), value.replace("{}", someone.token).encode("latin-1")) for name, value in headers]
    document = problem(anonymous.get("/user/me", headers=sent), 401, "token-refused")
    plain = problem(anonymous.get("/user/me"), 401, "token-refused")
    assert {**document, "request_id": ""} == {**plain, "request_id": ""}


def test_a_token_in_the_address_is_no_token(anonymous: httpx.Client, someone: Account) -> None:
    problem(anonymous.get("/user/me", params={"X-Authorization": someone.token, "token": someone.token}), 401)


def test_the_header_may_be_too_long_for_any_request(server: Server) -> None:
    with Wire(server) as wire:
        wire.head("GET /user/me", "X-Authorization: " + "x" * 100_000, "Connection: close")
        answer = wire.all()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer


def test_every_answer_says_what_is_left(someone: Account) -> None:
    first, second = (someone.client.get("/user/me") for _ in range(2))
    policy = first.headers["ratelimit-policy"]
    assert policy.startswith('"token";q=')
    left = [int(answer.headers["ratelimit"].split("r=")[1].split(";")[0]) for answer in (first, second)]
    assert left[1] == left[0] - 1
    # A refused call of a good token counts too, and says so.
    refused = someone.client.get("/logs")
    problem(refused, 403, "permission-missing")
    assert f"r={left[1] - 1};" in refused.headers["ratelimit"]


def test_signing_out_ends_this_token_and_no_other(server: Server, anonymous: httpx.Client, someone: Account) -> None:
    token = sign_in(server, someone.username)
    answer = anonymous.delete("/authenticate", headers={"X-Authorization": token})
    assert answer.status_code == 200
    assert answer.json().keys() == {"message"}
    problem(anonymous.get("/user/me", headers={"X-Authorization": token}), 401, "token-refused")
    problem(anonymous.delete("/authenticate", headers={"X-Authorization": token}), 401, "token-refused")
    assert someone.client.get("/user/me").status_code == 200


def test_tokens_are_listed_without_their_secrets_and_revoked_one_by_one(
    server: Server, admin: httpx.Client, anonymous: httpx.Client, someone: Account
) -> None:
    secret = sign_in(server, someone.username)
    answer = someone.client.get(f"/user/{someone.user_id}/tokens")
    assert answer.status_code == 200
    tokens = answer.json()["tokens"]
    shape = {"token_id", "name", "created_at", "last_used_at", "calls_remaining", "expires_at"}
    assert all(token.keys() == shape for token in tokens)
    assert secret not in answer.text
    assert someone.token not in answer.text
    newest = tokens[0]
    assert newest["last_used_at"] is None
    used = next(token for token in tokens if token["last_used_at"])
    assert used["last_used_at"] >= used["created_at"]

    address = f"/user/{someone.user_id}/tokens/{newest['token_id']}"
    assert someone.client.delete(address).status_code == 200
    problem(anonymous.get("/user/me", headers={"X-Authorization": secret}), 401, "token-refused")
    problem(someone.client.delete(address), 404, "token-not-found")
    problem(someone.client.delete(f"/user/{someone.user_id}/tokens/{uuid4()}"), 404, "token-not-found")
    assert newest["token_id"] not in admin.get(f"/user/{someone.user_id}/tokens").text


def test_anothers_tokens_are_out_of_sight_and_out_of_reach(
    server: Server, admin: httpx.Client, anonymous: httpx.Client, someone: Account, reader: Account
) -> None:
    secret = sign_in(server, someone.username)
    newest = admin.get(f"/user/{someone.user_id}/tokens").json()["tokens"][0]["token_id"]
    problem(reader.client.get(f"/user/{someone.user_id}/tokens"), 403, "not-your-account")
    problem(reader.client.delete(f"/user/{someone.user_id}/tokens/{newest}"), 403, "not-your-account")
    # Neither by way of one's own account.
    problem(reader.client.delete(f"/user/{reader.user_id}/tokens/{newest}"), 404, "token-not-found")
    problem(admin.delete(f"/user/{reader.user_id}/tokens/{newest}"), 404, "token-not-found")
    assert anonymous.get("/user/me", headers={"X-Authorization": secret}).status_code == 200
    assert admin.delete(f"/user/{someone.user_id}/tokens/{newest}").status_code == 200
    problem(anonymous.get("/user/me", headers={"X-Authorization": secret}), 401)
    problem(admin.get(f"/user/{uuid4()}/tokens"), 404, "user-not-found")
