"""DELETE /package: what goes, what stays, and what may come again."""

import secrets
from uuid import uuid4

import httpx
import pytest

from tests.conftest import ADMIN_PASSWORD, Server, eventually
from tests.doors.rest import (
    Account,
    client_of,
    fresh,
    post_package,
    problem,
    publish,
    sha256,
    sign_in,
)
from tests.kept import blob, blob_path, store_away


def kept(server: Server, content: str) -> bool:
    """Whether the store keeps these bytes."""
    found = blob(server, sha256(content.encode()))
    assert found in {content.encode(), None}
    return found is not None


def test_a_deleted_package_is_nowhere_and_its_version_stays_taken(admin: httpx.Client, uploader: Account) -> None:
    name = fresh()
    package_id = post_package(uploader.client, name).json()["package_id"]
    answer = admin.delete(f"/package/{package_id}")
    assert answer.status_code == 200
    assert answer.json().keys() == {"message", "package_id"}
    assert answer.json()["package_id"] == package_id
    for part in ("", "/metadata", "/files", "/ratings", "/lineage", "/evaluations", "/download-history"):
        problem(admin.get(f"/package/{package_id}{part}"), 404, "package-not-found")
    assert admin.post("/packages", json=[{"name": name}]).json()["total"] == 0
    problem(admin.delete(f"/package/{package_id}"), 404, "package-not-found")

    document = problem(post_package(uploader.client, name), 409, "version-exists")
    assert "package_id" not in document
    problem(post_package(admin, name), 409, "version-exists")
    assert publish(uploader.client, name, "1.0.1")


def test_a_deleted_name_stays_with_its_owner(admin: httpx.Client, uploader: Account, other: Account) -> None:
    name = fresh()
    admin.delete(f"/package/{publish(uploader.client, name)}")
    problem(post_package(other.client, name, "2.0.0"), 403, "name-reserved")


def test_a_released_version_may_be_published_again_with_other_content(admin: httpx.Client, uploader: Account) -> None:
    name = fresh()
    first = publish(uploader.client, name)
    assert admin.delete(f"/package/{first}?release=true").status_code == 200
    assert publish(uploader.client, name) != first


def test_files_leave_the_store_when_no_other_package_holds_them(
    server: Server, admin: httpx.Client, uploader: Account, other: Account
) -> None:
    shared, own = f"shared {fresh()}", f"own {fresh()}"
    first = post_package(uploader.client, fresh(), files={"README.md": shared, "a.txt": own}).json()["package_id"]
    second = publish(other.client, files={"folder/b.txt": shared})
    assert kept(server, own)
    assert kept(server, shared)
    if server.place is None:
        assert blob_path(server, sha256(shared.encode())).stat().st_nlink == 1
    admin.delete(f"/package/{first}")
    assert not kept(server, own)
    assert kept(server, shared)
    offered = other.client.get(f"/package/{second}").json()
    assert httpx.get(offered["download_url"], verify=False).status_code == 200
    admin.delete(f"/package/{second}")
    assert not kept(server, shared)


def test_nobody_but_admins_deletes_a_package(uploader: Account, other: Account) -> None:
    package_id = publish(uploader.client)
    for account in (uploader, other):
        problem(account.client.delete(f"/package/{package_id}"), 403, "permission-missing")
    assert uploader.client.get(f"/package/{package_id}/metadata").status_code == 200


def test_what_is_not_there_cannot_be_deleted(admin: httpx.Client) -> None:
    problem(admin.delete(f"/package/{uuid4()}"), 404, "package-not-found")
    problem(admin.delete("/package/x"), 422)
    problem(admin.delete(f"/package/{uuid4()}?release=maybe"), 422)


def test_a_store_that_fails_never_leaves_half_a_package(server: Server, admin: httpx.Client, uploader: Account) -> None:
    if server.place is not None:
        pytest.skip("A bucket fails as a whole; the next test is about that.")
    model = secrets.token_bytes(100)
    package_id = post_package(uploader.client, fresh(), files={"model.bin": model}).json()["package_id"]
    stuck = blob_path(server, sha256(model))
    # A folder in place of the file cannot be removed as one.
    stuck.unlink()
    stuck.mkdir()
    try:
        assert admin.delete(f"/package/{package_id}").status_code == 200
        problem(admin.get(f"/package/{package_id}/metadata"), 404, "package-not-found")
    finally:
        stuck.rmdir()
    assert eventually(lambda: admin.get("/health").json()["status"] == "healthy")


def test_a_package_goes_while_its_store_is_away(strict: Server) -> None:
    with client_of(strict, sign_in(strict, "admin", ADMIN_PASSWORD)) as admin:
        package_id = post_package(admin, fresh()).json()["package_id"]
        with store_away(strict):
            assert admin.delete(f"/package/{package_id}").status_code == 200
            problem(admin.get(f"/package/{package_id}/metadata"), 404, "package-not-found")
        assert eventually(lambda: admin.get("/health").json()["status"] == "healthy")
