"""The bucket: every call against a real server, what is signed for others, and what its errors become."""

import hashlib
import os
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from tests.conftest import Place, eventually
from tests.fault_proxy import BROKEN, UNAVAILABLE, Fault, FaultProxy
from weighhouse.rules.errors import Invalid
from weighhouse.store import s3
from weighhouse.store.blobs import ObjectChanged, Presigned, StoreAway, StoreRefused
from weighhouse.store.circuit import FAILURES
from weighhouse.store.s3 import S3, Access, bucket_at, translated

MIB = 1024 * 1024
PART = 5 * MIB


@pytest.fixture
def way(place: Place) -> Iterator[FaultProxy]:
    """A network that can fail."""
    parts = urlsplit(place.endpoint)
    with FaultProxy(parts.hostname or "", parts.port or 0) as way:
        yield way


@pytest.fixture
def far(place: Place, way: FaultProxy) -> Iterator[S3]:
    """The bucket behind it."""
    with closing(place.open(way.url)) as bucket:
        yield bucket


def send(request: Presigned, content: bytes, **headers: str) -> httpx.Response:
    return httpx.request(
        request.method, request.url, content=content, headers=dict(request.headers) | headers, verify=False, timeout=30
    )


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Objects


def test_what_is_put_is_there_as_it_was(bucket: S3) -> None:
    for key in ("a", "a/b", "ä/ö ü+&%?#.bin", "x" * 300):
        content = os.urandom(1000)
        bucket.put(key, content, sha256=sha256(content))
        assert bucket.get(key) == content
        head = bucket.head(key)
        assert head is not None
        assert head.size_bytes == 1000
        assert abs(head.changed_at - datetime.now(UTC)) < timedelta(seconds=60)
    assert bucket.location("a/b") == f"s3://{bucket.bucket}/{bucket.prefix}a/b"
    bucket.put("a", b"")
    assert bucket.get("a") == b""
    bucket.copy("a/b", "c")
    assert bucket.get("c") == bucket.get("a/b")


def test_bytes_that_are_not_those_of_their_digest_are_not_kept(bucket: S3) -> None:
    with pytest.raises(StoreRefused):
        bucket.put("a", b"content", sha256=sha256(b"other"))
    assert bucket.head("a") is None


def test_what_is_not_there_is_told(bucket: S3) -> None:
    assert bucket.head("nothing") is None
    for ask in (
        lambda: bucket.get("nothing"),
        lambda: bucket.read("nothing", 1, 2),
        lambda: bucket.read("nothing", 0, 0),
        lambda: bucket.copy("nothing", "b"),
    ):
        with pytest.raises(ObjectChanged):
            ask()
    bucket.delete("nothing")
    bucket.delete()


@pytest.mark.parametrize(
    ("start", "length"), [(0, None), (0, 1), (0, 1000), (999, 1), (999, None), (500, 400), (500, 9000), (0, 0), (7, 0)]
)
def test_a_range_is_the_bytes_from_there(bucket: S3, start: int, length: int | None) -> None:
    content = os.urandom(1000)
    bucket.put("a", content)
    expected = content[start:] if length is None else content[start : start + length]
    assert b"".join(bucket.read("a", start, length)) == expected


def test_a_range_behind_the_end_is_empty(bucket: S3) -> None:
    bucket.put("a", b"x" * 10)
    bucket.put("empty", b"")
    for key, start, length in (("a", 10, None), ("a", 10, 5), ("a", 10**12, 1), ("empty", 0, None), ("empty", 0, 5)):
        assert b"".join(bucket.read(key, start, length)) == b""


def test_a_read_comes_in_chunks_and_may_be_left(bucket: S3) -> None:
    content = os.urandom(10_000)
    bucket.put("a", content)
    chunks = list(bucket.read("a", 100, 9000, chunk_bytes=4000))
    assert [len(chunk) for chunk in chunks] == [4000, 4000, 1000]
    assert b"".join(chunks) == content[100:9100]
    for _ in range(100):  # More than there are connections: each is given back.
        next(bucket.read("a", chunk_bytes=10))


def test_objects_are_listed_by_key_over_pages_and_removed_in_batches(
    bucket: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with thousands of them, and done in a second.
    monkeypatch.setattr(s3, "_DELETED_AT_ONCE", 10)
    for client in bucket._clients.values():
        client.meta.events.register(
            "provide-client-params.s3.ListObjectsV2", lambda params, **_: params | {"MaxKeys": 10}
        )
    keys = [f"many/{n:05}" for n in range(33)]
    for key in keys:
        bucket.put(key, b"x")
    bucket.put("manyfold", b"other")
    assert [key for key, _, _ in bucket.list("many/")] == keys
    assert [key for key, _, _ in bucket.list()] == [*keys, "manyfold"]
    assert {size for _, size, _ in bucket.list("many/")} == {1}
    bucket.delete(*keys, "nothing")
    assert [key for key, _, _ in bucket.list()] == ["manyfold"]


def test_the_prefix_of_a_bucket_keeps_others_out(place: Place, bucket: S3) -> None:
    with closing(replace(place, url=f"{place.url}/inner").open()) as inner:
        inner.put("a", b"inner")
        bucket.put("a", b"outer")
        assert [key for key, _, _ in inner.list()] == ["a"]
        assert [key for key, _, _ in bucket.list()] == ["a", "inner/a"]
        inner.delete("a")
    assert bucket.get("a") == b"outer"


def test_a_probe_leaves_nothing(bucket: S3) -> None:
    bucket.probe("staging/probe")
    assert list(bucket.list()) == []


# Objects in parts


def test_parts_that_are_sent_and_copied_become_one_object(bucket: S3) -> None:
    source = os.urandom(PART + 1000)
    bucket.put("source", source)
    head = bucket.head("source")
    assert head is not None
    upload_id = bucket.begin_multipart("whole", content_type="application/zip")
    assert bucket.head("whole") is None
    last = bucket.upload_part("whole", upload_id, 7, b"end")
    first = bucket.upload_part("whole", upload_id, 1, source[:PART])
    copied = bucket.copy_part("whole", upload_id, 3, "source", 500, PART + 500, if_match=head.etag)
    listed = bucket.list_parts("whole", upload_id)
    assert [(part.number, part.etag, size) for part, size in listed] == [
        (1, first.etag, PART),
        (3, copied.etag, PART),
        (7, last.etag, 3),
    ]
    bucket.complete_multipart("whole", upload_id, [first, copied, last], if_none_match=True)
    assert bucket.get("whole") == source[:PART] + source[500 : PART + 500] + b"end"
    assert list(bucket.list_multipart()) == []


def test_a_part_of_an_object_that_changed_is_not_copied(bucket: S3) -> None:
    bucket.put("source", b"x" * PART)
    head = bucket.head("source")
    assert head is not None
    bucket.put("source", b"y" * PART)
    upload_id = bucket.begin_multipart("whole")
    with pytest.raises(ObjectChanged):
        bucket.copy_part("whole", upload_id, 1, "source", 0, PART, if_match=head.etag)
    bucket.delete("source")
    with pytest.raises(ObjectChanged):
        bucket.copy_part("whole", upload_id, 1, "source", 0, PART, if_match=head.etag)


def test_with_the_condition_nothing_is_replaced(bucket: S3) -> None:
    def complete(content: bytes, is_only_new: bool) -> None:
        upload_id = bucket.begin_multipart("a")
        parts = [bucket.upload_part("a", upload_id, 1, content)]
        bucket.complete_multipart("a", upload_id, parts, if_none_match=is_only_new)

    complete(b"first", is_only_new=True)
    with pytest.raises(ObjectChanged):
        complete(b"second", is_only_new=True)
    assert bucket.get("a") == b"first"
    complete(b"third", is_only_new=False)
    assert bucket.get("a") == b"third"


def test_a_part_that_is_too_small_is_told_at_the_end(bucket: S3) -> None:
    upload_id = bucket.begin_multipart("a")
    parts = [bucket.upload_part("a", upload_id, number, b"small") for number in (1, 2)]
    with pytest.raises(StoreRefused, match="EntityTooSmall"):
        bucket.complete_multipart("a", upload_id, parts)
    assert bucket.head("a") is None


def test_an_upload_that_is_aborted_is_gone_and_may_be_aborted_again(bucket: S3) -> None:
    upload_id = bucket.begin_multipart("dir/a")
    part = bucket.upload_part("dir/a", upload_id, 1, b"x")
    other = bucket.begin_multipart("other")
    [(key, listed_id, begun_at)] = bucket.list_multipart("dir/")
    assert (key, listed_id) == ("dir/a", upload_id)
    assert abs(begun_at - datetime.now(UTC)) < timedelta(seconds=60)
    for _ in range(2):
        bucket.abort_multipart("dir/a", upload_id)
    assert [(key, listed_id) for key, listed_id, _ in bucket.list_multipart()] == [("other", other)]
    for ask in (
        lambda: bucket.upload_part("dir/a", upload_id, 2, b"y"),
        lambda: bucket.complete_multipart("dir/a", upload_id, [part]),
        lambda: bucket.list_parts("dir/a", upload_id),
    ):
        with pytest.raises(ObjectChanged):
            ask()


# Requests for others to make


def test_a_presigned_address_gives_the_object_under_its_name_for_a_time(bucket: S3) -> None:
    bucket.put("a/package.zip", b"content")
    address = bucket.presigned_get(
        "a/package.zip", filename='we"ird;\r\nnäme-1.0.0.zip', content_type="application/zip", seconds=300
    )
    assert parse_qs(urlsplit(address).query)["X-Amz-Expires"] == ["300"]
    answer = httpx.get(address, verify=False)
    assert (answer.status_code, answer.content) == (200, b"content")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="we_ird___n_me-1.0.0.zip"'
    assert httpx.get(address, headers={"Range": "bytes=2-3"}, verify=False).content == b"nt"
    for changed in (
        address.replace("package.zip", "other.zip", 1),
        address.replace("X-Amz-Expires=300", "X-Amz-Expires=600"),
        address.replace("zip", "html", 3),
        address[:-1] + ("0" if address[-1] != "0" else "1"),
        address.partition("?")[0],
    ):
        assert httpx.get(changed, verify=False).status_code in {400, 403}
    for method in ("PUT", "DELETE", "POST"):
        assert httpx.request(method, address, verify=False).status_code in {400, 403, 405, 501}
    assert bucket.get("a/package.zip") == b"content"


def test_a_presigned_address_ends(bucket: S3) -> None:
    bucket.put("a", b"content")
    address = bucket.presigned_get("a", filename="a", content_type="text/plain", seconds=1)
    time.sleep(2.1)
    assert httpx.get(address, verify=False).status_code == 403


def test_a_hashed_part_takes_exactly_these_bytes(bucket: S3) -> None:
    content = secrets.token_bytes(500)
    upload_id = bucket.begin_multipart("a")
    request = bucket.presigned_hashed_part(
        "a", upload_id, 1, size_bytes=500, sha256=sha256(content), crc32=zlib.crc32(content), seconds=60
    )
    assert send(request, secrets.token_bytes(500)).status_code in {400, 403}
    assert send(request, content[:-1], **{"Content-Length": "499"}).status_code in {400, 403}
    for header, other in (("x-amz-content-sha256", "ab" * 32), ("x-amz-checksum-crc32", "AAAAAA==")):
        assert send(request, content, **{header: other}).status_code in {400, 403}
    assert bucket.list_parts("a", upload_id) == []
    assert send(request, content).status_code == 200
    assert bucket.head("a") is None
    bucket.complete_multipart("a", upload_id, [part for part, _ in bucket.list_parts("a", upload_id)])
    assert bucket.get("a") == content


def test_a_presigned_part_is_a_part(bucket: S3) -> None:
    contents = [os.urandom(PART), b"end"]
    upload_id = bucket.begin_multipart("a", checksum=None)
    for number, content in enumerate(contents, 1):
        request = bucket.presigned_part("a", upload_id, number, size_bytes=len(content), seconds=60)
        longer = {"Content-Length": str(len(content) + 4)}
        assert send(request, content + b"more", **longer).status_code in {400, 403}
        assert send(request, content).status_code == 200
    bucket.complete_multipart("a", upload_id, [part for part, _ in bucket.list_parts("a", upload_id)])
    assert bucket.get("a") == b"".join(contents)


# What can go wrong


def test_a_bucket_keys_and_an_endpoint_that_are_wrong_are_told_apart(place: Place) -> None:
    right = Access(place.endpoint, "us-east-1", place.server.access_key_id, place.server.secret_access_key)
    for url, access, sentence in (
        ("s3://no-such-bucket", right, "bucket does not exist"),
        (place.url, replace(right, secret_access_key="wrong"), "AWS_SECRET_ACCESS_KEY"),
    ):
        with closing(bucket_at(url, access)) as bucket, pytest.raises(StoreRefused, match=sentence):
            bucket.put("a", b"x")
    # Swift does not say which of the two keys it is.
    with closing(bucket_at(place.url, replace(right, access_key_id="nobody"))) as bucket, pytest.raises(StoreRefused):
        bucket.put("a", b"x")
    nobody = replace(right, endpoint_url="http://127.0.0.1:9")
    with closing(bucket_at(place.url, nobody)) as bucket, pytest.raises(StoreAway, match="does not answer") as caught:
        bucket.put("a", b"x")
    assert type(caught.value) is StoreAway
    assert place.server.secret_access_key not in repr(right)


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///a", "s3://b", "s3://a b", "s3://bucket/a//b", "s3://bucket/../x", "s3://bucket/./x"]
)
def test_an_address_that_names_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="s3://bucket"):
        bucket_at(url, Access(region="us-east-1"))


def test_an_endpoint_that_is_no_address_is_refused() -> None:
    with pytest.raises(Invalid):
        bucket_at("s3://bucket", Access(endpoint_url="not an address", region="us-east-1"))


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, ObjectChanged),
        ("404", 404, ObjectChanged),
        ("NoSuchUpload", 404, ObjectChanged),
        ("PreconditionFailed", 412, ObjectChanged),
        ("NoSuchBucket", 404, StoreRefused),
        ("AccessDenied", 403, StoreRefused),
        ("ExpiredToken", 400, StoreRefused),
        ("RequestTimeTooSkewed", 403, StoreRefused),
        ("NotImplemented", 501, StoreRefused),
        ("EntityTooSmall", 400, StoreRefused),
        ("InternalError", 500, StoreAway),
        ("SlowDown", 503, StoreAway),
        ("", 504, StoreAway),
    ],
)
def test_what_a_store_says_has_one_meaning(code: str, status: int, kind: type[StoreAway]) -> None:
    told = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert type(translated(ClientError(told, "GetObject"))) is kind  # type: ignore[arg-type]  # it has what is read


def test_no_credentials_and_no_answer_are_told_apart() -> None:
    assert isinstance(translated(NoCredentialsError()), StoreRefused)
    assert type(translated(EndpointConnectionError(endpoint_url="http://x"))) is StoreAway


# A network that fails


@pytest.mark.parametrize(
    "fault",
    [Fault(is_refusing=True), Fault(is_resetting=True), Fault(answer=UNAVAILABLE), Fault(answer=BROKEN)],
    ids=["refuses", "resets", "is unavailable", "is broken"],
)
def test_after_failures_in_a_row_nobody_waits_and_it_ends_by_itself(far: S3, way: FaultProxy, fault: Fault) -> None:
    far.put("a", b"content")
    way.set(fault)
    for _ in range(FAILURES):
        with pytest.raises(StoreAway) as caught:
            far.get("a")
        assert type(caught.value) is StoreAway
    began = time.monotonic()
    for ask in (
        lambda: far.put("b", b"x"),
        lambda: far.get("a"),
        lambda: far.head("a"),
        lambda: far.delete("a"),
        lambda: list(far.list()),
        lambda: far.begin_multipart("a"),
        lambda: far.copy("a", "b"),
    ):
        with pytest.raises(StoreAway):
            ask()
    assert time.monotonic() - began < 0.5
    way.set()

    def is_well() -> bool:
        try:
            return far.get("a") == b"content"
        except StoreAway:
            return False

    eventually(is_well)


def test_refusals_are_answers_and_do_not_open_the_circuit(far: S3) -> None:
    far.put("a", b"content")
    for _ in range(3 * FAILURES):
        with pytest.raises(ObjectChanged):
            far.get("nothing")
        with pytest.raises(StoreRefused):
            far.put("b", b"x", sha256=sha256(b"y"))
    assert far.get("a") == b"content"


def test_an_answer_that_is_lost_is_asked_for_again(far: S3, way: FaultProxy) -> None:
    way.set(Fault(cut_after_bytes=0, times=1))
    far.put("a", b"content")
    way.set(Fault(answer=UNAVAILABLE, times=1))
    assert far.get("a") == b"content"
    way.set(Fault(cut_after_bytes=0, times=1))
    far.delete("a")
    assert far.head("a") is None


def test_a_download_that_breaks_off_is_taken_up_where_it_did(far: S3, way: FaultProxy) -> None:
    content = os.urandom(3 * MIB)
    far.put("a", content)
    way.set(Fault(cut_after_bytes=700_000))
    assert b"".join(far.read("a", 5, 3 * MIB - 10, chunk_bytes=100_000)) == content[5:-5]


def test_a_download_whose_object_is_replaced_meanwhile_does_not_go_on(far: S3, way: FaultProxy, bucket: S3) -> None:
    far.put("a", b"x" * 3 * MIB)
    way.set(Fault(cut_after_bytes=700_000))
    chunks = far.read("a", chunk_bytes=10_000)
    got = next(chunks)
    bucket.put("a", b"y" * 3 * MIB)
    rest: list[bytes] = []
    with pytest.raises(ObjectChanged):
        rest.extend(chunks)
    assert set(got + b"".join(rest)) == set(b"x")


def test_a_download_that_never_gets_further_ends(far: S3, way: FaultProxy) -> None:
    far.put("a", b"x" * MIB)
    # Its head comes, and nothing behind it.
    way.set(Fault(cut_after_bytes=600))
    with pytest.raises(StoreAway):
        far.get("a")
