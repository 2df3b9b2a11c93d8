"""Packages that are sent file by file: what has to be sent, what is taken, and what becomes of it."""

import hashlib
import re
import secrets
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.conftest import Server, eventually, start_server, stop_server
from tests.doors.rest import (
    CARD,
    Account,
    Wire,
    client_of,
    fresh,
    post_package,
    problem,
    publish,
    register,
    sha256,
    small_model,
    sql,
)
from tests.kept import blob

Files = Mapping[str, str | bytes]


def content_of(files: Files) -> dict[str, bytes]:
    return {path: body if isinstance(body, bytes) else body.encode() for path, body in files.items()}


def announcement(files: Files, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """The body of `POST /package/begin`."""
    listed = [
        {"path": path, "size_bytes": len(body), "sha256": sha256(body)} for path, body in content_of(files).items()
    ]
    return {"name": name or fresh(), "version": "1.0.0", "files": listed, **fields}


def begin(client: httpx.Client, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = client.post("/package/begin", json=body)
    assert answer.status_code == 201, answer.text
    state: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/package/uploads/{state['upload_id']}"
    return state


def send(missing: Mapping[str, Any], content: bytes) -> httpx.Response:
    """The answer to one file, sent by somebody without a token."""
    return httpx.put(
        missing["parts"][0]["url"],
        content=content,
        headers={**missing["parts"][0]["headers"], "Content-Length": str(len(content))},
    )


def send_all(state: Mapping[str, Any], files: Files) -> None:
    by_digest = {sha256(body): body for body in content_of(files).values()}
    for missing in state["missing"]:
        assert send(missing, by_digest[missing["sha256"]]).status_code == 200


def complete(client: httpx.Client, upload_id: str, **headers: str) -> httpx.Response:
    return client.post(f"/package/{upload_id}/complete", headers=headers)


def test_what_is_sent_file_by_file_is_a_package_like_any_other(uploader: Account) -> None:
    name = fresh()
    files = {**small_model(), "empty.txt": b"", "a/twin.bin": name, "b/twin.bin": name}
    body = announcement(files, name, description="Words", model_url="https://huggingface.co/acme/model")
    state = begin(uploader.client, body)
    assert (state["files_total"], state["bytes_total"]) == (7, sum(map(len, content_of(files).values())))
    # The twins are one content; the card and the empty file may be in a package of before.
    new = {sha256(body) for path, body in content_of(files).items() if path not in {"README.md", "empty.txt"}}
    assert len(new) == 4
    missing = [one["sha256"] for one in state["missing"]]
    assert new <= set(missing)
    assert len(missing) == len(set(missing))
    send_all(state, files)
    shown = uploader.client.get(f"/package/uploads/{state['upload_id']}").json()
    assert (shown["missing"], shown["package_id"]) == ([], None)
    answer = complete(uploader.client, state["upload_id"])
    assert answer.status_code == 201, answer.text
    package_id = answer.json()["package_id"]
    assert answer.headers["location"] == f"/package/{package_id}/metadata"
    whole = post_package(uploader.client, fresh(), files=files, fields={"description": "Words"}).json()
    assert answer.json().keys() == whole.keys()
    by_zip, direct = (
        uploader.client.get(f"/package/{one}/metadata").json() for one in (whole["package_id"], package_id)
    )
    assert direct["manifest_sha256"] == by_zip["manifest_sha256"]
    assert (direct["license"], direct["components"]) == (by_zip["license"], by_zip["components"])
    assert direct["description"] == "Words"
    offer = uploader.client.get(f"/package/{package_id}").json()
    assert httpx.get(offer["download_url"]).status_code == 200


def test_completing_twice_answers_twice_the_same(uploader: Account) -> None:
    files = small_model()
    state = begin(uploader.client, announcement(files))
    send_all(state, files)
    first, second = (complete(uploader.client, state["upload_id"]) for _ in range(2))
    assert first.json()["package_id"] == second.json()["package_id"]
    shown = uploader.client.get(f"/package/uploads/{state['upload_id']}").json()
    assert shown["package_id"] == first.json()["package_id"]


def test_who_does_not_want_to_wait_is_told_where_to_look(uploader: Account) -> None:
    files = small_model()
    state = begin(uploader.client, announcement(files))
    send_all(state, files)
    answer = complete(uploader.client, state["upload_id"], Prefer="respond-async")
    assert answer.status_code == 202
    assert uploader.client.get(answer.headers["location"]).status_code == 200


def test_the_same_announcement_goes_on_with_the_upload_that_it_began(uploader: Account, other: Account) -> None:
    files = small_model()
    body = announcement(files)
    state = begin(uploader.client, body)
    first = state["missing"][0]
    by_digest = {sha256(one): one for one in content_of(files).values()}
    assert send(first, by_digest[first["sha256"]]).status_code == 200
    again = begin(uploader.client, {**body, "files": body["files"][::-1]})
    assert again["upload_id"] == state["upload_id"]
    assert first["sha256"] not in {one["sha256"] for one in again["missing"]}
    assert len(again["missing"]) == len(state["missing"]) - 1
    assert begin(uploader.client, {**body, "description": "other"})["upload_id"] != state["upload_id"]
    assert begin(other.client, body)["upload_id"] != state["upload_id"]


def test_a_new_version_costs_what_changed(uploader: Account) -> None:
    name, files = fresh(), small_model()
    publish(uploader.client, name, files=files)
    changed = {**files, "run.py": f"print('{secrets.token_hex(8)}')\n"}
    state = begin(uploader.client, announcement(changed, name, version="1.0.1"))
    assert [one["sha256"] for one in state["missing"]] == [sha256(content_of(changed)["run.py"])]


# Possession


def test_knowing_a_digest_gives_nobody_a_content_that_they_could_not_download(
    server: Server, uploader: Account
) -> None:
    secret = secrets.token_bytes(1000)
    publish(uploader.client, files={"model.bin": secret})
    guess = {"guess.bin": secret}
    blind = register(server, "search", "upload")
    with blind.client:
        state = begin(blind.client, announcement(guess))
        assert [one["sha256"] for one in state["missing"]] == [sha256(secret)]
        refused = problem(complete(blind.client, state["upload_id"]), 409, "upload-incomplete")
        assert refused["missing"] == [{"path": "guess.bin", "sha256": sha256(secret)}]
        send_all(state, guess)
        assert complete(blind.client, state["upload_id"]).status_code == 201
        # Now it is one that they uploaded.
        assert begin(blind.client, announcement(guess))["missing"] == []


def test_a_quarantined_content_is_here_for_its_uploader_only(server: Server, uploader: Account, other: Account) -> None:
    content = secrets.token_bytes(1000)
    package_id = publish(uploader.client, files={"model.bin": content})
    assert begin(other.client, announcement({"m.bin": content}))["missing"] == []
    eventually(lambda: uploader.client.get(f"/package/{package_id}/metadata").json()["status"] != "evaluating")
    sql(server, "UPDATE packages SET verdict = 'unsafe' WHERE id = %s", package_id)
    assert len(begin(other.client, announcement({"m.bin": content}))["missing"]) == 1
    assert begin(uploader.client, announcement({"m.bin": content}))["missing"] == []


def test_a_content_of_an_open_upload_is_not_here_for_others(uploader: Account, other: Account) -> None:
    files = {"m.bin": secrets.token_bytes(1000)}
    send_all(begin(uploader.client, announcement(files)), files)
    assert len(begin(other.client, announcement(files))["missing"]) == 1


def test_a_size_that_does_not_belong_to_the_digest_has_to_be_sent_and_is_refused(uploader: Account) -> None:
    content = secrets.token_bytes(100)
    publish(uploader.client, files={"m.bin": content})
    body = announcement({"m.bin": content})
    body["files"][0]["size_bytes"] = 99
    (missing,) = begin(uploader.client, body)["missing"]
    problem(send(missing, content), 422, "content-differs")


# What is refused


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"path": "../out"}, "files.1.path"),
        ({"path": "README.MD"}, "files.1.path"),
        ({"path": "README.md/x"}, "files"),
        ({"path": "nul\u0000"}, "files.1.path"),
        ({"sha256": "AB" * 32}, "files.1.sha256"),
        ({"sha256": "ab"}, "files.1.sha256"),
        ({"size_bytes": -1}, "files.1.size_bytes"),
        ({"size_bytes": "3"}, "files.1.size_bytes"),
        ({"sha256": sha256(b"x")}, "files.1.size_bytes"),
    ],
)
def test_a_file_that_cannot_be_in_a_package_is_named(uploader: Account, change: dict[str, Any], field: str) -> None:
    body = announcement({"README.md": "x", "b.bin": b"yes"})
    body["files"][1].update(change)
    document = problem(uploader.client.post("/package/begin", json=body), 422)
    assert field in {error["field"] for error in document["errors"]}


def test_all_faults_are_told_at_once(uploader: Account) -> None:
    body = announcement({"../a": "a", "ok": "b", "con": "c"})
    document = problem(uploader.client.post("/package/begin", json=body), 422, "manifest-invalid")
    assert [error["field"] for error in document["errors"]] == ["files.0.path", "files.2.path"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "a--b"}, "name"),
        ({"version": "1 0"}, "version"),
        ({"files": []}, "files"),
    ],
)
def test_a_field_that_breaks_a_rule_is_refused_before_a_byte_is_sent(
    uploader: Account, fields: dict[str, Any], field: str
) -> None:
    body = announcement(small_model()) | fields
    document = problem(uploader.client.post("/package/begin", json=body), 422)
    assert [error["field"] for error in document["errors"]] == [field]


def test_an_address_that_cannot_be_used_is_refused_before_a_byte_is_sent(uploader: Account) -> None:
    body = announcement(small_model(), code_url="ftp://x")
    problem(uploader.client.post("/package/begin", json=body), 400, "bad-url")


def test_a_version_that_is_taken_or_a_name_of_another_is_refused_before_a_byte_is_sent(
    uploader: Account, other: Account
) -> None:
    name = fresh()
    publish(uploader.client, name)
    problem(uploader.client.post("/package/begin", json=announcement(small_model(), name)), 409, "version-exists")
    body = announcement(small_model(), name, version=None)
    problem(other.client.post("/package/begin", json=body), 403, "name-owned")


def test_files_beyond_the_limit_of_the_server_are_refused_before_a_byte_is_sent(strict: Server) -> None:
    account = register(strict, "upload")
    with account.client:
        body = announcement({"a": "a"})
        body["files"][0]["size_bytes"] = 200_001
        problem(account.client.post("/package/begin", json=body), 413, "upload-too-large")


def test_a_manifest_may_be_longer_than_other_bodies_but_not_endless(uploader: Account) -> None:
    files = [
        {"path": f"folder-{number // 1000}/{'x' * 80}-{number}", "size_bytes": 1, "sha256": f"{number:064x}"}
        for number in range(12_000)
    ]
    state = begin(uploader.client, {"name": fresh(), "version": "1.0.0", "files": files})
    assert len(state["missing"]) == 12_000
    assert uploader.client.delete(f"/package/uploads/{state['upload_id']}").status_code == 200
    padded = {"name": fresh(), "files": [], "ignored": "x" * (16 * 1024 * 1024)}
    problem(uploader.client.post("/package/begin", json=padded), 413, "body-too-large")


def test_without_any_version_there_is_no_package_and_the_files_stay(uploader: Account) -> None:
    files = {"README.md": "# A model\n"}
    body = announcement(files, version=None)
    state = begin(uploader.client, body)
    send_all(state, files)
    assert problem(complete(uploader.client, state["upload_id"]), 422)["errors"][0]["field"] == "version"
    files = {"README.md": f"---\nversion: 3.1.4\n---\n# {secrets.token_hex(4)}\n"}
    state = begin(uploader.client, announcement(files, version=None))
    send_all(state, files)
    assert complete(uploader.client, state["upload_id"]).json()["version"] == "3.1.4"


# Sending


@pytest.mark.parametrize(("length", "field"), [(100, "sha256"), (99, "size_bytes"), (101, "size_bytes")])
def test_other_bytes_than_announced_are_refused_and_can_be_sent_again(
    uploader: Account, length: int, field: str
) -> None:
    right, content = secrets.token_bytes(100), secrets.token_bytes(length)
    files: Files = {"README.md": CARD, "m.bin": right}
    state = begin(uploader.client, announcement(files))
    (missing,) = [one for one in state["missing"] if one["sha256"] == sha256(right)]
    assert problem(send(missing, content), 422, "content-differs")["errors"][0]["field"] == field
    # Without a length, it is counted while it flows.
    chunked = httpx.put(missing["parts"][0]["url"], content=iter([content]))
    assert problem(chunked, 422, "content-differs")["errors"][0]["field"] == field
    problem(complete(uploader.client, state["upload_id"]), 409, "upload-incomplete")
    send_all(state, files)
    assert send(missing, right).status_code == 200, "sent twice is fine"
    assert complete(uploader.client, state["upload_id"]).status_code == 201


def test_a_changed_address_takes_nothing(uploader: Account) -> None:
    files = {"m.bin": secrets.token_bytes(10)}
    (missing,) = begin(uploader.client, announcement(files))["missing"]
    wrong = secrets.token_hex(32)
    for part, changed in (
        (r"size_bytes=\d+", "size_bytes=11"),
        (r"expires=\d+", "expires=99999999999"),
        (r"signature=\w+", f"signature={wrong}"),
        (r"signature=\w+", ""),
        (r"files/\w+", f"files/{wrong}"),
        (r"uploads/[\w-]+", "uploads/01926f3e-7c1a-7d3b-9a55-3f1f4c2f6a10"),
    ):
        address = re.sub(part, changed, missing["parts"][0]["url"])
        assert address != missing["parts"][0]["url"]
        problem(httpx.put(address, content=files["m.bin"]), 403, "send-refused")


@pytest.mark.parametrize("end", ["expired", "given up", "complete"])
def test_an_address_ends_with_its_upload(server: Server, uploader: Account, end: str) -> None:
    files = {"m.bin": secrets.token_bytes(10)}
    state = begin(uploader.client, announcement(files))
    upload = f"/package/uploads/{state['upload_id']}"
    if end == "expired":
        sql(server, "UPDATE direct_uploads SET expires_at = now() WHERE id = %s", state["upload_id"])
        problem(uploader.client.get(upload), 404, "upload-not-found")
        problem(complete(uploader.client, state["upload_id"]), 404, "upload-not-found")
    elif end == "given up":
        assert uploader.client.delete(upload).status_code == 200
        problem(uploader.client.get(upload), 404, "upload-not-found")
    else:
        send_all(state, files)
        assert complete(uploader.client, state["upload_id"], Prefer="respond-async").status_code == 202
    problem(send(state["missing"][0], files["m.bin"]), 403, "send-refused")


def test_an_upload_is_its_uploaders_and_the_admins(uploader: Account, other: Account, admin: httpx.Client) -> None:
    files = small_model()
    state = begin(uploader.client, announcement(files))
    upload = f"/package/uploads/{state['upload_id']}"
    for answer in (other.client.get(upload), other.client.delete(upload), complete(other.client, state["upload_id"])):
        problem(answer, 404, "upload-not-found")
    assert admin.get(upload).status_code == 200
    send_all(state, files)
    assert complete(admin, state["upload_id"]).status_code == 201


def test_an_upload_given_up_leaves_nothing_in_the_store(server: Server, uploader: Account) -> None:
    content = secrets.token_bytes(1000)
    kept = secrets.token_bytes(1000)
    publish(uploader.client, files={"kept.bin": kept})
    files = {"m.bin": content, "kept.bin": kept}
    state = begin(uploader.client, announcement(files))
    send_all(state, files)

    assert blob(server, sha256(content)) == content
    assert uploader.client.delete(f"/package/uploads/{state['upload_id']}").status_code == 200
    assert blob(server, sha256(content)) is None
    assert blob(server, sha256(kept)) == kept


def test_a_blob_that_went_meanwhile_is_asked_for_again(server: Server, uploader: Account) -> None:
    name, content = fresh(), secrets.token_bytes(1000)
    package_id = publish(uploader.client, name, files={"m.bin": content})
    state = begin(uploader.client, announcement({"m.bin": content}))
    assert state["missing"] == []
    with client_of(server, server.admin_token) as admin:
        assert admin.delete(f"/package/{package_id}").status_code == 200
    eventually(lambda: blob(server, sha256(content)) is None, 60)
    problem(complete(uploader.client, state["upload_id"]), 409, "upload-incomplete")
    state = uploader.client.get(f"/package/uploads/{state['upload_id']}").json()
    send_all(state, {"m.bin": content})
    assert complete(uploader.client, state["upload_id"]).status_code == 201


def test_who_does_not_want_to_wait_is_not_told_of_an_evaluation_however_fast_it_was(uploader: Account) -> None:
    files = small_model()
    state = begin(uploader.client, announcement(files))
    send_all(state, files)
    assert complete(uploader.client, state["upload_id"]).json()["status"] == "evaluated"
    answer = complete(uploader.client, state["upload_id"], Prefer="respond-async")
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["net_score"]) == ("evaluating", None)


# Size and accidents


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Server]:
    """A server that may be killed."""
    running = start_server(tmp_path / "data", WEIGHHOUSE_WORKERS="1")
    yield running
    stop_server(running)


def test_a_large_file_flows_through_in_bounded_memory(alone: Server) -> None:
    piece = secrets.token_bytes(1024 * 1024)
    count = 200
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(piece)
    listed = [{"path": "m.bin", "size_bytes": count * len(piece), "sha256": digest.hexdigest()}]
    with alone.client() as client:
        body = {"name": fresh(), "version": "1.0.0", "files": listed}
        (missing,) = begin(client, body)["missing"]
        before = _memory_bytes(alone)
        headers = {"Content-Length": str(count * len(piece))}
        answer = httpx.put(
            missing["parts"][0]["url"], content=(piece for _ in range(count)), headers=headers, timeout=200
        )
        assert answer.status_code == 200, answer.text
        assert _memory_bytes(alone) - before < 100 * 1024 * 1024
        state = begin(client, body)
        assert state["missing"] == []
        assert complete(client, state["upload_id"], Prefer="respond-async").status_code == 202


def _memory_bytes(server: Server) -> int:
    process = psutil.Process(server.process.pid)
    return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)] if "python" in one.name())


def test_a_server_that_is_killed_while_a_file_arrives_goes_on_with_the_others(tmp_path: Path) -> None:
    files = {"m.bin": secrets.token_bytes(500_000), "n.bin": secrets.token_bytes(100)}
    body = announcement(files)
    running = start_server(tmp_path / "data", WEIGHHOUSE_WORKERS="1")
    try:
        with running.client() as client:
            state = begin(client, body)
            waiting = {one["sha256"]: one for one in state["missing"]}
            assert send(waiting[sha256(files["n.bin"])], files["n.bin"]).status_code == 200
            place = urlsplit(waiting[sha256(files["m.bin"])]["parts"][0]["url"])
            with Wire(running) as wire:
                wire.head(f"PUT {place.path}?{place.query}", "Content-Length: 500000")
                wire.send(files["m.bin"][:300_000])
                eventually(lambda: any((running.data_dir / "store" / "staging").iterdir()))
                _kill(running)
    finally:
        stop_server(running)
    running = start_server(tmp_path / "data", WEIGHHOUSE_WORKERS="1")
    try:
        with running.client() as client:
            again = begin(client, body)
            assert again["upload_id"] == state["upload_id"]
            assert [one["sha256"] for one in again["missing"]] == [sha256(files["m.bin"])]
            assert client.post("/packages", json=[{"name": body["name"]}]).json()["total"] == 0
            send_all(again, files)
            assert complete(client, again["upload_id"], Prefer="respond-async").status_code == 202
    finally:
        stop_server(running)


def _kill(server: Server) -> None:
    """Ends every process of a server but its database, at once."""
    process = psutil.Process(server.process.pid)
    for one in [process, *process.children(recursive=True)]:
        if "python" in one.name():
            one.send_signal(signal.SIGKILL)
    server.process.wait(timeout=30)
