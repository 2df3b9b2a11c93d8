import random
import zlib
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.zipparts import (
    MAX_PART_BYTES,
    MAX_PARTS,
    MIB,
    MIN_PART_BYTES,
    THRESHOLD_BYTES,
    Copied,
    Part,
    Sent,
    plan,
    sent_bytes,
)
from weighhouse.rules.zipview import BlobSpan, Literal, ZipView, cut, layout

GIB = 1024 * MIB
# Around every bound of the plan, and anything between.
SIZES = st.one_of(
    st.integers(0, 100_000),
    st.sampled_from([MIN_PART_BYTES, THRESHOLD_BYTES, 2 * THRESHOLD_BYTES, 512 * MIB, MAX_PART_BYTES]).flatmap(
        lambda bound: st.integers(bound - 200, bound + 200)
    ),
    st.integers(0, 30 * MIB),
    st.integers(0, 12 * GIB),
)


def file(path: str, size_bytes: int) -> File:
    """A file of which only the size matters."""
    return File(path, size_bytes, sha256(path.encode()).hexdigest(), 0, component_of(path))


def zip_of_sizes(*sizes: int) -> ZipView:
    return layout([file(f"{n:06}.bin", size) for n, size in enumerate(sizes)])


def is_the_zip(view: ZipView, parts: tuple[Part, ...]) -> bool:
    """Whether the parts one after another are the bytes of the ZIP, which are not made for that."""
    at = 0
    for part in parts:
        if isinstance(part, Sent):
            if part.start != at:
                return False
        elif list(cut(view, at, at + part.size_bytes)) != [BlobSpan(part.sha256, part.start, part.size_bytes)]:
            return False
        at += part.size_bytes
    return at == view.size_bytes


@given(st.lists(SIZES, max_size=30))
def test_the_parts_are_the_zip_and_every_store_takes_them(sizes: list[int]) -> None:
    view = zip_of_sizes(*sizes)
    parts = plan(view)
    assert is_the_zip(view, parts)
    assert len(parts) <= MAX_PARTS
    assert all(MIN_PART_BYTES <= part.size_bytes <= MAX_PART_BYTES for part in parts[:-1])
    assert 0 < parts[-1].size_bytes <= MAX_PART_BYTES
    assert all(part.size_bytes < 2 * THRESHOLD_BYTES for part in parts if isinstance(part, Sent))
    big = [size for size in sizes if size >= THRESHOLD_BYTES]
    headers = view.size_bytes - sum(sizes)
    assert sent_bytes(parts) <= headers + sum(sizes) - sum(big) + MIN_PART_BYTES * len(big)


@settings(max_examples=10)
@given(st.lists(st.sampled_from([0, 1, 70_000, 4 * MIB, THRESHOLD_BYTES - 1, THRESHOLD_BYTES, 11 * MIB]), max_size=5))
def test_the_parts_put_together_are_the_zip_byte_for_byte(sizes: list[int]) -> None:
    contents = {f"{n}.bin": random.Random(n).randbytes(size) for n, size in enumerate(sizes)}
    blobs = {sha256(content).hexdigest(): content for content in contents.values()}
    view = layout(
        File(path, len(content), sha256(content).hexdigest(), zlib.crc32(content), component_of(path))
        for path, content in contents.items()
    )

    def between(start: int, stop: int) -> bytes:
        return b"".join(
            part.data if isinstance(part, Literal) else blobs[part.sha256][part.start : part.start + part.length]
            for part in cut(view, start, stop)
        )

    composed = b"".join(
        between(part.start, part.stop) if isinstance(part, Sent) else blobs[part.sha256][part.start : part.stop]
        for part in plan(view)
    )
    assert composed == between(0, view.size_bytes)


@pytest.mark.parametrize(
    ("sizes", "copied", "sent_at_most"),
    [
        # Three big files next to each other borrow the head of each.
        ([20 * MIB] * 3, 3, 15 * MIB + 1000),
        # Small files alone are one part.
        ([1100] * 40, 0, 55_000),
        # Small files in front of a big one save it the borrowing.
        ([6 * MIB, 20 * MIB], 1, 6 * MIB + 1000),
        # Beyond 4 GiB: well under 1 % is sent.
        ([4 * GIB + GIB // 4, 1000, 300 * MIB], 10, 10 * MIB + 2000),
        ([0] * 50_000, 0, 9_000_000),
    ],
)
def test_what_is_sent_is_little(sizes: list[int], copied: int, sent_at_most: int) -> None:
    parts = plan(zip_of_sizes(*sizes))
    assert sum(isinstance(part, Copied) for part in parts) == copied
    assert sent_bytes(parts) <= sent_at_most


def test_a_mixed_package_sends_its_small_files_and_the_heads_of_its_big_ones() -> None:
    edges = [base * MIB + step for base in (5, 10) for step in (-1, 0, 1)]
    sizes = [*([50_000] * 155), *edges, 300 * MIB, 60 * MIB, 15 * MIB]
    parts = plan(zip_of_sizes(*sizes))
    assert sum(isinstance(part, Copied) for part in parts) == 5
    assert sent_bytes(parts) < sum(size for size in sizes if size < THRESHOLD_BYTES) + 5 * MIN_PART_BYTES + 50_000


def test_a_member_beyond_the_largest_part_is_copied_in_equal_slices() -> None:
    parts = plan(zip_of_sizes(6 * GIB + 1))
    sizes = {part.size_bytes for part in parts if isinstance(part, Copied)}
    assert len(parts) > 2
    assert max(sizes) - min(sizes) <= 1


def test_more_big_files_than_a_store_takes_parts_are_sent_in_part() -> None:
    view = zip_of_sizes(*[THRESHOLD_BYTES + 1] * 13_000)
    parts = plan(view)
    assert is_the_zip(view, parts)
    assert MAX_PARTS / 4 < len(parts) <= MAX_PARTS
    assert all(part.size_bytes >= MIN_PART_BYTES for part in parts[:-1])


def test_as_many_parts_as_a_store_takes_are_all_used_before_more_is_sent() -> None:
    parts = plan(zip_of_sizes(*[THRESHOLD_BYTES] * 4_999))
    assert len(parts) == 2 * 4_999 + 1
    assert sum(isinstance(part, Copied) for part in parts) == 4_999


def test_what_no_store_takes_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="No store takes"):
        plan(zip_of_sizes(100_000 * GIB, 100_000 * GIB))
