"""POST /package: what comes in, what is refused, and in which order."""

import re
import zipfile
from uuid import UUID

import httpx
import pytest

from tests.conftest import Server, eventually
from tests.doors.rest import CARD, Account, Wire, fresh, post_package, problem, publish, sha256, small_model
from tests.kept import composed, staged
from tests.make import zip_of


def nothing_of(client: httpx.Client, name: str) -> bool:
    """Whether no search knows the name."""
    found = client.post("/packages", json=[{"name": name}]).json()
    return bool(found["total"] == 0 and found["packages"] == [])


def test_an_upload_answers_with_the_score_and_everything_that_was_asked_for(server: Server, uploader: Account) -> None:
    name = fresh()
    answer = post_package(
        uploader.client, name, fields={"description": "Words", "model_url": "https://huggingface.co/acme/model"}
    )
    assert answer.status_code == 201
    body = answer.json()
    assert body.keys() == {"package_id", "name", "version", "s3_path", "net_score", "message", "status", "warnings"}
    assert (body["name"], body["version"], body["status"]) == (name, "1.0.0", "evaluated")
    if server.place is None:
        assert body["s3_path"] == f"local:///{name}/1.0.0/package.zip"
    else:
        assert body["s3_path"] == f"{server.place.url}/{name}/1.0.0/package.zip"
        eventually(lambda: f"{name}/1.0.0/package.zip" in composed(server))
    assert body["message"] == "Package uploaded and evaluated successfully"
    assert UUID(body["package_id"]).version == 7
    assert answer.headers["location"] == f"/package/{body['package_id']}/metadata"


def test_who_does_not_want_to_wait_is_told_where_to_look(uploader: Account) -> None:
    answer = post_package(uploader.client, fresh(), headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["status"], body["net_score"]) == ("evaluating", None)

    def weighed() -> bool:
        metadata = uploader.client.get(answer.headers["location"])
        assert metadata.status_code == 200
        return bool(metadata.json()["status"] == "evaluated")

    eventually(weighed)


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": "---\nversion: 3.1.4\n---\n# A model\n"},
        {"README.md": "# A model\n", "config.json": '{"version": "3.1.4"}'},
    ],
)
def test_a_version_may_come_from_the_package_itself(uploader: Account, files: dict[str, str]) -> None:
    answer = post_package(uploader.client, fresh(), None, files)
    assert answer.status_code == 201
    assert answer.json()["version"] == "3.1.4"


def test_without_any_version_there_is_no_package(uploader: Account) -> None:
    name = fresh()
    document = problem(post_package(uploader.client, name, None), 422, "field-invalid")
    assert document["errors"][0]["field"] == "version"
    assert nothing_of(uploader.client, name)


def test_a_published_version_never_changes(uploader: Account) -> None:
    name, files = fresh(), small_model()
    first = publish(uploader.client, name, files=files)
    same = problem(post_package(uploader.client, name.upper(), files=files), 409, "version-exists")
    assert (same["is_same"], same["package_id"]) == (True, first)
    other = problem(post_package(uploader.client, name), 409, "version-exists")
    assert (other["is_same"], other["package_id"]) == (False, first)
    shown = uploader.client.get(f"/package/{first}/metadata").json()
    assert {file["path"]: file["sha256"] for file in shown["files"]} == {
        path: sha256(content if isinstance(content, bytes) else content.encode()) for path, content in files.items()
    }


def test_a_name_belongs_to_its_first_uploader(uploader: Account, other: Account, admin: httpx.Client) -> None:
    name = fresh()
    publish(uploader.client, name)
    problem(post_package(other.client, name.upper(), "2.0.0"), 403, "name-owned")
    assert publish(admin, name, "2.0.0")
    assert publish(uploader.client, name, "3.0.0")


def test_a_namespace_that_is_anothers_name_is_theirs(uploader: Account, other: Account, admin: httpx.Client) -> None:
    problem(post_package(other.client, f"{uploader.username}/{fresh()}"), 403, "namespace-owned")
    assert publish(uploader.client, f"{uploader.username.upper()}/{fresh()}")
    assert publish(admin, f"{uploader.username}/{fresh()}")
    assert publish(other.client, f"{fresh('nobodys')}/{fresh()}")


def test_a_name_that_looks_like_anothers_is_taken_with_a_warning(uploader: Account, other: Account) -> None:
    name = fresh("llama")
    publish(uploader.client, name)
    answer = post_package(other.client, name.replace("-", "_"))
    assert answer.status_code == 201
    assert any(warning.startswith(f"{name}: ") for warning in answer.json()["warnings"])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "a/b/c"}, "name"),
        ({"name": "../x"}, "name"),
        ({"name": "packages"}, "name"),
        ({"name": "bert.git"}, "name"),
        ({"name": "me/resolve"}, "name"),
        ({"name": "bеrt"}, "name"),
        ({"name": "x" * 97}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"version": "1 0"}, "version"),
        ({"version": "1.0.0\n"}, "version"),
        ({"version": "1" * 51}, "version"),
        ({"version": "١.0.0"}, "version"),
        ({"description": "x" * 10_001}, "description"),
        ({"description": "a\x00"}, "description"),
    ],
)
def test_a_field_that_breaks_a_rule_is_named(uploader: Account, fields: dict[str, str], field: str) -> None:
    name = fresh()
    form = {"name": name, "version": "1.0.0"} | fields
    answer = uploader.client.post("/package", data=form, files={"file": ("p.zip", zip_of(small_model()))})
    document = problem(answer, 422)
    assert [error["field"] for error in document["errors"]] == [field]
    assert nothing_of(uploader.client, name)


@pytest.mark.parametrize("field", ["model_url", "dataset_url", "code_url"])
@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://huggingface.co/a/b",
        "https://user:secret@github.com/a/b",
        "https://github.com/a b",
        "git@github.com:a/b",
        "--upload-pack=touch",
        "https://gıthub.com/a/b",
        "https://x\\y/a",
    ],
)
def test_an_address_that_could_mislead_is_malformed(uploader: Account, field: str, url: str) -> None:
    document = problem(post_package(uploader.client, fresh(), fields={field: url}), 400, "bad-url")
    assert document["field"] == field


def test_the_name_is_needed(uploader: Account) -> None:
    answer = uploader.client.post("/package", data={"version": "1.0.0"}, files={"file": ("p.zip", zip_of({"a": "a"}))})
    document = problem(answer, 422, "field-invalid")
    assert document["errors"][0]["field"] == "name"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x1f\x8b" + bytes(40),
        zip_of({}),
        zip_of({"folder/": ""}),
        zip_of(small_model())[:-1],
        zip_of(small_model())[:100],
        zip_of(small_model()) + b"x",
        b"x" + zip_of(small_model()),
        zip_of({"../x": "x"}),
        zip_of({"/x": "x"}),
        zip_of({"a\\b": "x"}),
        zip_of({"a": "x", "A": "y"}),
        zip_of({"a": "x", "a/b": "y"}),
        zip_of({"x": "hello"}, method=zipfile.ZIP_STORED).replace(b"hello", b"jello"),
    ],
)
def test_what_is_no_usable_zip_is_malformed(uploader: Account, content: bytes) -> None:
    name = fresh()
    form = {"name": name, "version": "1.0.0"}
    problem(uploader.client.post("/package", data=form, files={"file": ("p.zip", content)}), 400)
    assert nothing_of(uploader.client, name)


def test_a_zip_that_was_streamed_is_as_good_as_another(uploader: Account) -> None:
    name, files = fresh(), small_model()
    content = zip_of(files, is_stream=True)
    form = {"name": name, "version": "1.0.0"}
    answer = uploader.client.post("/package", data=form, files={"file": ("p.zip", content)})
    assert answer.status_code == 201
    shown = uploader.client.get(f"/package/{answer.json()['package_id']}/metadata").json()
    assert {file["path"] for file in shown["files"]} == set(files)


def test_other_kinds_of_content_are_told_what_to_send(uploader: Account) -> None:
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": "application/zip"}, {}):
        answer = uploader.client.post("/package", content=b"{}", headers=headers)
        problem(answer, 415, "unsupported-media-type")


def form(*parts: tuple[str, bytes], boundary: str = "b") -> bytes:
    """A multipart body of these parts: headers, content."""
    pieces = [f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n" for headers, content in parts]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


_NAME = ('Content-Disposition: form-data; name="name"', b"x")
_VERSION = ('Content-Disposition: form-data; name="version"', b"1.0.0")
_FILE = ('Content-Disposition: form-data; name="file"; filename="p.zip"', zip_of({"a.txt": "x"}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b--\r\n",
        b"nothing",
        form(_NAME, _VERSION),
        form(_NAME, _VERSION, _FILE, _FILE),
        form(_NAME, _NAME, _VERSION, _FILE),
        form(_NAME, _VERSION, _FILE, ('Content-Disposition: form-data; name="x"; filename="y"', b"z")),
        form(_NAME, _VERSION, _FILE, ("X-No-Name: here", b"z")),
        form(_NAME, _VERSION, _FILE, ('Content-Disposition: form-data; name="x"\r\nX: ' + "y" * 9000, b"z")),
        form(_FILE, *[(f'Content-Disposition: form-data; name="f{number}"', b"") for number in range(10_000)]),
        form(_FILE, ('Content-Disposition: form-data; name="name"', b"x" * 70_000)),
        form(_FILE, _VERSION, ('Content-Disposition: form-data; name="name"', b"\xff\xfe")),
        form(_NAME, _VERSION, _FILE)[:-8],
        form(_NAME, _VERSION, _FILE).replace(b"\r\n\r\n", b"\n\n"),
    ],
)
def test_a_form_that_is_none_is_malformed(uploader: Account, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    problem(uploader.client.post("/package", content=body, headers=headers), 400)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 10_000}"]
)
def test_a_form_without_a_usable_boundary_is_malformed(uploader: Account, kind: str) -> None:
    answer = uploader.client.post("/package", content=form(_NAME, _FILE), headers={"Content-Type": kind})
    problem(answer, 400, "bad-form")


def test_fields_that_nobody_knows_are_ignored_and_none_sets_what_is_not_the_uploaders(uploader: Account) -> None:
    extra = {"verdict": "safe", "net_score": "1", "uploader_id": "x", "status": "evaluated", "id": "1", "license": "x"}
    package_id = publish(uploader.client, fields=extra)
    shown = uploader.client.get(f"/package/{package_id}/metadata").json()
    assert shown["uploader_id"] == uploader.user_id
    assert shown["license"] == "mit"


def test_fields_may_follow_the_file(uploader: Account) -> None:
    name = ('Content-Disposition: form-data; name="name"', fresh().encode())
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = uploader.client.post("/package", content=form(_FILE, _VERSION, name), headers=headers)
    assert answer.status_code == 201


def upload_head(token: str | None, *headers: str) -> list[str]:
    """Headers of an upload over a raw connection."""
    sent = [f"X-Authorization: {token}"] if token else []
    return [*sent, "Content-Type: multipart/form-data; boundary=b", *headers]


def status_of(answer: bytes) -> int:
    """The status of a raw answer, or 0 when none came."""
    match = re.match(rb"HTTP/1\.1 (\d+) ", answer)
    return int(match[1]) if match else 0


def test_who_may_not_upload_hears_so_before_sending_a_byte(server: Server, reader: Account) -> None:
    for token, expected in ((None, 401), ("wrong", 401), (reader.token, 403)):
        with Wire(server, timeout=5) as wire:
            wire.head("POST /package", *upload_head(token, "Content-Length: 1000000000"))
            assert status_of(wire.line()) == expected


def test_a_client_that_asks_first_is_told_to_go_on_only_when_it_may(server: Server, uploader: Account) -> None:
    body = form(('Content-Disposition: form-data; name="name"', fresh().encode()), _VERSION, _FILE)
    asking = ("Expect: 100-continue", f"Content-Length: {len(body)}", "Connection: close")
    with Wire(server) as wire:
        wire.head("POST /package", *upload_head("wrong", *asking))
        assert status_of(wire.line()) == 401
    with Wire(server) as wire:
        wire.head("POST /package", *upload_head(uploader.token, *asking))
        assert status_of(wire.line()) == 100
        wire.send(body)
        assert status_of(wire.all()) == 201


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_an_upload_that_breaks_off_leaves_nothing(server: Server, uploader: Account, share: float) -> None:
    name = fresh()
    file = (_FILE[0], zip_of({"big.bin": bytes(range(256)) * 4000}, method=zipfile.ZIP_STORED))
    body = form(('Content-Disposition: form-data; name="name"', name.encode()), _VERSION, file)
    with Wire(server) as wire:
        wire.head("POST /package", *upload_head(uploader.token, f"Content-Length: {len(body)}"))
        wire.send(body[: int(len(body) * share)])
    eventually(lambda: not staged(server))
    assert nothing_of(uploader.client, name)


def test_a_length_that_is_too_short_ends_the_form_too_early(server: Server, uploader: Account) -> None:
    name = fresh()
    body = form(('Content-Disposition: form-data; name="name"', name.encode()), _VERSION, _FILE)
    with Wire(server) as wire:
        wire.head(
            "POST /package", *upload_head(uploader.token, f"Content-Length: {len(body) - 50}", "Connection: close")
        )
        wire.send(body)
        assert status_of(wire.all()) == 400
    assert nothing_of(uploader.client, name)


def test_a_body_without_a_length_comes_in_chunks(server: Server, uploader: Account) -> None:
    body = form(('Content-Disposition: form-data; name="name"', fresh().encode()), _VERSION, _FILE)
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + 100]), body[at : at + 100]) for at in range(0, len(body), 100)
    )
    with Wire(server) as wire:
        wire.head("POST /package", *upload_head(uploader.token, "Transfer-Encoding: chunked", "Connection: close"))
        wire.send(chunks + b"0\r\n\r\n")
        assert status_of(wire.all()) == 201


@pytest.mark.parametrize("garbage", [b"zz\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n", b"ffffffffffffffffff\r\nx"])
def test_chunks_that_are_none_end_the_connection(server: Server, uploader: Account, garbage: bytes) -> None:
    with Wire(server) as wire:
        wire.head("POST /package", *upload_head(uploader.token, "Transfer-Encoding: chunked"))
        wire.send(garbage)
        assert status_of(wire.all()) in {0, 400}
    assert uploader.client.get("/user/me").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 10", "Content-Length: 20"],
        ["Content-Length: 10", "Transfer-Encoding: chunked"],
        ["Content-Length: -1"],
        ["Content-Length: 1e3"],
        ["Content-Length: " + "9" * 5000],
        ["Transfer-Encoding: gzip, chunked, identity"],
    ],
)
def test_lengths_that_contradict_are_refused(server: Server, uploader: Account, headers: list[str]) -> None:
    with Wire(server) as wire:
        wire.head("POST /package", *upload_head(uploader.token, *headers, "Connection: close"))
        wire.send(b"0\r\n\r\n")
        wire.end()
        assert status_of(wire.all()) in {0, 400}


def test_without_length_and_chunks_there_is_no_body(server: Server, uploader: Account) -> None:
    with Wire(server) as wire:
        wire.head("POST /package", *upload_head(uploader.token, "Connection: close"))
        assert status_of(wire.all()) == 400


def test_slow_uploads_do_not_hold_up_others(server: Server, uploader: Account) -> None:
    slow = [Wire(server) for _ in range(60)]
    try:
        for wire in slow:
            wire.head("POST /package", *upload_head(uploader.token, "Content-Length: 1000000"))
            wire.send(b"--b\r\n")
        assert post_package(uploader.client, fresh()).status_code == 201
        for wire in slow:
            wire.send(b"C")
        assert uploader.client.get("/health").status_code == 200
    finally:
        for wire in slow:
            with wire:
                pass


def test_the_card_is_read_wherever_the_package_has_its_root(uploader: Account) -> None:
    package_id = publish(uploader.client, files={"my-model/README.md": CARD, "my-model/model.bin": b"x"})
    assert uploader.client.get(f"/package/{package_id}/metadata").json()["license"] == "mit"
