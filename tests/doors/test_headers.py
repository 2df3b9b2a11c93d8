"""What every answer carries for browsers, whatever it is; and that no other site gets leave to ask or to read."""

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from tests.conftest import Server
from tests.doors.rest import PASSWORD, Account, client_of, fresh, problem, publish
from weighhouse.store import embedded

_ORIGIN = "https://evil.example"
_POLICY = "default-src 'none'; frame-ancestors 'none'"


def answers(client: httpx.Client, headers: dict[str, str]) -> dict[str, httpx.Response]:
    """An answer of each kind."""
    package_id = publish(client)
    offered = client.get(f"/package/{package_id}").json()["download_url"]
    return {
        "json": client.get("/user/me", headers=headers),
        "refused": client.get("/users", headers=headers),
        "nowhere": client.get("/nothing", headers=headers),
        "malformed": client.post("/packages", content=b"{", headers={"Content-Type": "application/json", **headers}),
        "open": client.get("/health", headers=headers),
        "download": client.get(offered, headers=headers),
        "page": client.get("/docs", headers=headers),
        "script": client.get("/static/none.js", headers=headers),
        "host": client.get("/health", headers={**headers, "Host": "evil.example"}),
    }


def test_every_answer_forbids_frames_sniffing_and_keeping(uploader: Account) -> None:
    for kind, answer in answers(uploader.client, {}).items():
        assert answer.headers["x-content-type-options"] == "nosniff", kind
        assert answer.headers["referrer-policy"] == "no-referrer", kind
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, kind
        assert "script-src 'self'" in policy if kind == "page" else policy == _POLICY, kind
        assert "no-store" in answer.headers["cache-control"] or kind == "download", kind
        assert "public" not in answer.headers["cache-control"], kind
        assert "server" not in answer.headers, kind
        assert "set-cookie" not in answer.headers, kind


@pytest.mark.parametrize("origin", [_ORIGIN, "null", "http://127.0.0.1:1"])
def test_no_other_site_is_let_read_an_answer(uploader: Account, origin: str) -> None:
    for kind, answer in answers(uploader.client, {"Origin": origin}).items():
        assert not [name for name in answer.headers if name.startswith("access-control-")], kind


@pytest.mark.parametrize("path", ["/packages", "/package", "/reset", "/authenticate"])
def test_no_other_site_is_let_ask_with_a_header_of_its_own(anonymous: httpx.Client, path: str) -> None:
    asked = {"Origin": _ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = anonymous.options(path, headers=asked | {"Access-Control-Request-Headers": "x-authorization"})
    problem(answer, 405, "method-not-allowed")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_what_a_browser_adds_by_itself_signs_nobody_in(anonymous: httpx.Client, server: Server) -> None:
    headers = {"Cookie": f"token={server.admin_token}; X-Authorization={server.admin_token}", "Origin": _ORIGIN}
    problem(anonymous.delete("/reset", headers=headers), 401, "token-refused")
    problem(anonymous.post("/package", data={"name": fresh()}, headers=headers), 401, "token-refused")
    # A form of another site can send only what is no JSON.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"):
        sent = {"Content-Type": kind, "Origin": _ORIGIN}
        answer = anonymous.post("/authenticate", content=b'{"username": "admin", "password": "x"}', headers=sent)
        problem(answer, 415, "unsupported-media-type")


def test_no_secret_is_anywhere_in_the_database(server: Server, uploader: Account) -> None:
    package_id = publish(uploader.client)
    offered = uploader.client.get(f"/package/{package_id}").json()["download_url"]
    with client_of(server) as client:
        assert client.get(offered).status_code == 200
    secrets = (uploader.token, server.admin_token, PASSWORD, offered.split("signature=")[1])
    assert rows_with(server, *secrets, *(secret.encode().hex() for secret in secrets)) == {}
    # The look itself finds what is there.
    assert "users" in rows_with(server, uploader.username)


def rows_with(server: Server, *words: str) -> dict[str, int]:
    """How many rows of each table hold one of these words in any column, bytes as hexadecimal digits; none is left out."""
    url = make_url(embedded.running_url(server.data_dir)).set(drivername="postgresql")
    found = {}
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert {"users", "tokens", "audit_log"} & {name for (name,) in tables}
        for (name,) in tables:
            query = SQL("SELECT count(*) FROM {} AS held WHERE held::text LIKE ANY(%s)").format(Identifier(name))
            row = connection.execute(query, [[f"%{word}%" for word in words]]).fetchone()
            if row is not None and row[0]:
                found[name] = row[0]
    return found
