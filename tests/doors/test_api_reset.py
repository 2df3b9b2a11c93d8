"""DELETE /reset, on servers that may be reset."""

import httpx

from tests.conftest import ADMIN_PASSWORD, Server, eventually
from tests.doors.rest import (
    PASSWORD,
    Account,
    client_of,
    fresh,
    from_bucket,
    from_stream,
    post_package,
    problem,
    publish,
    register,
    sign_in,
)
from tests.kept import blobs, composed


def test_a_reset_leaves_the_first_start_and_the_callers_token(expendable: Server) -> None:
    other_session, token = (sign_in(expendable, "admin", ADMIN_PASSWORD) for _ in range(2))
    someone = register(expendable, "search", "download", "upload", admin_token=token)
    with client_of(expendable, token) as admin, someone.client as client:
        name = fresh()
        package_id = publish(client, name)
        in_bucket = from_bucket(client, package_id) if expendable.place else None
        address = from_stream(expendable, client, package_id)
        assert client.put(f"/package/{package_id}/rate", json={"score": 5}).status_code == 200
        problem(client.delete("/reset"), 403, "permission-missing")
        assert client.get(f"/package/{package_id}/metadata").status_code == 200

        answer = admin.delete("/reset")
        assert answer.status_code == 200
        assert answer.json().keys() == {"message"}
        problem(client.get("/user/me"), 401, "token-refused")
        problem(client.get("/user/me", headers={"X-Authorization": other_session}), 401, "token-refused")
        problem(httpx.get(address, verify=False), 403, "address-refused")
        assert admin.post("/packages", json=[]).json()["total"] == 0
        assert [user["username"] for user in admin.get("/users").json()["users"]] == ["admin"]
        problem(admin.get(f"/package/{package_id}/metadata"), 404, "package-not-found")
        credentials = {"username": someone.username, "password": PASSWORD}
        problem(admin.post("/authenticate", json=credentials), 401, "login-refused")
        assert sign_in(expendable, "admin", ADMIN_PASSWORD)
        eventually(lambda: not blobs(expendable))
        eventually(lambda: not composed(expendable))
        if in_bucket is not None:
            assert httpx.get(in_bucket).status_code == 404
        # Name and version are free again, for anybody.
        assert post_package(admin, name).status_code == 201
        assert [admin.delete("/reset").status_code for _ in range(2)] == [200, 200]
        eventually(lambda: "DELETE /reset" in admin.get("/logs?limit=1000").text)


def test_another_admin_may_reset_and_goes_on_as_the_default_one(expendable: Server) -> None:
    deputy = register(expendable, "admin", admin_token=sign_in(expendable, "admin", ADMIN_PASSWORD))
    with deputy.client as client:
        assert client.delete("/reset").status_code == 200
        me = client.get("/user/me").json()
        assert (me["username"], "admin" in me["permissions"]) == ("admin", True)
        assert client.get("/users").json()["total"] == 1


def test_a_forbidden_reset_changes_nothing(strict: Server) -> None:
    with client_of(strict, sign_in(strict, "admin", ADMIN_PASSWORD)) as admin:
        package_id = publish(admin)
        problem(admin.delete("/reset"), 403, "reset-forbidden")
        assert admin.get(f"/package/{package_id}/metadata").status_code == 200


def test_nobody_resets_but_an_admin(anonymous: httpx.Client, uploader: Account) -> None:
    problem(anonymous.delete("/reset"), 401, "token-refused")
    problem(uploader.client.delete("/reset"), 403, "permission-missing")
    problem(uploader.client.get("/reset"), 405, "method-not-allowed")
