"""What tests of the REST API ask with: accounts, uploads, raw connections, and what a problem document has to be."""

import hashlib
import itertools
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString
from urllib.parse import urlsplit

import httpx
import psycopg
from sqlalchemy.engine import make_url

from tests.conftest import Server, eventually
from tests.make import zip_of
from weighhouse.store import embedded

PASSWORD = "a password that is long enough"
CARD = "---\nlicense: mit\n---\n# A model\n\nIt knows a few words.\n"

_numbers = itertools.count()


@dataclass(frozen=True)
class Account:
    """A user with a token, and a client that sends it."""

    user_id: str
    username: str
    token: str
    client: httpx.Client


def fresh(word: str = "pkg") -> str:
    """A name that no other test has."""
    return f"{word}-{secrets.token_hex(4)}-{next(_numbers)}"


def client_of(server: Server, token: str = "") -> httpx.Client:
    """A client that sends this token, or none."""
    headers = {"X-Authorization": token} if token else {}
    # No address here is https; reading the certificates of the world takes longer than a test.
    return httpx.Client(base_url=server.url, headers=headers, timeout=60, verify=False)


def register(server: Server, *permissions: str, username: str | None = None, admin_token: str | None = None) -> Account:
    """A new user who is signed in."""
    name = username or fresh("user")
    with client_of(server, admin_token or server.admin_token) as admin:
        body = {"username": name, "password": PASSWORD, "permissions": list(permissions)}
        made = admin.post("/user/register", json=body)
    assert made.status_code == 201, made.text
    token = sign_in(server, name)
    return Account(made.json()["user_id"], name, token, client_of(server, token))


def sign_in(server: Server, username: str, password: str = PASSWORD) -> str:
    """A new token."""
    with client_of(server) as nobody:
        given = nobody.post("/authenticate", json={"username": username, "password": password})
    assert given.status_code == 200, given.text
    return str(given.json()["token"])


def post_package(
    client: httpx.Client,
    name: str,
    version: str | None = "1.0.0",
    files: Mapping[str, str | bytes] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    **more_fields: str,
) -> httpx.Response:
    """The answer to an upload of these files, by default of a small whole model."""
    content = zip_of(files if files is not None else small_model())
    form = {"name": name, **({"version": version} if version is not None else {}), **(fields or {}), **more_fields}
    return client.post("/package", data=form, files={"file": ("package.zip", content)}, headers=headers)


def publish(
    client: httpx.Client,
    name: str | None = None,
    version: str = "1.0.0",
    files: Mapping[str, str | bytes] | None = None,
    fields: Mapping[str, str] | None = None,
    **more_fields: str,
) -> str:
    """The id of a package that was just uploaded; it may still be being weighed."""
    answer = post_package(
        client, name or fresh(), version, files, headers={"Prefer": "respond-async"}, fields=fields, **more_fields
    )
    assert answer.status_code in {201, 202}, answer.text
    return str(answer.json()["package_id"])


def small_model() -> dict[str, str | bytes]:
    """One file of each component, with content of its own."""
    return {
        "README.md": CARD,
        "model.bin": secrets.token_bytes(100),
        "train.csv": f"a,b\n1,{secrets.token_hex(4)}\n",
        "run.py": f"print({next(_numbers)})\n",
    }


def sql(server: Server, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    """The rows of a statement run in the server's own database; none where it returns none."""
    url = make_url(embedded.running_url(server.data_dir)).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        done = connection.execute(statement, values)
        return done.fetchall() if done.description else []


def offered(client: httpx.Client, package_id: str, query: str = "") -> str:
    """The address that a download is offered at."""
    answer = client.get(f"/package/{package_id}{query}")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["download_url"])


def from_bucket(client: httpx.Client, package_id: str, query: str = "") -> str:
    """An address in the bucket, as soon as the ZIP is there."""

    def look() -> str | None:
        address = offered(client, package_id, query)
        return address if "X-Amz-Signature" in address else None

    return str(eventually(look, 60))


def from_stream(server: Server, client: httpx.Client, package_id: str, query: str = "") -> str:
    """An address of the registry's own stream, on a bucket as where that cannot compose."""
    if server.place is not None:
        offered(client, package_id, query)
        compose_nothing(server, package_id)
    address = offered(client, package_id, query)
    assert "/archive/" in address
    return address


def compose_nothing(server: Server, package_id: str) -> None:
    """Has a package's ZIPs come from the registry's own stream: those that were asked for could not be composed."""

    def have_failed() -> bool:
        statement = (
            "UPDATE zips SET state = 'failed', fault = 'of the test', size_bytes = NULL, etag = NULL, changed_at = now()"
            " WHERE package_id = %s AND state = 'ready'"
        )
        sql(server, statement, package_id)
        states = sql(server, "SELECT DISTINCT state FROM zips WHERE package_id = %s", package_id)
        return states == [("failed",)]

    eventually(have_failed, 60)


def sha256(content: bytes) -> str:
    """Digest in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def problem(answer: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """The problem document that an answer is, with everything that one has to have.

    Args:
        kind: The last part of its type.
    """
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["title"]
    assert not document["title"].endswith(".")
    assert len(document["detail"]) > 20
    assert document["detail"].endswith((".", "!", "?"))
    assert "Traceback" not in answer.text
    assert "/site-packages/" not in answer.text
    assert "psycopg" not in answer.text
    if kind is not None:
        assert document["type"] == f"/problems/{kind}", document
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    if status == 422:
        assert document["errors"]
        assert all(set(error) == {"field", "detail"} for error in document["errors"])
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0
    return document


class Wire:
    """A connection on which a test says exactly what it wants."""

    def __init__(self, server: Server, timeout: float = 20) -> None:
        place = urlsplit(server.url)
        assert place.hostname
        assert place.port
        self._host = f"{place.hostname}:{place.port}"
        self._socket = socket.create_connection((place.hostname, place.port), timeout=timeout)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._socket.sendall(data)

    def head(self, line: str, *headers: str) -> None:
        """Sends a request's head, with a `Host`."""
        self.send("\r\n".join([f"{line} HTTP/1.1", f"Host: {self._host}", *headers, "", ""]).encode("latin-1"))

    def end(self) -> None:
        """Says that nothing more will come."""
        with suppress(OSError):  # The server may have hung up before.
            self._socket.shutdown(socket.SHUT_WR)

    def line(self) -> bytes:
        """What has come when the first answer's head is complete; empty when the server hung up without a word."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self._read()
            if not piece:
                break
            received += piece
        return received

    def all(self) -> bytes:
        """Everything up to the end of the connection."""
        received = b""
        while piece := self._read():
            received += piece
        return received

    def _read(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:
            return b""
