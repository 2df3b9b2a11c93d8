"""ZIP archives as hostile readers read them: by the directory at the end, whatever the local headers say."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from weighhouse.rules.scan.compressed import CODECS, unpack
from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.source import Broken, View, need
from weighhouse.rules.scan.verdict import Level, shown

_TAIL_BYTES = (1 << 16) + 22
_DIRECTORY_BYTES = 16 << 20
_MAX_ENTRIES = 50_000
_STORED, _DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as the directory describes it."""

    name: str
    method: int
    encrypted: bool
    packed: int
    size: int
    header: int


def find_directory(view: View) -> tuple[int, int] | None:
    """Start and length of the directory, or `None` when the file does not end like a ZIP."""
    tail_start = max(0, view.size - _TAIL_BYTES)
    tail = view.read(tail_start, _TAIL_BYTES)
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        record = tail[at : at + 22]
        if len(record) == 22:
            length, offset = struct.unpack("<II", record[12:20])
            end = tail_start + at
            if 0xFFFFFFFF in (length, offset) or tail[max(0, at - 20) : at - 16] == b"PK\6\7":
                end, length = _wide_directory(view, end, length)
            start = end - length
            if start >= 0 and (length == 0 or view.read(start, 4) == b"PK\1\2"):
                return start, length
        at = tail.rfind(b"PK\5\6", 0, at)
    return None


def _wide_directory(view: View, end: int, length: int) -> tuple[int, int]:
    locator = view.read(end - 20, 20)
    if locator[:4] == b"PK\6\7":
        # Where the record says it is, or, with something put before the ZIP, right before its locator.
        for at in (struct.unpack("<Q", locator[8:16])[0], end - 76):
            record = view.read(at, 56)
            if len(record) == 56 and record[:4] == b"PK\6\6":
                return at, struct.unpack("<Q", record[40:48])[0]
    return end, length


def read_entries(view: View, start: int, length: int) -> Sequence[Entry]:
    """The members, in the order of the directory.

    Raises:
        Broken: The directory contradicts itself, or is too large.
    """
    if length > _DIRECTORY_BYTES:
        raise Broken("The directory of the ZIP is too large.", start)
    directory = view.part(start, length).read(0, length)
    entries: list[Entry] = []
    at = 0
    while at < length:
        if directory[at : at + 4] != b"PK\1\2" or at + 46 > length:
            raise Broken("The directory of the ZIP is broken.", start + at)
        if len(entries) >= _MAX_ENTRIES:
            raise Broken("The ZIP has too many members.", start + at)
        flags, method = struct.unpack("<HH", directory[at + 8 : at + 12])
        packed, size, names, extras, comment = struct.unpack("<IIHHH", directory[at + 20 : at + 34])
        (header,) = struct.unpack("<I", directory[at + 42 : at + 46])
        name = directory[at + 46 : at + 46 + names]
        extra = directory[at + 46 + names : at + 46 + names + extras]
        size, packed, header = _wide_sizes(extra, size, packed, header)
        entries.append(Entry(name.decode("utf-8", "backslashreplace"), method, bool(flags & 1), packed, size, header))
        at += 46 + names + extras + comment
    return entries


def _wide_sizes(extra: bytes, *values: int) -> Sequence[int]:
    found, at = list(values), 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[at : at + 4])
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF and len(field) >= 8:
                    found[index], field = int.from_bytes(field[:8], "little"), field[8:]
        at += 4 + length
    return found


def scan_zip(view: View, place: Place) -> None:
    """Scans every member; the raw storages of a PyTorch archive by their presence only."""
    directory = find_directory(view)
    if directory is None:
        place.add(Level.SUSPICIOUS, "zip-broken", "The ZIP has no directory; it is cut off or broken.")
        return
    try:
        entries = read_entries(view, *directory)
    except Broken as error:
        place.add(Level.SUSPICIOUS, "zip-broken", str(error), error.position)
        return
    # Names in the directory count from where the ZIP begins, which need not be the start of the file.
    shift = _shift(view, entries, directory[0])
    if shift:
        place.add(Level.SUSPICIOUS, "zip-prefix", "There is something else before the ZIP.")
    names = {entry.name for entry in entries}
    if len(names) < len(entries):
        place.add(Level.SUSPICIOUS, "zip-names", "The ZIP has two members of one name.")
    roots = {name.removesuffix("data.pkl") for name in names if name.endswith("data.pkl")}
    if (
        any(name.endswith("constants.pkl") or ("/code/" in f"/{name}" and name.endswith(".py")) for name in names)
        and roots
    ):
        place.add(
            Level.SUSPICIOUS, "torchscript", "The archive holds a TorchScript program, which runs when it is loaded."
        )
    _report_overlaps(entries, place)
    seen: set[tuple[int, int, int]] = set()
    for entry in entries:
        # Any number of members may be one and the same bytes; once is enough.
        if (span := (entry.header, entry.packed, entry.method)) in seen:
            continue
        seen.add(span)
        raw = any(entry.name.startswith(f"{root}data/") and entry.name.rpartition("/")[2].isdigit() for root in roots)
        _scan_entry(view, place, entry, shift, raw=raw)


def _shift(view: View, entries: Sequence[Entry], directory_start: int) -> int:
    if not entries or view.read(entries[0].header, 4) == b"PK\3\4":
        return 0
    ends = [entry.header + 30 + entry.packed for entry in entries]
    # The last member ends where the directory starts, but for its name and extra field: look around there.
    near = directory_start - max(ends)
    for shift in range(near, max(-1, near - 4_096), -1):
        if all(view.read(shift + entry.header, 4) == b"PK\3\4" for entry in entries[:8]):
            return shift
    return 0


def _report_overlaps(entries: Sequence[Entry], place: Place) -> None:
    spans = sorted((entry.header, entry.header + 30 + entry.packed) for entry in entries)
    if any(after[0] < before[1] for before, after in pairwise(spans)):
        place.add(Level.SUSPICIOUS, "zip-overlap", "Members of the ZIP overlap.")


def _scan_entry(view: View, place: Place, entry: Entry, shift: int, *, raw: bool) -> None:
    if entry.name.endswith("/") and entry.size == 0:
        return
    name = shown(entry.name)
    if entry.encrypted:
        place.add(Level.SUSPICIOUS, "zip-encrypted", f"{name} says that it is encrypted.", entry.header)
    if _leaves(entry.name):
        place.add(Level.UNSAFE, "zip-path", f"{name} would be unpacked outside the folder.", entry.header)
    try:
        local = need(view, entry.header + shift, 30)
    except Broken:
        local = b""
    if local[:4] != b"PK\3\4":
        place.add(Level.SUSPICIOUS, "zip-broken", f"{name} is not where the ZIP says.", entry.header)
        return
    names, extras = struct.unpack("<HH", local[26:30])
    start = entry.header + shift + 30 + names + extras
    if view.read(entry.header + shift + 30, names).decode("utf-8", "backslashreplace") != entry.name:
        place.add(Level.SUSPICIOUS, "zip-names", f"{name} has another name in its own header.", entry.header)
    if struct.unpack("<H", local[8:10])[0] != entry.method:
        place.add(Level.SUSPICIOUS, "zip-method", f"{name} has another method in its own header.", entry.header)
    content = view.part(start, entry.packed)
    if content.size < entry.packed:
        place.add(Level.SUSPICIOUS, "zip-broken", f"{name} is cut off.", entry.header)
    if raw and entry.method in (_STORED, _DEFLATED):
        return
    if entry.method == _STORED:
        place.descend(content, entry.name)
    elif entry.method == _DEFLATED:
        unpacked, fault = unpack(content, CODECS["deflate"], view.budget)
        if fault:
            place.add(Level.SUSPICIOUS, "compressed-broken", f"{name} cannot be unpacked: {fault}.", entry.header)
        place.descend(unpacked, entry.name)
    else:
        place.add(Level.SUSPICIOUS, "container", f"{name} is packed by a method that is not accepted.", entry.header)


def _leaves(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0][1:2] == ":"
