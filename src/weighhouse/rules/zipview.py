"""The ZIP a manifest stands for, as literal bytes and spans of blobs: no byte of it is kept anywhere.

Members are stored, not compressed, so that a member is its blob and the length is known before the first byte.
"""

import stat
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from weighhouse.rules.errors import RegistryError
from weighhouse.rules.manifest import File, digest, in_order
from weighhouse.rules.ziprecords import (
    END,
    END64,
    END64_LENGTH,
    END64_SIGNATURE,
    END_SIGNATURE,
    ENTRY,
    ENTRY_SIGNATURE,
    FULL16,
    FULL32,
    LOCAL,
    LOCAL_SIGNATURE,
    LOCATOR64,
    LOCATOR64_SIGNATURE,
    STORED,
    UTF8,
    ZIP64_ENTRY,
    ZIP64_EXTRA,
    ZIP64_LOCAL,
)

# Goes up with every change of a byte that `cut` gives out: it is part of the entity tag.
LAYOUT = 1

# Always ZIP64, also for small files: the layout must not change shape when a size crosses 4 GiB.
_VERSION = 45
_UNIX = 3 << 8
_TIME, _DATE = 0, 1 << 5 | 1  # 1980-01-01 00:00, the first that a ZIP can say
_ATTRIBUTES = (stat.S_IFREG | 0o644) << 16

_LOCAL_LENGTH = 4 + LOCAL.size + ZIP64_LOCAL.size
_ENTRY_LENGTH = 4 + ENTRY.size + ZIP64_ENTRY.size
_LITERAL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes of the ZIP that are in no blob."""

    data: bytes


@dataclass(frozen=True, slots=True)
class BlobSpan:
    """Bytes of the ZIP that are `length` bytes of a blob from `start` on."""

    sha256: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class ZipView:
    """A ZIP that can be given out from any byte on.

    Args:
        files: Its members, in their order.
        starts: Where each member's local header begins, and at the end where the directory does.
        entries: Where each directory entry begins, counted from the directory, and at the end the directory's length.
        etag: Strong entity tag in its quotes: the same tag is the same bytes.
    """

    files: tuple[File, ...]
    starts: tuple[int, ...]
    entries: tuple[int, ...]
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class Range:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.stop - self.start


class RangeNotSatisfiable(RegistryError):
    """The range asked for has no byte of this file."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The file has {size_bytes} bytes; ask for a range that begins before its end.")
        self.size_bytes = size_bytes


def layout(files: Iterable[File]) -> ZipView:
    """The ZIP that holds `files`: the same for the same manifest, byte for byte."""
    members = in_order(files)
    names = [len(file.path.encode("utf-8")) for file in members]
    sizes = (_LOCAL_LENGTH + name + file.size_bytes for name, file in zip(names, members, strict=True))
    starts = tuple(accumulate(sizes, initial=0))
    entries = tuple(accumulate((_ENTRY_LENGTH + name for name in names), initial=0))
    end = 4 + END64.size + 4 + LOCATOR64.size + 4 + END.size
    return ZipView(members, starts, entries, starts[-1] + entries[-1] + end, f'"{digest(members)}-{LAYOUT}"')


def cut(view: ZipView, start: int, stop: int) -> Iterator[Literal | BlobSpan]:
    """The bytes of the ZIP from `start` up to `stop`, in order, as few parts as there are changes of source.

    Raises:
        ValueError: The range is not within the ZIP.
    """
    if not 0 <= start <= stop <= view.size_bytes:
        raise ValueError(f"Bytes {start} to {stop} are not within a ZIP of {view.size_bytes}.")
    return _parts(view, start, stop)


def _parts(view: ZipView, start: int, stop: int) -> Iterator[Literal | BlobSpan]:
    """The parts of `cut`."""
    pending = bytearray()
    for at, piece in _pieces(view, start):
        if at >= stop:
            break
        length = len(piece) if isinstance(piece, bytes) else piece.size_bytes
        first, last = max(start - at, 0), min(stop - at, length)
        if first >= last:
            continue
        if isinstance(piece, bytes):
            pending += piece[first:last]
        if pending and (isinstance(piece, File) or len(pending) >= _LITERAL_BYTES):
            yield Literal(bytes(pending))
            pending.clear()
        if isinstance(piece, File):
            yield BlobSpan(piece.sha256, first, last - first)
    if pending:
        yield Literal(bytes(pending))


def _pieces(view: ZipView, start: int) -> Iterator[tuple[int, bytes | File]]:
    """Each record and each member's content with its place, from the one that `start` is in."""
    directory = view.starts[-1]
    for n in range(max(bisect_right(view.starts, start) - 1, 0), len(view.files)):
        file = view.files[n]
        header = _local(file)
        yield view.starts[n], header
        yield view.starts[n] + len(header), file
    for n in range(max(bisect_right(view.entries, start - directory) - 1, 0), len(view.files)):
        yield directory + view.entries[n], _entry(view.files[n], view.starts[n])
    yield directory + view.entries[-1], _end(view)


def _local(file: File) -> bytes:
    """The local header of a member (APPNOTE 4.3.7)."""
    name = file.path.encode("utf-8")
    crc32, extra = file.crc32, ZIP64_LOCAL.size
    fixed = LOCAL.pack(_VERSION, UTF8, STORED, _TIME, _DATE, crc32, FULL32, FULL32, len(name), extra)
    zip64 = ZIP64_LOCAL.pack(ZIP64_EXTRA, ZIP64_LOCAL.size - 4, file.size_bytes, file.size_bytes)
    return LOCAL_SIGNATURE + fixed + name + zip64


def _entry(file: File, offset: int) -> bytes:
    """The directory entry of a member (APPNOTE 4.3.12)."""
    name = file.path.encode("utf-8")
    way = (_UNIX | _VERSION, _VERSION, UTF8, STORED, _TIME, _DATE)
    lengths = (len(name), ZIP64_ENTRY.size, 0)
    fixed = ENTRY.pack(*way, file.crc32, FULL32, FULL32, *lengths, 0, 0, _ATTRIBUTES, FULL32)
    zip64 = ZIP64_ENTRY.pack(ZIP64_EXTRA, ZIP64_ENTRY.size - 4, file.size_bytes, file.size_bytes, offset)
    return ENTRY_SIGNATURE + fixed + name + zip64


def _end(view: ZipView) -> bytes:
    """The end records (APPNOTE 4.3.14 to 4.3.16)."""
    count, start, size = len(view.files), view.starts[-1], view.entries[-1]
    end64 = END64.pack(END64_LENGTH, _UNIX | _VERSION, _VERSION, 0, 0, count, count, size, start)
    locator = LOCATOR64.pack(0, start + size, 1)
    end = END.pack(0, 0, FULL16, FULL16, FULL32, FULL32, 0)
    return END64_SIGNATURE + end64 + LOCATOR64_SIGNATURE + locator + END_SIGNATURE + end


def parse_range(header: str | None, size_bytes: int, if_range: str | None, etag: str) -> Range | None:
    """The one range that a request asks for, or `None` when it is to get the whole file (RFC 9110 §14.2).

    A range that is not understood, or several at once, is the whole file: a server may always ignore `Range`.

    Args:
        header: Value of `Range`.
        if_range: Value of `If-Range`; the range counts only if it is `etag`, compared strongly.

    Raises:
        RangeNotSatisfiable: It is understood, and no byte of the file is in it.

    >>> parse_range("bytes=-5", 100, None, '"a"')
    Range(start=95, stop=100)
    """
    if header is None or (if_range is not None and if_range.strip() != etag):
        return None
    unit, _, given = header.partition("=")
    specs = [spec.strip() for spec in given.split(",") if spec.strip()]
    if unit.strip().lower() != "bytes" or len(specs) != 1:
        return None
    first, dash, last = specs[0].partition("-")
    if not dash or not (first or last) or not all(_is_number(number) for number in (first, last) if number):
        return None
    if not first:
        start, stop = size_bytes - min(_number(last), size_bytes), size_bytes
    else:
        start, stop = _number(first), min(_number(last) + 1, size_bytes) if last else size_bytes
        if last and _number(last) < _number(first):
            return None
    if start >= size_bytes:
        raise RangeNotSatisfiable(size_bytes)
    return Range(start, stop)


def _is_number(text: str) -> bool:
    """Whether `text` is digits of ASCII alone."""
    return text.isascii() and text.isdigit()


def _number(text: str) -> int:
    """The value of digits, or something beyond every file: Python refuses to read thousands of digits."""
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) < 20 else 10**20
