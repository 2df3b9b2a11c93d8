"""Contents that clients send into a bucket by themselves: nothing becomes a blob that is not what was announced."""

import hashlib
import secrets
import zlib
from collections.abc import Iterator

import httpx
import pytest

from weighhouse.store import direct_s3
from weighhouse.store.blobs import ObjectChanged, PartRequest
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.blobs_s3_staging import MIB
from weighhouse.store.direct_s3 import S3Direct
from weighhouse.store.s3 import S3


@pytest.fixture
def blobs(bucket: S3) -> Iterator[S3Blobs]:
    with S3Blobs(bucket) as store:
        yield store


@pytest.fixture
def direct(blobs: S3Blobs) -> S3Direct:
    return blobs.direct


@pytest.fixture
def content() -> bytes:
    return secrets.token_bytes(12 * MIB + 1)


def digests(content: bytes) -> tuple[str, int, int]:
    return hashlib.sha256(content).hexdigest(), len(content), zlib.crc32(content)


def send(part: PartRequest, content: bytes) -> int:
    """Status of the store's answer to somebody without credentials."""
    piece = content[part.offset_bytes : part.offset_bytes + part.size_bytes]
    request = part.request
    return httpx.request(request.method, request.url, headers=dict(request.headers), content=piece).status_code


def test_a_store_that_compares_takes_nothing_else_and_nothing_is_copied(
    direct: S3Direct, blobs: S3Blobs, bucket: S3, content: bytes
) -> None:
    sha256, size_bytes, crc32 = digests(content)
    ticket = direct.begin(sha256, size_bytes, crc32)
    (part,) = direct.lacking(ticket, 60, is_new=True)
    assert send(part, secrets.token_bytes(size_bytes)) == 400
    assert direct.finish(ticket) is None
    assert send(part, content) == 200
    assert direct.lacking(ticket, 60) == []
    assert not blobs.exists(sha256)
    assert direct.finish(ticket) == crc32
    assert b"".join(blobs.read(sha256)) == content
    assert list(bucket.list("staging/")) == []


def test_a_crc_that_is_not_the_contents_is_not_believed(direct: S3Direct, content: bytes) -> None:
    sha256, size_bytes, crc32 = digests(content)
    ticket = direct.begin(sha256, size_bytes, crc32 ^ 1)
    (part,) = direct.lacking(ticket, 60, is_new=True)
    assert send(part, content) == 400
    assert direct.finish(ticket) is None


def test_who_knows_a_digest_has_not_sent_the_content(direct: S3Direct, blobs: S3Blobs, content: bytes) -> None:
    sha256, size_bytes, crc32 = digests(content)
    first = direct.begin(sha256, size_bytes, crc32)
    assert send(direct.lacking(first, 60)[0], content) == 200
    assert direct.finish(first) == crc32
    second = direct.begin(sha256, size_bytes, crc32)
    assert len(direct.lacking(second, 60)) == 1
    assert direct.finish(second) is None
    # Sent as well, it counts, and the blob stays the one that others are reading.
    before = blobs._bucket.head(f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}")
    assert send(direct.lacking(second, 60)[0], content) == 200
    assert direct.finish(second) == crc32
    assert blobs._bucket.head(f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}") == before


def test_where_nobody_compared_the_content_is_read_again(
    direct: S3Direct, blobs: S3Blobs, bucket: S3, content: bytes
) -> None:
    sha256, size_bytes, crc32 = digests(content)
    ticket = direct.begin(sha256, size_bytes, None)
    (part,) = direct.lacking(ticket, 60, is_new=True)
    assert send(part, secrets.token_bytes(size_bytes)) == 200
    assert direct.finish(ticket) is None
    assert not blobs.exists(sha256)
    with pytest.raises(ObjectChanged):
        direct.lacking(ticket, 60)
    again = direct.begin(sha256, size_bytes, None)
    assert send(direct.lacking(again, 60)[0], content) == 200
    assert direct.finish(again) == crc32
    assert b"".join(blobs.read(sha256)) == content
    assert list(bucket.list("staging/")) == []


def test_a_long_content_goes_in_parts_and_goes_on_where_it_was(
    direct: S3Direct, blobs: S3Blobs, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_s3, "_WHOLE_BYTES", 1 * MIB)
    monkeypatch.setattr(direct_s3, "_PART_BYTES", 7 * MIB)
    sha256, size_bytes, crc32 = digests(content)
    ticket = direct.begin(sha256, size_bytes, crc32)
    parts = direct.lacking(ticket, 60, is_new=True)
    assert sum(part.size_bytes for part in parts) == size_bytes
    assert [send(part, content) for part in parts[1:]] == [200]
    assert direct.finish(ticket) is None
    (left,) = direct.lacking(ticket, 60)
    assert left.offset_bytes == 0
    assert send(left, content) == 200
    assert direct.finish(ticket) == crc32
    assert b"".join(blobs.read(sha256)) == content


def test_what_was_completed_before_a_crash_is_gone_on_with(direct: S3Direct, bucket: S3, content: bytes) -> None:
    sha256, size_bytes, crc32 = digests(content)
    ticket = direct.begin(sha256, size_bytes, None)
    assert send(direct.lacking(ticket, 60)[0], content) == 200
    one = direct_s3._read(ticket)
    bucket.complete_multipart(one.key, one.upload_id, [part for part, _ in direct._arrived(one)])
    assert direct.finish(ticket) == crc32


def test_given_up_nothing_of_it_is_left(direct: S3Direct, bucket: S3, content: bytes) -> None:
    sha256, size_bytes, crc32 = digests(content)
    for announced in (crc32, None):
        ticket = direct.begin(sha256, size_bytes, announced)
        part = direct.lacking(ticket, 60)[0]
        assert send(part, content) == 200
        direct.abort(ticket)
        direct.abort(ticket)
        assert direct.finish(ticket) is None
        assert send(part, content) == 404
    assert list(bucket.list_multipart()) == []
