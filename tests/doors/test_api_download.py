"""Download offers, the signed addresses they give, byte ranges, history."""

import hashlib
import io
import zipfile
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.conftest import ADMIN_PASSWORD, Server, eventually
from tests.doors.rest import (
    Account,
    client_of,
    fresh,
    from_bucket,
    from_stream,
    problem,
    publish,
    register,
    sha256,
    sign_in,
    small_model,
)

_OF_EACH: dict[str, str | bytes] = {
    "README.md": "# A",
    "model.bin": b"weights",
    "train.csv": "a,b\n1,2\n",
    "run.py": "print(1)\n",
}
_PATHS = {"weights": "model.bin", "datasets": "train.csv", "code": "run.py"}


def offer(client: httpx.Client, package_id: str, query: str = "") -> dict[str, object]:
    answer = client.get(f"/package/{package_id}{query}")
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


def fetch(address: object, **headers: str) -> httpx.Response:
    """What an address gives to anybody."""
    return httpx.get(str(address), headers=headers, verify=False, timeout=30)


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def package_id(uploader: Account) -> str:
    return publish(uploader.client, files=_OF_EACH)


@pytest.fixture(scope="module")
def stream(server: Server, uploader: Account) -> str:
    """An address of the registry's own stream, which on a bucket is for ZIPs that could not be composed there."""
    return from_stream(server, uploader.client, publish(uploader.client, files=_OF_EACH))


@pytest.fixture(scope="module")
def in_bucket(server: Server, uploader: Account) -> str | None:
    """An address in the bucket; `None` where the server has none."""
    if server.place is None:
        return None
    return from_bucket(uploader.client, publish(uploader.client, files=_OF_EACH))


def test_an_offer_has_the_fields_that_were_promised(server: Server, reader: Account, package_id: str) -> None:
    answer = reader.client.get(f"/package/{package_id}")
    body = answer.json()
    assert body.keys() == {
        "package_id",
        "name",
        "version",
        "download_url",
        "expires_in_seconds",
        "components_included",
        "components_missing",
    }
    assert body["package_id"] == package_id
    assert body["expires_in_seconds"] == 300
    assert body["components_included"] == ["weights", "datasets", "code"]
    assert body["components_missing"] == []
    if server.place is None:
        assert body["download_url"].startswith(f"{server.url}/package/{package_id}/archive/package.zip?")
    else:
        address = from_bucket(reader.client, package_id)
        in_place = f"{server.place.endpoint}/{server.place.url.removeprefix('s3://')}"
        assert address.startswith(f"{in_place}/{body['name']}/1.0.0/package.zip?")
        assert parse_qs(urlsplit(address).query)["X-Amz-Expires"] == ["300"]
    assert answer.headers["x-weighhouse-verdict"] in {"safe", "suspicious", "unscanned"}


def test_what_is_downloaded_is_what_was_uploaded(server: Server, uploader: Account, reader: Account) -> None:
    files = small_model()
    package_id = publish(uploader.client, files=files)
    answers = [] if server.place is None else [fetch(from_bucket(reader.client, package_id))]
    answers.append(fetch(from_stream(server, reader.client, package_id)))
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert int(answer.headers["content-length"]) == len(answer.content)
        found = members(answer.content)
        assert found == {path: value.encode() if isinstance(value, str) else value for path, value in files.items()}
        assert answer.content == answers[0].content
    assert answers[-1].headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "included"),
    [
        ("", ["weights", "datasets", "code"]),
        ("?full=true", ["weights", "datasets", "code"]),
        ("?weights=true&full=true", ["weights", "datasets", "code"]),
        ("?weights=true", ["weights"]),
        ("?datasets=1", ["datasets"]),
        ("?code=yes", ["code"]),
        ("?code=true&weights=true", ["weights", "code"]),
        ("?weights=false&code=true", ["code"]),
        ("?weights=true&datasets=true&code=true", ["weights", "datasets", "code"]),
        ("?weights=false", ["weights", "datasets", "code"]),
    ],
)
def test_a_component_download_holds_these_and_the_card(
    reader: Account, package_id: str, query: str, included: list[str]
) -> None:
    body = offer(reader.client, package_id, query)
    assert body["components_included"] == included
    paths = members(fetch(body["download_url"]).content).keys()
    assert paths == {"README.md", *(_PATHS[component] for component in included)}


def test_components_that_are_not_there_are_named(uploader: Account, reader: Account) -> None:
    package_id = publish(uploader.client, files={"README.md": "# A", "model.bin": b"x"})
    body = offer(reader.client, package_id, "?weights=true&code=true&datasets=true")
    assert (body["components_included"], body["components_missing"]) == (["weights"], ["datasets", "code"])
    document = problem(reader.client.get(f"/package/{package_id}?code=true&datasets=true"), 404, "components-missing")
    assert document["components_missing"] == ["datasets", "code"]
    assert offer(reader.client, package_id)["components_included"] == ["weights"]


def test_the_zip_is_the_same_byte_for_byte_for_the_same_files(uploader: Account, reader: Account) -> None:
    files = small_model()
    ids = [publish(uploader.client, files=files), publish(uploader.client, files=dict(reversed(files.items())))]
    first, second = (fetch(offer(reader.client, package_id)["download_url"]) for package_id in ids)
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]


@pytest.mark.parametrize("query", ["?weights=maybe", "?full=2", "?code="])
def test_a_flag_is_true_or_false(reader: Account, package_id: str, query: str) -> None:
    problem(reader.client.get(f"/package/{package_id}{query}"), 422)


def test_an_unknown_package_is_not_found(reader: Account) -> None:
    problem(reader.client.get(f"/package/{uuid4()}"), 404, "package-not-found")
    problem(reader.client.get(f"/package/{reader.user_id}"), 404, "package-not-found")
    for text in ("1", "x" * 36, "..", "%00"):
        assert reader.client.get(f"/package/{text}").status_code in {400, 404, 422}


@pytest.mark.parametrize("change", ["path", "variant", "expires", "signature", "nothing", "method"])
def test_an_address_that_was_changed_leads_nowhere(server: Server, uploader: Account, change: str) -> None:
    package_id = publish(uploader.client, files=_OF_EACH)
    parts = urlsplit(from_stream(server, uploader.client, package_id, "?weights=true"))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    path, method = parts.path, "GET"
    match change:
        case "path":
            path = path.replace(package_id, publish(uploader.client))
        case "variant":
            path = path.replace("weights.zip", "package.zip")
        case "expires":
            query["expires"] = str(int(query["expires"]) + 1)
        case "signature":
            query["signature"] = query["signature"][:-1] + ("0" if query["signature"][-1] != "0" else "1")
        case "nothing":
            query = {}
        case "method":
            method = "POST"
    answer = httpx.request(method, parts._replace(path=path, query="").geturl(), params=query, verify=False)
    if change == "method":
        problem(answer, 405, "method-not-allowed")
    else:
        problem(answer, 403, "address-refused")


@pytest.mark.parametrize("change", ["path", "variant", "expires", "signature", "name", "nothing", "method"])
def test_an_address_of_the_bucket_that_was_changed_leads_nowhere(
    uploader: Account, in_bucket: str | None, change: str
) -> None:
    if in_bucket is None:
        pytest.skip("The server has no bucket.")
    parts = urlsplit(in_bucket)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    path, method, refused = parts.path, "GET", {403}
    match change:
        case "path":
            other = from_bucket(uploader.client, publish(uploader.client))
            assert fetch(other).status_code == 200
            path = urlsplit(other).path
        case "variant":
            path = path.replace("package.zip", "weights.zip")
        case "expires":
            query["X-Amz-Expires"] = "301"
        case "signature":
            query["X-Amz-Signature"] = query["X-Amz-Signature"][:-1] + ("0" if in_bucket[-1] != "0" else "1")
        case "name":
            query["response-content-disposition"] = 'attachment; filename="other.exe"'
        case "nothing":
            # Stores are not of one mind about who does not say who they are.
            query, refused = {}, {400, 403}
        case "method":
            method, refused = "DELETE", {403}
    assert httpx.request(method, parts._replace(path=path, query="").geturl(), params=query).status_code in refused
    assert fetch(in_bucket).status_code == 200


@pytest.mark.parametrize(
    ("expires", "signature"), [("", ""), ("abc", "é"), ("-1", "0" * 64), ("1e400", "x" * 5000), ("٣", "٣")]
)
def test_a_signature_that_is_none_is_refused(
    anonymous: httpx.Client, package_id: str, expires: str, signature: str
) -> None:
    query = {"expires": expires, "signature": signature}
    problem(anonymous.get(f"/package/{package_id}/archive/package.zip", params=query), 403, "address-refused")


def test_an_address_ends_with_its_package(server: Server, admin: httpx.Client, uploader: Account) -> None:
    package_id = publish(uploader.client)
    address = from_stream(server, uploader.client, package_id)
    assert fetch(address).status_code == 200
    assert admin.delete(f"/package/{package_id}").status_code == 200
    problem(fetch(address), 403, "address-refused")
    if server.place is not None:
        package_id = publish(uploader.client)
        address = from_bucket(uploader.client, package_id)
        assert fetch(address).status_code == 200
        assert admin.delete(f"/package/{package_id}").status_code == 200
        assert fetch(address).status_code == 404


def test_ranges_join_to_the_whole(stream: str, in_bucket: str | None) -> None:
    join_to_the_whole(stream)
    if in_bucket is not None:
        join_to_the_whole(in_bucket)


def join_to_the_whole(address: str) -> None:
    whole = fetch(address)
    size, tag = len(whole.content), whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"
    joined = b""
    for start in range(0, size, 37):
        part = fetch(address, Range=f"bytes={start}-{min(start + 36, size - 1)}", **{"If-Range": tag})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {start}-{min(start + 36, size - 1)}/{size}"
        joined += part.content
    assert sha256(joined) == sha256(whole.content)
    assert fetch(address, Range="bytes=-5").content == whole.content[-5:]
    assert fetch(address, Range=f"bytes={size - 3}-").content == whole.content[-3:]
    assert fetch(address, Range=f"bytes=0-{size * 9}").content == whole.content


@pytest.mark.parametrize(
    "asked",
    ["bytes=5-4", "bytes=a-b", "bytes", "chars=0-1", "bytes=0-1,3-4", "bytes=" + "0-1," * 10_000 + "2-3", "bytes=--1"],
)
def test_a_range_that_cannot_be_read_gives_all_or_a_refusal(stream: str, asked: str) -> None:
    answer = fetch(stream, Range=asked)
    if answer.status_code == 200:
        members(answer.content)
    else:
        assert answer.status_code in {416, 431}


def test_a_range_beyond_the_end_is_refused_with_the_size(stream: str, in_bucket: str | None) -> None:
    size = len(fetch(stream).content)
    for asked in (f"bytes={size}-", f"bytes={10**30}-{10**31}", "bytes=-0"):
        answer = fetch(stream, Range=asked)
        problem(answer, 416)
        assert answer.headers["content-range"] == f"bytes */{size}"
    if in_bucket is not None:
        # Of the same files, so as long.
        assert fetch(in_bucket, Range=f"bytes={size}-").status_code == 416
        assert fetch(in_bucket, Range=f"bytes={size - 1}-").status_code == 206


def test_a_client_that_has_the_zip_is_told_so_and_an_old_part_is_not_resumed(
    stream: str, in_bucket: str | None
) -> None:
    tag = fetch(stream).headers["etag"]
    for given in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        answer = fetch(stream, **{"If-None-Match": given})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert fetch(stream, **{"If-None-Match": '"other"'}).status_code == 200
    assert fetch(stream, Range="bytes=0-9", **{"If-Range": '"other"'}).status_code == 200
    if in_bucket is not None:
        tag = fetch(in_bucket).headers["etag"]
        answer = fetch(in_bucket, **{"If-None-Match": tag})
        assert (answer.status_code, answer.content) == (304, b"")
        assert fetch(in_bucket, **{"If-None-Match": '"other"'}).status_code == 200


def test_every_download_is_in_the_history_newest_first(
    server: Server, admin: httpx.Client, uploader: Account, other: Account, reader: Account
) -> None:
    package_id = publish(uploader.client, files=_OF_EACH)
    offer(reader.client, package_id, "?weights=true")
    with client_of(server, other.token) as client:
        offered = client.get(f"/package/{package_id}", headers=[(b"User-Agent", b"a client \xe9" + b"x" * 1000)])
        assert offered.status_code == 200, offered.text
    # A refused one is none.
    assert reader.client.get(f"/package/{package_id}?weights=maybe").status_code == 422
    for client in (uploader.client, admin):
        page = client.get(f"/package/{package_id}/download-history?limit=1")
        first = page.json()
        assert (first["total"], len(first["downloads"])) == (2, 1)
        newest = first["downloads"][0]
        assert newest.keys() == {"downloaded_at", "user_id", "username", "components", "address", "agent"}
        assert (newest["username"], newest["address"]) == (other.username, "127.0.0.1")
        assert newest["agent"].startswith("a client é")
        assert len(newest["agent"]) <= 300
        second = client.get(page.links["next"]["url"]).json()
        assert second["next_cursor"] is None
        assert second["downloads"][0]["components"] == ["weights"]
        assert second["downloads"][0]["user_id"] == reader.user_id
    for stranger in (other, reader):
        problem(stranger.client.get(f"/package/{package_id}/download-history"), 403, "history-hidden")
    assert uploader.client.get(f"/package/{package_id}/metadata").json()["downloads"] == 2
    problem(uploader.client.get(f"/package/{uuid4()}/download-history"), 404, "package-not-found")


def test_uploaders_see_the_history_of_their_package_without_any_other_permission(
    server: Server, admin: httpx.Client
) -> None:
    someone = register(server, "upload")
    with someone.client as client:
        package_id = publish(client)
        assert client.get(f"/package/{package_id}/download-history").status_code == 200


@pytest.mark.parametrize("name", ["plain", "owner/name"])
def test_the_file_is_saved_under_the_packages_name(
    server: Server, uploader: Account, reader: Account, name: str
) -> None:
    name = name.replace("name", fresh("name")).replace("owner", fresh("owner"))
    package_id = publish(uploader.client, name, "1.0.0+b_1", files=_OF_EACH)
    expected = f'attachment; filename="{name.replace("/", "-")}-1.0.0+b_1-package.zip"'
    if server.place is not None:
        assert fetch(from_bucket(reader.client, package_id)).headers["content-disposition"] == expected
    assert fetch(from_stream(server, reader.client, package_id)).headers["content-disposition"] == expected


def test_an_address_ends_when_its_time_is_up_and_names_the_public_host(strict: Server) -> None:
    with client_of(strict, sign_in(strict, "admin", ADMIN_PASSWORD)) as client:
        package_id = publish(client)
        assert offer(client, package_id)["expires_in_seconds"] == 4
        if strict.place is not None:
            assert strict.way is not None
            address = from_bucket(client, package_id)
            # As the server knows the bucket: its public address is not that of its store.
            assert address.startswith(f"{strict.way.url}/{strict.place.url.removeprefix('s3://')}/")
            assert fetch(address).status_code == 200
            eventually(lambda: fetch(address).status_code == 403)
        address = from_stream(strict, client, package_id)
        assert address.startswith("https://models.example/package/")
        local = address.replace("https://models.example", strict.url)
        assert fetch(local).status_code == 200
        eventually(lambda: fetch(local).status_code == 403)
        problem(fetch(local), 403, "address-refused")


def test_a_big_file_comes_whole_and_in_order(uploader: Account, reader: Account) -> None:
    big = hashlib.shake_256(b"big").digest(9_000_001)
    package_id = publish(uploader.client, files={"model.bin": big, "README.md": "x"})
    answer = fetch(offer(reader.client, package_id)["download_url"])
    assert sha256(members(answer.content)["model.bin"]) == sha256(big)


def test_the_head_alone_is_that_of_the_whole(server: Server, uploader: Account, reader: Account) -> None:
    package_id = publish(uploader.client, files=_OF_EACH)
    if server.place is not None:
        # What is signed is the way to get it, and nothing else.
        assert httpx.head(from_bucket(reader.client, package_id)).status_code == 403
    address = from_stream(server, reader.client, package_id)
    whole, head = fetch(address), httpx.head(address)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "etag", "accept-ranges", "content-disposition", "content-type"):
        assert head.headers[name] == whole.headers[name]
    part = httpx.head(address, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["content-length"]) == (206, "10")
    for path in ("/health", "/docs", f"/package/{package_id}/metadata", "/packages", "/static/../health"):
        answer = reader.client.head(path)
        assert (answer.status_code, answer.content) == (reader.client.get(path).status_code, b""), path
    problem_of = reader.client.head(f"/package/{uuid4()}/metadata")
    assert (problem_of.status_code, problem_of.content) == (404, b"")
    # An offer is written into the history: its head alone is not to be had.
    assert reader.client.head(f"/package/{package_id}").status_code == 405
