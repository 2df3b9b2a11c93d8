"""Authenticate, users, permissions and passwords over HTTP."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from tests.conftest import Server
from tests.doors.rest import PASSWORD, Account, fresh, post_package, problem, publish, register, sign_in


def test_a_right_password_gets_a_token_that_lives_thirty_days(anonymous: httpx.Client, uploader: Account) -> None:
    answer = anonymous.post("/authenticate", json={"username": uploader.username.upper(), "password": PASSWORD})
    assert answer.status_code == 200
    given = answer.json()
    assert set(given) == {"token", "calls_remaining", "expires_at"}
    lives = datetime.fromisoformat(given["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=30) - timedelta(minutes=1) < lives <= timedelta(days=30)
    assert given["expires_at"].endswith("Z")
    assert len(given["token"]) >= 43


def test_an_unknown_user_and_a_wrong_password_are_answered_alike(anonymous: httpx.Client, uploader: Account) -> None:
    documents = []
    for username in (uploader.username, fresh("nobody")):
        answer = anonymous.post("/authenticate", json={"username": username, "password": "wrong"})
        document = problem(answer, 401, "login-refused")
        documents.append(
            ({**document, "request_id": ""}, {**answer.headers, "date": "", "x-request-id": ""}),
        )
    assert documents[0] == documents[1]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "admin"},
        {"username": 1, "password": "x"},
        {"username": "admin", "password": None},
        {"username": ["admin"], "password": {}},
        {"username": "a\x00", "password": "x"},
        {"username": "a" * 2000, "password": "x"},
        [],
        "text",
        None,
        7,
    ],
)
def test_credentials_of_another_shape_are_no_credentials(anonymous: httpx.Client, body: object) -> None:
    problem(anonymous.post("/authenticate", json=body), 422)


def test_who_am_i_shows_the_account_and_what_its_token_is_good_for(reader: Account) -> None:
    first = reader.client.get("/user/me")
    assert first.status_code == 200
    shown = first.json()
    assert shown.keys() == {"user_id", "username", "permissions", "calls_remaining", "expires_at"}
    assert (shown["user_id"], shown["username"]) == (reader.user_id, reader.username)
    assert sorted(shown["permissions"]) == ["download", "search"]
    assert UUID(shown["user_id"]).version == 7
    assert f"r={shown['calls_remaining']};" in first.headers["ratelimit"]
    assert reader.client.get("/user/me").json()["calls_remaining"] == shown["calls_remaining"] - 1


def test_registering_answers_with_the_account(admin: httpx.Client) -> None:
    name = fresh("Ada")
    body = {"username": name, "password": "x", "permissions": ["upload", "search", "upload"], "is_default": True}
    answer = admin.post("/user/register", json=body)
    assert answer.status_code == 201
    assert answer.json().keys() == {"user_id", "username", "permissions"}
    assert answer.json()["username"] == name
    assert sorted(answer.json()["permissions"]) == ["search", "upload"]

    again = {"username": name.upper(), "password": "x", "permissions": []}
    problem(admin.post("/user/register", json=again), 409, "username-taken")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"permissions": ["fly"]}, "permissions"),
        ({"permissions": [1]}, "permissions.0"),
        ({"permissions": "search"}, "permissions"),
        ({"permissions": None}, "permissions"),
        ({"username": ""}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "a/b"}, "username"),
        ({"username": "аda"}, "username"),
        ({"username": "ada\n"}, "username"),
        ({"username": "-ada"}, "username"),
        ({"username": "x" * 65}, "username"),
        ({"username": "datasets"}, "username"),
        ({"password": ""}, "password"),
        ({"password": "   "}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"password": "é" * 513}, "password"),
        ({"password": "a\x00b"}, "password"),
    ],
)
def test_a_new_account_with_a_bad_field_is_refused_by_its_name(
    admin: httpx.Client, changed: dict[str, object], field: str
) -> None:
    body = {"username": fresh("user"), "password": "x", "permissions": []} | changed
    document = problem(admin.post("/user/register", json=body), 422)
    assert [error["field"] for error in document["errors"]] == [field]


def test_long_passwords_count_in_full(server: Server, admin: httpx.Client, anonymous: httpx.Client) -> None:
    name, password = fresh("user"), "é" * 512
    admin.post("/user/register", json={"username": name, "password": password, "permissions": []})
    assert sign_in(server, name, password)
    problem(anonymous.post("/authenticate", json={"username": name, "password": password[:-1] + "e"}), 401)


def test_all_users_are_listed_page_by_page_oldest_first(
    admin: httpx.Client, uploader: Account, reader: Account, powerless: Account
) -> None:
    seen: list[str] = []
    address: str | None = "/users?limit=2"
    while address:
        page = admin.get(address)
        assert page.status_code == 200
        body = page.json()
        assert len(body["users"]) <= 2
        seen += [user["user_id"] for user in body["users"]]
        assert all(user.keys() == {"user_id", "username", "permissions", "created_at"} for user in body["users"])
        address = page.links["next"]["url"] if body["next_cursor"] else None
        assert ("next" in page.links) == (body["next_cursor"] is not None)
    assert len(seen) == len(set(seen)) == body["total"]
    assert seen == sorted(seen)
    assert {uploader.user_id, reader.user_id, powerless.user_id} < set(seen)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=1.5", "limit=", "cursor=x", "cursor=1"])
def test_a_page_that_cannot_be_is_refused(admin: httpx.Client, query: str) -> None:
    problem(admin.get(f"/users?{query}"), 422)


def test_new_permissions_hold_from_the_next_request_on_and_the_token_lives(server: Server, admin: httpx.Client) -> None:
    someone = register(server, "search")
    with someone.client as client:
        problem(post_package(client, fresh()), 403, "permission-missing")
        address = f"/user/{someone.user_id}/permissions"
        answer = admin.put(address, json={"permissions": ["upload"]})
        assert answer.status_code == 200
        assert answer.json() == {"user_id": someone.user_id, "username": someone.username, "permissions": ["upload"]}
        assert publish(client)
        problem(client.post("/packages", json=[]), 403, "permission-missing")
        assert admin.put(address, json={"permissions": []}).json()["permissions"] == []
        problem(post_package(client, fresh()), 403)
        assert client.get("/user/me").json()["permissions"] == []


def test_permissions_that_do_not_exist_change_nothing(admin: httpx.Client, reader: Account) -> None:
    address = f"/user/{reader.user_id}/permissions"
    for body in ({"permissions": ["search", "root"]}, {}, {"permissions": {"search": True}}, {"permissions": [None]}):
        problem(admin.put(address, json=body), 422)
    problem(admin.put(f"/user/{uuid4()}/permissions", json={"permissions": []}), 404, "user-not-found")
    problem(admin.put("/user/me/permissions", json={"permissions": []}), 422)
    assert sorted(reader.client.get("/user/me").json()["permissions"]) == ["download", "search"]


def test_the_default_admin_stays_and_stays_admin(admin: httpx.Client) -> None:
    me = admin.get("/user/me").json()["user_id"]
    problem(admin.delete(f"/user/{me}"), 409, "default-admin-protected")
    problem(admin.put(f"/user/{me}/permissions", json={"permissions": ["search"]}), 409, "default-admin-protected")
    assert "admin" in admin.get("/user/me").json()["permissions"]


def test_users_change_their_password_with_the_one_they_have(server: Server, anonymous: httpx.Client) -> None:
    someone = register(server, "search")
    address = f"/user/{someone.user_id}/password"
    with someone.client as client:
        problem(client.put(address, json={"password": "new"}), 403, "current-password-wrong")
        problem(client.put(address, json={"password": "new", "current_password": "wrong"}), 403)
        problem(client.put(address, json={"password": " ", "current_password": PASSWORD}), 422)
        second = sign_in(server, someone.username)
        answer = client.put(address, json={"password": "new", "current_password": PASSWORD})
        assert answer.status_code == 200
        assert answer.json()["user_id"] == someone.user_id
        problem(client.get("/user/me"), 401, "token-refused")
    problem(anonymous.get("/user/me", headers={"X-Authorization": second}), 401, "token-refused")
    problem(anonymous.post("/authenticate", json={"username": someone.username, "password": PASSWORD}), 401)
    assert sign_in(server, someone.username, "new")


def test_an_admin_sets_anothers_password_and_others_do_not(
    server: Server, admin: httpx.Client, reader: Account, uploader: Account
) -> None:
    someone = register(server)
    address = f"/user/{someone.user_id}/password"
    problem(uploader.client.put(address, json={"password": "new"}), 403, "not-your-account")
    assert admin.put(address, json={"password": "new"}).status_code == 200
    problem(someone.client.get("/user/me"), 401)
    someone.client.close()
    assert sign_in(server, someone.username, "new")
    problem(admin.put(f"/user/{uuid4()}/password", json={"password": "new"}), 404, "user-not-found")


def test_a_deleted_users_packages_stay_and_belong_to_no_namesake(server: Server, admin: httpx.Client) -> None:
    first = register(server, "search", "download", "upload")
    name = fresh()
    with first.client as client:
        package_id = publish(client, name)
        assert client.put(f"/package/{package_id}/rate", json={"score": 4}).status_code == 200
        assert client.get(f"/package/{package_id}").status_code == 200
        deleted = client.delete(f"/user/{first.user_id}")
        assert deleted.status_code == 200
        assert deleted.json().keys() == {"message", "user_id"}
        problem(client.get("/user/me"), 401, "token-refused")
    shown = admin.get(f"/package/{package_id}/metadata").json()
    assert shown["uploader_id"] is None
    assert (shown["ratings"], shown["average_rating"], shown["downloads"]) == (1, 4.0, 1)
    history = admin.get(f"/package/{package_id}/download-history").json()["downloads"][0]
    assert (history["user_id"], history["username"]) == (None, first.username)

    namesake = register(server, "search", "download", "upload", username=first.username)
    with namesake.client as client:
        problem(client.get(f"/package/{package_id}/download-history"), 403, "history-hidden")
        problem(post_package(client, name, "2.0.0"), 403, "name-owned")
    assert publish(admin, name, "2.0.0")
    problem(admin.delete(f"/user/{first.user_id}"), 404, "user-not-found")


def test_only_oneself_or_an_admin_deletes_an_account(server: Server, admin: httpx.Client, uploader: Account) -> None:
    someone = register(server)
    problem(uploader.client.delete(f"/user/{someone.user_id}"), 403, "not-your-account")
    # Whether an account exists is for admins to know.
    problem(uploader.client.delete(f"/user/{uuid4()}"), 403, "not-your-account")
    assert admin.delete(f"/user/{someone.user_id}").status_code == 200
    problem(someone.client.get("/user/me"), 401)
    someone.client.close()


def test_a_cursor_is_good_for_its_own_listing_and_caller_only(
    server: Server, admin: httpx.Client, uploader: Account, reader: Account
) -> None:
    package_id = publish(uploader.client, files={"README.md": "# A", "a.txt": "a", "b.txt": "b"})
    for account in (uploader, reader):
        assert account.client.put(f"/package/{package_id}/rate", json={"score": 4}).status_code == 200
    users = admin.get("/users?limit=1").json()["next_cursor"]
    files = admin.get(f"/package/{package_id}/files?limit=1").json()["next_cursor"]
    ratings = admin.get(f"/package/{package_id}/ratings?limit=1").json()["next_cursor"]
    assert admin.get("/users", params={"cursor": users}).status_code == 200
    assert len(admin.get(f"/package/{package_id}/files", params={"cursor": files}).json()["files"]) == 2
    for address, cursor in (
        ("/users", ratings),
        ("/users", uploader.user_id),
        ("/users", users[:-3] + "AAA"),
        (f"/package/{package_id}/files", users),
        (f"/package/{package_id}/ratings", files),
        (f"/package/{package_id}/evaluations", ratings),
        (f"/package/{package_id}/download-history", ratings),
        (f"/package/{publish(uploader.client)}/files", files),
    ):
        problem(admin.get(address, params={"cursor": cursor}), 422, "invalid-cursor")
    problem(reader.client.get(f"/package/{package_id}/files", params={"cursor": files}), 422, "invalid-cursor")
