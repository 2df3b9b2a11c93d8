"""A folder as a ZIP, made while it is sent: the length is known first, and no more than a piece is in memory.

Members are STORED, sorted by path and dated alike, so the same files give the same bytes. CRC-32 and sizes follow each
member's bytes (APPNOTE.TXT 4.3.9), so that every file is read once. ZIP64 is used where a number needs it.
"""

import fnmatch
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weighhouse.doors.cli.client import Refused
from weighhouse.rules.paths import PathSet, check_path

# Left out unless everything is asked for: what tools leave beside a model. Hidden files are left out as well.
IGNORED = ("__pycache__", "*.pyc", "*.pyo", "Thumbs.db", "desktop.ini", "__MACOSX", "*.egg-info", "lost+found")
PIECE_BYTES = 256 * 1024
_LIMIT = 0xFFFFFFFF
_ZIP64_VERSION = 45
# APPNOTE.TXT 4.4.4: sizes and CRC follow the bytes (bit 3), the name is UTF-8 (bit 11).
_FLAGS = 0x0808
_DOS_DATE = 0x0021  # 1 January 1980, the earliest there is.
_MODE = (stat.S_IFREG | 0o644) << 16
_MADE_BY = (3 << 8) | _ZIP64_VERSION  # Unix, so that the mode is read as one.


@dataclass(frozen=True)
class Member:
    """A file of the folder, and what it will be called in the ZIP."""

    path: str
    source: Path
    size_bytes: int

    @property
    def name(self) -> bytes:
        """The name as it stands in the ZIP."""
        return self.path.encode()

    @property
    def is_large(self) -> bool:
        """Does its size need ZIP64?"""
        return self.size_bytes >= _LIMIT


def list_members(folder: Path, *, everything: bool = False, ignore: Sequence[str] = ()) -> list[Member]:
    """The files below `folder` that are uploaded, sorted by path.

    Links to files and folders inside are followed.

    Args:
        folder: Where to look.
        everything: Hidden files and `IGNORED` too.
        ignore: Further patterns, matched against each name and against the whole path.

    Raises:
        Refused: There is no file, or one that cannot or should not be sent.
        BadPath: A file has a path that a package cannot hold.
    """
    patterns = (*ignore, *(() if everything else (".*", *IGNORED)))
    root = folder.resolve()
    paths = PathSet()
    found = sorted(_walk(root, "", root, (root,), patterns), key=lambda member: member.path)
    if not found:
        raise Refused(f"{folder} holds no files to upload. Hidden files are taken with --all.")
    for member in found:
        # What the registry would refuse after the last byte is refused before the first.
        check_path(member.path)
        paths.add(member.path)
    paths.close()
    return found


def _walk(folder: Path, prefix: str, root: Path, above: tuple[Path, ...], patterns: Sequence[str]) -> Iterator[Member]:
    for entry in folder.iterdir():
        path = prefix + entry.name
        if any(fnmatch.fnmatchcase(entry.name, one) or fnmatch.fnmatchcase(path, one) for one in patterns):
            continue
        target = _inside(entry, path, root)
        status = target.stat()
        if stat.S_ISDIR(status.st_mode):
            if target in above:
                raise Refused(f"{path} is a link to a folder that holds it. Remove it or leave it out with --ignore.")
            yield from _walk(target, path + "/", root, (*above, target), patterns)
        elif stat.S_ISREG(status.st_mode):
            yield Member(path, target, status.st_size)
        else:
            raise Refused(f"{path} is neither a file nor a folder. Remove it or leave it out with --ignore.")


def _inside(entry: Path, path: str, root: Path) -> Path:
    if not entry.is_symlink():
        return entry
    try:
        target = entry.resolve(strict=True)
    except (OSError, RuntimeError):
        raise Refused(f"{path} is a link to nothing. Remove it or leave it out with --ignore.") from None
    if not target.is_relative_to(root):
        raise Refused(
            f"{path} is a link that leaves the folder, to {target}. Put the file itself there, for instance with "
            "`cp -rL`, or leave it out with --ignore."
        )
    return target


def zip_bytes(members: Sequence[Member]) -> int:
    """The length of the ZIP that `stream_zip` makes.

    >>> zip_bytes([])
    22
    """
    start = directory = 0
    for member in members:
        directory += len(_directory_entry(member, 0, start))
        start += len(_local_header(member)) + member.size_bytes + len(_descriptor(member, 0))
    return start + directory + len(_end(len(members), directory, start))


def stream_zip(members: Sequence[Member], moved: Callable[[int], None]) -> Iterator[bytes]:
    """The ZIP of `members`, piece by piece.

    Args:
        members: What goes in, in this order.
        moved: Told how many bytes each piece had.

    Raises:
        Refused: A file is not as long as it was when it was listed.
    """

    def counted(piece: bytes) -> bytes:
        moved(len(piece))
        return piece

    directory = bytearray()
    start = 0
    for member in members:
        header = _local_header(member)
        yield counted(header)
        crc = 0
        for piece in read_pieces(member):
            crc = zlib.crc32(piece, crc)
            yield counted(piece)
        descriptor = _descriptor(member, crc)
        yield counted(descriptor)
        directory += _directory_entry(member, crc, start)
        start += len(header) + member.size_bytes + len(descriptor)
    yield counted(bytes(directory) + _end(len(members), len(directory), start))


def read_pieces(member: Member) -> Iterator[bytes]:
    """The file's bytes.

    Raises:
        Refused: The file is not as long as it was when it was listed.
    """
    left = member.size_bytes
    with member.source.open("rb") as file:
        while piece := file.read(min(PIECE_BYTES, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            yield piece
    if left:
        raise Refused(f"{member.path} changed while it was being read. Wait until nothing writes to it and try again.")


def _local_header(member: Member) -> bytes:
    # With bit 3 the CRC and sizes here are zero; a member whose sizes will need eight bytes says so by its extra field.
    extra = struct.pack("<HHQQ", 1, 16, 0, 0) if member.is_large else b""
    short_size = _LIMIT if member.is_large else 0
    version = _ZIP64_VERSION if member.is_large else 20
    fields = (0x04034B50, version, _FLAGS, 0, 0, _DOS_DATE, 0, short_size, short_size, len(member.name), len(extra))
    return struct.pack("<LHHHHHLLLHH", *fields) + member.name + extra


def _descriptor(member: Member, crc: int) -> bytes:
    layout = "<LLQQ" if member.is_large else "<LLLL"
    return struct.pack(layout, 0x08074B50, crc, member.size_bytes, member.size_bytes)


def _directory_entry(member: Member, crc: int, start: int) -> bytes:
    wide = ([member.size_bytes] * 2 if member.is_large else []) + ([start] if start >= _LIMIT else [])
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    short_size = _LIMIT if member.is_large else member.size_bytes
    version = _ZIP64_VERSION if wide else 20
    fixed = (0x02014B50, _MADE_BY, version, _FLAGS, 0, 0, _DOS_DATE, crc, short_size, short_size)
    rest = (len(member.name), len(extra), 0, 0, 0, _MODE, min(start, _LIMIT))
    return struct.pack("<LHHHHHHLLLHHHHHLL", *fixed, *rest) + member.name + extra


def _end(count: int, directory_bytes: int, start: int) -> bytes:
    fields = (min(count, 0xFFFF), min(count, 0xFFFF), min(directory_bytes, _LIMIT), min(start, _LIMIT))
    end = struct.pack("<LHHHHLLH", 0x06054B50, 0, 0, *fields, 0)
    if count < 0xFFFF and directory_bytes < _LIMIT and start < _LIMIT:
        return end
    wide = struct.pack(
        "<LQHHLLQQQQ", 0x06064B50, 44, _MADE_BY, _ZIP64_VERSION, 0, 0, count, count, directory_bytes, start
    )
    return wide + struct.pack("<LLQL", 0x07064B50, 0, start + directory_bytes, 1) + end


def form_parts(fields: Sequence[tuple[str, str]], filename: str, boundary: str) -> tuple[bytes, bytes]:
    """What stands before and after the file in a multipart form; the text fields come first.

    A server can refuse a name or a version before the first byte of the file, and read the form in one pass.
    """
    head = bytearray()
    for name, value in fields:
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    # The HTML standard's way to write a filename: these three are percent-encoded, nothing else is.
    quoted = filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'.encode()
    head += b"Content-Type: application/zip\r\n\r\n"
    return bytes(head), f"\r\n--{boundary}--\r\n".encode()


def file_member(path: Path) -> Member:
    """A ZIP that already is one, as the only thing to read.

    Raises:
        Refused: It is no regular file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{path} is neither a folder nor a ZIP file.")
    return Member(path.name, path, status.st_size)
