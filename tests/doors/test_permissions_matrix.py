"""Every route against everybody: a route without an entry here fails the test."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conftest import ADMIN_PASSWORD, Server
from tests.doors.rest import PASSWORD, Account, client_of, fresh, problem, publish, register, sign_in
from tests.make import zip_of

_NOBODY, _ALL = frozenset[str](), frozenset({"anonymous", "revoked", "powerless", "other", "owner", "admin"})
_SIGNED_IN = _ALL - {"anonymous", "revoked"}
_GRANTED = _SIGNED_IN - {"powerless"}
_SELF = frozenset({"owner", "admin"})
_ADMIN = frozenset({"admin"})


@dataclass(frozen=True)
class Entry:
    """Who gets past the guard of a route, and a request that does no harm behind it.

    Args:
        body: JSON; `None` sends none.
        path: What stands for the parameters of the path; those not named are the owner's.
        calls: Who may be tried at all.
    """

    may: frozenset[str]
    body: Any = None
    path: Mapping[str, str] | None = None
    calls: frozenset[str] = _ALL


ENTRIES: Mapping[str, Entry] = {
    "POST /authenticate": Entry(_ALL, {}),
    "DELETE /authenticate": Entry(_SIGNED_IN),
    "GET /user/me": Entry(_SIGNED_IN),
    "GET /users": Entry(_ADMIN),
    "POST /user/register": Entry(_ADMIN, {"username": "not a name", "password": "x"}),
    "PUT /user/{user_id}/permissions": Entry(_ADMIN, {"permissions": ["search", "download", "upload"]}),
    "PUT /user/{user_id}/password": Entry(_SELF, {"password": " "}),
    "GET /user/{user_id}/tokens": Entry(_SELF),
    "DELETE /user/{user_id}/tokens/{token_id}": Entry(_SELF),
    "POST /packages": Entry(_GRANTED, []),
    "GET /packages": Entry(_GRANTED),
    "POST /package": Entry(_GRANTED),
    "POST /package/begin": Entry(_GRANTED, {"name": "not a name", "files": []}),
    "GET /package/uploads/{upload_id}": Entry(_GRANTED, path={"upload_id": str(uuid4())}),
    "DELETE /package/uploads/{upload_id}": Entry(_GRANTED, path={"upload_id": str(uuid4())}),
    "POST /package/{upload_id}/complete": Entry(_GRANTED, path={"upload_id": str(uuid4())}),
    # The signature is the permission, as for the archive below.
    "PUT /package/uploads/{upload_id}/files/{sha256}": Entry(
        _NOBODY, path={"upload_id": str(uuid4()), "sha256": "ab" * 32}
    ),
    "POST /package/ingest": Entry(_GRANTED, {"model_url": "ftp://nowhere"}),
    "GET /package/ingest/{ingest_id}": Entry(_GRANTED, path={"ingest_id": str(uuid4())}),
    "DELETE /package/ingest/{ingest_id}": Entry(_GRANTED, path={"ingest_id": str(uuid4())}),
    "GET /package/ingests": Entry(_GRANTED),
    "POST /package/license-check": Entry(_GRANTED, {"github_url": "ftp://nowhere", "model_id": str(uuid4())}),
    "GET /package/{package_id}": Entry(_GRANTED),
    "GET /package/{package_id}/metadata": Entry(_GRANTED),
    "GET /package/{package_id}/audit": Entry(_GRANTED),
    "GET /audit": Entry(_ADMIN),
    "GET /audit/head": Entry(_ADMIN),
    "GET /package/{package_id}/files": Entry(_GRANTED),
    "GET /package/{package_id}/bom": Entry(_GRANTED),
    "GET /package/{package_id}/statement": Entry(_GRANTED),
    "GET /.well-known/weighhouse-keys": Entry(_ALL),
    "GET /package/{package_id}/download-history": Entry(_SELF),
    "PUT /package/{package_id}/rate": Entry(_GRANTED, {"score": 3}),
    "GET /package/{package_id}/ratings": Entry(_GRANTED),
    "GET /package/{package_id}/lineage": Entry(_GRANTED),
    "POST /package/{package_id}/evaluate": Entry(_GRANTED),
    "GET /package/{package_id}/evaluations": Entry(_GRANTED),
    "POST /package/{package_id}/release": Entry(_ADMIN, {"reason": "None."}),
    # The signature is the permission; without one nobody gets anything.
    "GET /package/{package_id}/archive/{variant}": Entry(_NOBODY, path={"variant": "package.zip"}),
    "GET /health": Entry(_ALL),
    "GET /healthz": Entry(_ALL),
    "GET /readyz": Entry(_ALL),
    "GET /logs": Entry(_ADMIN),
    "GET /audit/package-confusion": Entry(_ADMIN),
    # This machine needs no token; behind a proxy `test_api_metrics.py` has it.
    "GET /metrics": Entry(_ALL),
    "GET /problems/{kind}": Entry(_ALL, path={"kind": "invalid"}),
    "DELETE /package/{package_id}": Entry(_ADMIN, calls=_ALL - _ADMIN),
    "DELETE /reset": Entry(_ADMIN, calls=_ALL - _ADMIN),
    # Last, and admins are not tried: whoever may do it is gone afterwards.
    "DELETE /user/{user_id}": Entry(_SELF, calls=_ALL - _ADMIN),
}


@dataclass(frozen=True)
class Cast:
    """Who is tried, by role, and whose things they are tried on."""

    tokens: Mapping[str, str]
    owner: Account
    package_id: str


@pytest.fixture(scope="module")
def cast(server: Server, powerless: Account, other: Account) -> Iterator[Cast]:
    owner = register(server, "search", "download", "upload")
    revoked = sign_in(server, owner.username)
    with owner.client as client:
        assert client.delete("/authenticate", headers={"X-Authorization": revoked}).status_code == 200
        tokens = {
            "anonymous": "",
            "revoked": revoked,
            "powerless": powerless.token,
            "other": other.token,
            "owner": owner.token,
            "admin": server.admin_token,
        }
        yield Cast(tokens, owner, publish(client))


def test_every_route_has_an_entry(anonymous: httpx.Client) -> None:
    described = anonymous.get("/openapi.json").json()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert routes <= ENTRIES.keys()
    assert ENTRIES.keys() - routes <= {"POST /package/ingest", "POST /package/license-check"}


@pytest.mark.parametrize("route", ENTRIES)
def test_who_may_pass_passes_and_nobody_else(server: Server, anonymous: httpx.Client, cast: Cast, route: str) -> None:
    entry = ENTRIES[route]
    method, template = route.split(" ")
    is_there = method.lower() in anonymous.get("/openapi.json").json()["paths"].get(template, {})
    parameters = {"package_id": cast.package_id, "user_id": cast.owner.user_id, "token_id": str(uuid4())}
    path = template.format_map(parameters | dict(entry.path or {}))
    for role in ("anonymous", "revoked", "powerless", "other", "owner", "admin"):
        if role not in entry.calls:
            continue
        token = cast.tokens[role]
        if route == "DELETE /authenticate" and role in _SIGNED_IN:
            token = _another_session(server, cast, role)
        with client_of(server, token) as client:
            answer = _ask(client, method, path, entry.body)
        if not is_there:
            problem(answer, 405)
        elif role in entry.may:
            assert answer.status_code not in {401, 403}, (role, answer.text)
            assert answer.status_code < 500, (role, answer.text)
        elif entry.may == _NOBODY:
            problem(answer, 403)
        else:
            problem(answer, 401 if role in {"anonymous", "revoked"} else 403)


_GUARDED_JSON = [route for route, entry in ENTRIES.items() if entry.body is not None and entry.may != _ALL]


@pytest.mark.parametrize("route", _GUARDED_JSON)
def test_who_may_not_pass_is_not_read(server: Server, powerless: Account, cast: Cast, route: str) -> None:
    entry = ENTRIES[route]
    method, template = route.split(" ")
    path = template.format_map({"package_id": cast.package_id, "user_id": cast.owner.user_id})
    for token, expected in (("", {401, 405}), (powerless.token, {403, 405} if entry.may != _SELF else {400})):
        with client_of(server, token) as client:
            answer = client.request(method, path, content=b"{", headers={"Content-Type": "application/json"})
            assert answer.status_code in expected, answer.text


def _ask(client: httpx.Client, method: str, path: str, body: Any) -> httpx.Response:
    if (method, path) == ("POST", "/package"):
        form = {"name": fresh(), "version": "1.0.0"}
        return client.post(path, data=form, files={"file": ("p.zip", zip_of({"a.txt": fresh()}))})
    return client.request(method, path, json=body) if body is not None else client.request(method, path)


def _another_session(server: Server, cast: Cast, role: str) -> str:
    with client_of(server, cast.tokens[role]) as client:
        username = client.get("/user/me").json()["username"]
    return sign_in(server, username, ADMIN_PASSWORD if role == "admin" else PASSWORD)
