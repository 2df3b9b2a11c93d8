"""DELETE /package: what goes, what stays, and what may come again."""

from pathlib import Path
from uuid import uuid4

import httpx

from tests.conftest import Server, eventually
from tests.doors.rest import Account, fresh, post_package, problem, publish, sha256, small_model


def blob(server: Server, content: str | bytes) -> Path:
    """Where the store keeps these bytes."""
    digest = sha256(content.encode() if isinstance(content, str) else content)
    return server.data_dir / "store" / "blobs" / digest[:2] / digest[2:4] / digest


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
    problem(post_package(other.client, name, "2.0.0"), 403, "name-owned")


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
    assert blob(server, own).read_text() == own
    assert blob(server, shared).stat().st_nlink == 1
    admin.delete(f"/package/{first}")
    assert not blob(server, own).exists()
    assert blob(server, shared).read_text() == shared
    offered = other.client.get(f"/package/{second}").json()
    assert httpx.get(offered["download_url"], verify=False).status_code == 200
    admin.delete(f"/package/{second}")
    assert not blob(server, shared).exists()


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
    files = small_model()
    package_id = post_package(uploader.client, fresh(), files=files).json()["package_id"]
    stuck = blob(server, files["model.bin"])
    # A folder in place of the file cannot be removed as one.
    stuck.unlink()
    stuck.mkdir()
    try:
        assert admin.delete(f"/package/{package_id}").status_code == 200
        problem(admin.get(f"/package/{package_id}/metadata"), 404, "package-not-found")
    finally:
        stuck.rmdir()
    assert eventually(lambda: admin.get("/health").json()["status"] == "healthy")
