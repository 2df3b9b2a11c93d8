"""The parts that a store composes a ZIP from: spans it copies from blobs, and what has to be sent between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from weighhouse.rules.zipview import ZipView

MIB = 1024 * 1024

# What stores with the interface of S3 demand of a multipart upload.
MIN_PART_BYTES = 5 * MIB
"""Fewest bytes of every part but the last, copied ones too."""
MAX_PART_BYTES = 5 * 1024 * MIB
MAX_PARTS = 10_000

# A store answers a copy when it is done; a slice of this size is, before a client loses patience.
SLICE_BYTES = 512 * MIB
# Also keeps clear of those stores that copy a range only of objects above 5 MB.
THRESHOLD_BYTES = 2 * MIN_PART_BYTES


@dataclass(frozen=True, slots=True)
class Sent:
    """A part that is sent: the bytes of the ZIP from `start` up to `stop`."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """How long the part is."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Copied:
    """A part that the store copies: the bytes of a blob from `start` up to `stop`."""

    sha256: str
    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """How long the part is."""
        return self.stop - self.start


Part = Sent | Copied


def plan(view: ZipView) -> tuple[Part, ...]:
    """The parts of a ZIP, in order, such that a store takes them and as little as can be is sent.

    Headers, the directory and files below the threshold are sent, in parts between the threshold and twice that. A
    bigger file is copied; if what is to be sent in front of it is no whole part yet, it borrows the file's first bytes.
    Where that makes more parts than a store takes, the threshold is doubled.

    Raises:
        ValueError: No store takes the parts; a defect.
    """
    threshold = THRESHOLD_BYTES
    parts = tuple(_parts(view, threshold))
    while len(parts) > MAX_PARTS:
        threshold *= 2
        parts = tuple(_parts(view, threshold))
    _check(parts, view.size_bytes)
    return parts


def sent_bytes(parts: Sequence[Part]) -> int:
    """How many bytes of a ZIP have to be sent; the store has the others."""
    return sum(part.size_bytes for part in parts if isinstance(part, Sent))


def _parts(view: ZipView, threshold: int) -> Iterator[Part]:
    """The parts when files from `threshold` bytes on are copied."""
    sent_from = 0
    for file, stop in zip(view.files, view.starts[1:], strict=True):
        if file.size_bytes < threshold:
            continue
        start = stop - file.size_bytes
        # Borrows what is missing. At least half of the smallest such file is left, which is a whole part.
        copied_from = max(start, sent_from + MIN_PART_BYTES)
        yield from _sent(sent_from, copied_from, threshold)
        for first, last in _slices(copied_from - start, file.size_bytes, -(-(stop - copied_from) // SLICE_BYTES)):
            yield Copied(file.sha256, first, last)
        sent_from = stop
    yield from _sent(sent_from, view.size_bytes, threshold)


def _sent(start: int, stop: int, size_bytes: int) -> Iterator[Sent]:
    """The bytes from `start` up to `stop` in parts of `size_bytes` up to twice that; fewer bytes are one part."""
    for first, last in _slices(start, stop, max((stop - start) // size_bytes, 1)):
        yield Sent(first, last)


def _slices(start: int, stop: int, count: int) -> Iterator[tuple[int, int]]:
    """`count` equal slices, so that no small remainder is left."""
    return pairwise(start + (stop - start) * n // count for n in range(count + 1))


def _check(parts: Sequence[Part], size_bytes: int) -> None:
    """Stores find fault with parts only when all of them are there: after hours, for a big ZIP.

    Raises:
        ValueError: They would.
    """
    sizes = [part.size_bytes for part in parts]
    is_taken = (
        sum(sizes) == size_bytes
        and len(sizes) <= MAX_PARTS
        and all(size >= MIN_PART_BYTES for size in sizes[:-1])
        and all(0 < size <= MAX_PART_BYTES for size in sizes)
    )
    if not is_taken:
        raise ValueError(f"No store takes these {len(sizes)} parts of a ZIP of {size_bytes} bytes.")
