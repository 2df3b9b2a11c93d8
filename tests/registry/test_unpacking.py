"""What an archive's files cost a store before the archive is known to be sound."""

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from weighhouse.registry.unpacking import HELD_BYTES, SMALL_BYTES, Unpacking
from weighhouse.store.blobs_disk import DiskBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[DiskBlobs]:
    with DiskBlobs(tmp_path / "store") as blobs:
        yield blobs


def staged_files(tmp_path: Path) -> int:
    return len(list((tmp_path / "store" / "staging").iterdir()))


def take(unpacking: Unpacking, content: bytes, size: int = 10_000) -> None:
    unpacking.begin()
    for at in range(0, len(content), size):
        unpacking.write(memoryview(content)[at : at + size])
    assert unpacking.end() == (len(content), hashlib.sha256(content).hexdigest(), zlib.crc32(content))


def test_files_of_every_size_come_out_as_they_went_in(blobs: DiskBlobs, tmp_path: Path) -> None:
    sizes = (0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, 3 * SMALL_BYTES)
    contents = [os.urandom(size) for size in sizes]
    unpacking = Unpacking(blobs)
    for content in contents:
        take(unpacking, content)
    staged = unpacking.finish()
    blobs.adopt(*staged)
    for content in contents:
        assert b"".join(blobs.read(hashlib.sha256(content).hexdigest())) == content
    unpacking.close()
    assert staged_files(tmp_path) == 0


def test_small_files_touch_no_disk_before_the_end_and_equal_ones_once(blobs: DiskBlobs, tmp_path: Path) -> None:
    unpacking = Unpacking(blobs)
    for number in range(1000):
        take(unpacking, b"%d" % (number % 10))
    assert staged_files(tmp_path) == 0
    assert len(unpacking.finish()) == 10
    unpacking.close()
    assert staged_files(tmp_path) == 0


def test_more_than_memory_may_hold_goes_to_the_store(blobs: DiskBlobs, tmp_path: Path) -> None:
    unpacking = Unpacking(blobs)
    contents = [os.urandom(SMALL_BYTES) for _ in range(HELD_BYTES // SMALL_BYTES + 1)]
    for content in [*contents, *contents]:
        take(unpacking, content, SMALL_BYTES)
    # What went to the store is not held once more.
    assert len(contents) - 1 <= staged_files(tmp_path) <= len(contents)
    assert len(unpacking.finish()) == len(contents)
    unpacking.close()
    assert staged_files(tmp_path) == 0


def test_what_is_left_in_the_middle_leaves_nothing(blobs: DiskBlobs, tmp_path: Path) -> None:
    unpacking = Unpacking(blobs)
    take(unpacking, os.urandom(2 * SMALL_BYTES))
    unpacking.begin()
    unpacking.write(os.urandom(2 * SMALL_BYTES))
    assert staged_files(tmp_path) == 2
    unpacking.close()
    assert staged_files(tmp_path) == 0
