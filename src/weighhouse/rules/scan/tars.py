"""TAR archives: every member, whatever wrote them."""

from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.source import View
from weighhouse.rules.scan.verdict import Level, shown

_BLOCK = 512
_MAX_NAME_BYTES = 64 << 10
_LONG_NAME, _LONG_LINK, _PAX = b"L", b"K", b"xg"
_PLAIN, _LINKS, _DEVICES = b"0\x007", b"12", b"346"


def is_tar(head: bytes) -> bool:
    """Whether the first block is the header of a member; the checksum says so, the magic is newer than some archives."""
    return len(head) >= _BLOCK and head[:1] != b"\0" and _checksum(head[:_BLOCK]) == _number(head[148:156])


def _checksum(header: bytes) -> int:
    return sum(header[:148]) + 8 * 32 + sum(header[156:])


def _number(field: bytes) -> int | None:
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None


def scan_tar(view: View, place: Place) -> None:
    """Scans every member; what points or leads out of the archive is named."""
    position, name = 0, None
    while position < view.size:
        header = view.read(position, _BLOCK)
        if not header.strip(b"\0"):
            return
        size = _number(header[124:136]) if len(header) == _BLOCK else None
        if size is None or _checksum(header) != _number(header[148:156]):
            place.add(Level.SUSPICIOUS, "tar-broken", "The TAR is broken or cut off.", position)
            return
        view.budget.spend("members", 1)
        kind, start = header[156:157], position + _BLOCK
        position = start + -(-size // _BLOCK) * _BLOCK
        if kind == _LONG_NAME:
            name = view.read(start, min(size, _MAX_NAME_BYTES)).rstrip(b"\0").decode("utf-8", "backslashreplace")
        elif kind in _PAX:
            name = _pax_path(view.read(start, min(size, _MAX_NAME_BYTES))) or name
        elif kind != _LONG_LINK:
            own = header[:100].partition(b"\0")[0].decode("utf-8", "backslashreplace")
            _scan_member(view, place, name or own, kind, start, size)
            name = None


def _pax_path(records: bytes) -> str | None:
    for record in records.split(b"\n"):
        key, found, value = record.partition(b" ")[2].partition(b"=")
        if found and key == b"path":
            return value.decode("utf-8", "backslashreplace")
    return None


def _scan_member(view: View, place: Place, name: str, kind: bytes, start: int, size: int) -> None:
    parts = name.split("/")
    if ".." in parts or name.startswith("/"):
        place.add(Level.UNSAFE, "tar-path", f"{shown(name)} would be unpacked outside the folder.", start)
    if kind in _LINKS:
        place.add(Level.SUSPICIOUS, "tar-link", f"{shown(name)} is a link.", start)
    elif kind in _DEVICES:
        place.add(Level.UNSAFE, "tar-device", f"{shown(name)} is a device.", start)
    elif kind in _PLAIN and size:
        content = view.part(start, size)
        if content.size < size:
            place.add(Level.SUSPICIOUS, "tar-broken", f"{shown(name)} is cut off.", start)
        place.descend(content, name)
    elif size:
        place.add(Level.SUSPICIOUS, "tar-member", f"{shown(name)} is of a kind that is not read.", start)
