"""One suite for every blob store; what only a disk can do is in test_blobs_disk."""

import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weighhouse.rules.errors import Away, NotFound
from weighhouse.store.blobs import BlobMissing, BlobStore, Staged, blob_key, package_key, sha256_of
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.blobs_s3 import S3Blobs

MIB = 1024 * 1024
SOON = timedelta(hours=1)


@pytest.fixture(params=["disk", "s3"])
def kind(request: pytest.FixtureRequest) -> Literal["disk", "s3"]:
    """What kind of store is under test."""
    return request.param  # type: ignore[no-any-return]  # of any type as pytest has it


@pytest.fixture
def open_store(
    kind: Literal["disk", "s3"], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], BlobStore]]:
    """Opens a store, and the same once more as another process would."""
    opened: list[BlobStore] = []

    def open_store() -> BlobStore:
        store = DiskBlobs(tmp_path / "store") if kind == "disk" else S3Blobs(request.getfixturevalue("place").open())
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def blobs(open_store: Callable[[], BlobStore]) -> BlobStore:
    """A store that is empty."""
    return open_store()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def stage(blobs: BlobStore, content: bytes, size: int = MIB) -> Staged:
    with blobs.stage() as staging:
        for at in range(0, len(content), size):
            staging.write(content[at : at + size])
        return staging.finish()


def keep(blobs: BlobStore, content: bytes) -> str:
    staged = stage(blobs, content)
    blobs.adopt(staged)
    blobs.discard(staged)
    return staged.sha256


def content_of(blobs: BlobStore, sha256: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join(blobs.read(sha256, start, length))


def names(blobs: BlobStore) -> set[str]:
    return {sha256 for sha256, _ in blobs.list(datetime.now(UTC) + SOON)}


def test_what_is_kept_is_read_back(blobs: BlobStore) -> None:
    for content in (b"", b"x", os.urandom(3 * MIB + 7)):
        staged = stage(blobs, content)
        assert (staged.sha256, staged.size_bytes, staged.crc32) == (digest(content), len(content), zlib.crc32(content))
        blobs.adopt(staged)
        blobs.discard(staged)
        assert content_of(blobs, staged.sha256) == content
        assert blobs.size(staged.sha256) == len(content)
        assert blobs.exists(staged.sha256)


@given(st.lists(st.binary(max_size=50), max_size=6))
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_do_not_matter(blobs: BlobStore, pieces: list[bytes]) -> None:
    with blobs.stage() as staging:
        for piece in pieces:
            staging.write(piece)
        staged = staging.finish()
    blobs.adopt(staged)
    blobs.discard(staged)
    assert content_of(blobs, staged.sha256) == b"".join(pieces)


def test_a_buffer_may_be_filled_again_after_each_write(blobs: BlobStore) -> None:
    content = os.urandom(8 * MIB)
    buffer = bytearray(MIB)
    with blobs.stage() as staging:
        for at in range(0, len(content), MIB):
            buffer[:] = content[at : at + MIB]
            staging.write(memoryview(buffer))
        staged = staging.finish()
    assert staged.sha256 == digest(content)
    blobs.adopt(staged)
    assert content_of(blobs, staged.sha256) == content


def test_any_part_of_a_blob_can_be_read(blobs: BlobStore) -> None:
    content = os.urandom(10_000)
    sha256 = keep(blobs, content)
    assert content_of(blobs, sha256, 9_990) == content[9_990:]
    assert content_of(blobs, sha256, 5, 17) == content[5:22]
    assert content_of(blobs, sha256, 5, 0) == b""
    assert content_of(blobs, sha256, 10_000) == b""
    assert [len(chunk) for chunk in blobs.read(sha256, 0, 2_500, chunk_bytes=1_000)] == [1_000, 1_000, 500]
    with pytest.raises(Away):
        content_of(blobs, sha256, 9_990, 11)


def test_a_blob_that_lacks_is_told_at_once(blobs: BlobStore) -> None:
    for sha256 in (digest(b"nothing"), "../../etc/passwd", "", "AB" * 32, "x" * 100_000):
        with pytest.raises(BlobMissing):
            blobs.read(sha256)
        with pytest.raises(NotFound):
            blobs.size(sha256)
        assert not blobs.exists(sha256)
    blobs.delete(digest(b"nothing"))


def test_nothing_is_kept_before_it_is_adopted(blobs: BlobStore) -> None:
    staged = stage(blobs, b"content")
    blobs.settle(staged)
    assert not blobs.exists(staged.sha256)
    blobs.discard(staged)
    with pytest.raises(Away):
        blobs.adopt(staged)
    assert names(blobs) == set()


def test_a_staging_that_is_left_without_finish_leaves_nothing(blobs: BlobStore) -> None:
    def upload() -> None:
        with blobs.stage() as staging:
            staging.write(os.urandom(2 * MIB))
            raise RuntimeError("the upload was cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        upload()
    with blobs.stage() as staging:
        staging.write(b"x")
    staging.abort()
    with pytest.raises(ValueError, match="closed"):
        staging.write(b"more")
    with pytest.raises(ValueError, match="closed"):
        staging.finish()
    assert blobs.sweep_staging(datetime.now(UTC) + SOON) == 0


def test_the_same_content_is_one_blob(blobs: BlobStore) -> None:
    first, second = stage(blobs, b"same"), stage(blobs, b"same")
    assert first.place != second.place
    blobs.adopt(first)
    third = stage(blobs, b"same")
    blobs.adopt(second, third, first)
    blobs.discard(first, second, third)
    assert list(blobs.list(datetime.now(UTC) + SOON)) == [(digest(b"same"), 4)]


def test_adopting_and_discarding_again_is_fine(blobs: BlobStore) -> None:
    staged = stage(blobs, b"content")
    for _ in range(3):
        blobs.adopt(staged)
    for _ in range(3):
        blobs.discard(staged)
    blobs.adopt(staged)
    assert content_of(blobs, staged.sha256) == b"content"


def test_a_blob_that_is_swept_after_staging_is_kept_again(blobs: BlobStore) -> None:
    keep(blobs, b"content")
    staged = stage(blobs, b"content")
    blobs.settle(staged)
    blobs.delete(staged.sha256)
    blobs.adopt(staged)
    blobs.delete(staged.sha256)
    blobs.adopt(staged)
    blobs.discard(staged)
    assert content_of(blobs, staged.sha256) == b"content"


def test_a_staging_can_be_adopted_by_another_process(blobs: BlobStore, open_store: Callable[[], BlobStore]) -> None:
    staged = stage(blobs, b"content")
    blobs.settle(staged)
    other = open_store()
    other.adopt(staged)
    other.discard(staged)
    assert content_of(blobs, staged.sha256) == b"content"


def test_those_that_lack_are_told(blobs: BlobStore) -> None:
    here, not_here = keep(blobs, b"here"), digest(b"not here")
    assert blobs.missing([here, not_here]) == {not_here}
    assert blobs.missing([here]) == blobs.missing([]) == set()


def test_a_deleted_blob_is_gone(blobs: BlobStore) -> None:
    sha256, other = keep(blobs, b"content"), keep(blobs, b"other")
    blobs.delete(sha256)
    blobs.delete(sha256)
    assert names(blobs) == {other}


def test_adopting_makes_a_blob_young(blobs: BlobStore) -> None:
    past = datetime.now(UTC) - SOON
    sha256 = keep(blobs, b"content")
    assert list(blobs.list(past)) == []
    assert list(blobs.list(datetime.now(UTC) + SOON)) == [(sha256, 7)]


def test_the_sweep_of_staging_takes_what_is_old_and_nothing_else(blobs: BlobStore) -> None:
    sha256 = keep(blobs, b"kept")
    staged = stage(blobs, b"content")
    blobs.settle(staged)
    assert blobs.sweep_staging(datetime.now(UTC) - SOON) == 0
    assert blobs.sweep_staging(datetime.now(UTC) + SOON) == 1
    assert content_of(blobs, sha256) == b"kept"
    with pytest.raises(Away):
        blobs.adopt(staged)


def test_many_small_files_are_kept_together(blobs: BlobStore, kind: Literal["disk", "s3"]) -> None:
    # Each costs several requests to a server that shares this machine.
    contents = [b"%d" % n for n in range(1_500 if kind == "disk" else 150)]
    staged = [stage(blobs, content) for content in contents]
    blobs.settle(*staged)
    blobs.adopt(*staged)
    blobs.discard(*staged)
    assert names(blobs) == set(map(digest, contents))
    assert blobs.sweep_staging(datetime.now(UTC) + SOON) == 0


def test_many_threads_may_keep_the_same_and_other_content(blobs: BlobStore) -> None:
    start = threading.Barrier(8)

    def upload(n: int) -> None:
        start.wait()
        for content in (b"same" * 100_000, b"%d" % n * 50_000, b"also the same"):
            staged = stage(blobs, content)
            blobs.adopt(staged)
            blobs.discard(staged)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(upload, range(8)))
    assert len(names(blobs)) == 10
    for sha256 in names(blobs):
        assert digest(content_of(blobs, sha256)) == sha256


def test_content_that_is_swept_while_it_is_uploaded_is_whole_in_the_end(blobs: BlobStore) -> None:
    content, is_done = b"contested" * 1000, threading.Event()

    def sweep() -> None:
        while not is_done.is_set():
            blobs.delete(digest(content))

    with ThreadPoolExecutor(1) as pool:
        sweeping = pool.submit(sweep)
        staged = [stage(blobs, content) for _ in range(50)]
        for item in staged:
            blobs.adopt(item)
        is_done.set()
        sweeping.result()
    blobs.adopt(*staged)
    blobs.discard(*staged)
    assert content_of(blobs, digest(content)) == content


def test_a_healthy_store_says_so_and_keeps_no_trace(blobs: BlobStore) -> None:
    blobs.check()
    assert names(blobs) == set()
    assert blobs.sweep_staging(datetime.now(UTC) + SOON) == 0


def test_the_key_of_a_blob_tells_its_digest_and_no_other_key_does() -> None:
    sha256 = digest(b"content")
    assert sha256_of(blob_key(sha256)) == sha256
    for key in (
        package_key("blobs", "ab", "package.zip"),
        f"blobs/00/00/{sha256}",
        f"blobs/{sha256}",
        f"x/{blob_key(sha256)}",
        blob_key(sha256) + "\n",
        "staging/" + sha256,
    ):
        assert sha256_of(key) is None
