"""The records of a ZIP file (PKWARE APPNOTE 6.3.10), as bytes and as values that can be trusted alone.

Here is what one record must be by itself. That the records agree with each other is the reader's to see.
"""

import stat
import struct
import zlib
from typing import NamedTuple

from weighhouse.rules.errors import Malformed
from weighhouse.rules.paths import shown

LOCAL_SIGNATURE = b"PK\x03\x04"
ENTRY_SIGNATURE = b"PK\x01\x02"
DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
END_SIGNATURE = b"PK\x05\x06"
END64_SIGNATURE = b"PK\x06\x06"
LOCATOR64_SIGNATURE = b"PK\x06\x07"

# Each without its signature. Names follow APPNOTE 4.3.7, 4.3.12, 4.3.16, 4.3.14 and 4.3.15.
LOCAL = struct.Struct("<5H3I2H")
ENTRY = struct.Struct("<6H3I5H2I")
END = struct.Struct("<4H2IH")
END64 = struct.Struct("<Q2H2I4Q")
LOCATOR64 = struct.Struct("<IQI")
DESCRIPTOR = struct.Struct("<4s3I")
DESCRIPTOR64 = struct.Struct("<4sI2Q")

# The ZIP64 extra block with its id and length: sizes in a local header, sizes and offset in an entry.
ZIP64_LOCAL = struct.Struct("<2H2Q")
ZIP64_ENTRY = struct.Struct("<2H3Q")

# END64 counts its bytes after this very field.
END64_LENGTH = END64.size - 8

STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIBED, UTF8 = 1 << 0, 1 << 3, 1 << 11
# Bits 1 and 2 tell how hard a deflater tried.
_KNOWN_FLAGS = 0b110 | DESCRIBED | UTF8

# Version 6.3, the last that adds anything.
_NEWEST = 63

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF

ZIP64_EXTRA = 0x0001
_NAME_EXTRA = 0x7075
# PKWARE Unix and ASi Unix can carry the target of a link.
_LINK_EXTRAS = (0x000D, 0x756E)
_DOS_DIRECTORY = 0x10


class BadArchive(Malformed):
    """The file is not a ZIP that every program reads alike."""

    def __init__(self, reason: str, entry: bytes | None = None, *, advice: str = "Make the ZIP again.") -> None:
        self.entry = None if entry is None else shown(entry)
        what = "The ZIP" if entry is None else f"The entry {self.entry}"
        super().__init__(f"{what} {reason}. {advice}")


class Header(NamedTuple):
    """What a local header, or an entry of the directory, says about a member.

    Args:
        name: Bytes of its name, with the `/` that marks a directory.
        packed: Bytes that it has in the archive.
        unpacked: Bytes that it has as a file.
    """

    name: bytes
    flags: int
    method: int
    crc32: int
    packed: int
    unpacked: int


def read_local(fixed: bytes, name: bytes, extra: bytes) -> Header:
    """The local header of a member.

    Raises:
        BadArchive: It uses what the registry does not take, or contradicts itself.
    """
    version, flags, method, _, _, crc32, packed, unpacked, _, _ = LOCAL.unpack(fixed)
    _check_way(name, version, flags, method)
    blocks = _extras(name, extra)
    zip64 = blocks.get(ZIP64_EXTRA)
    if zip64 is not None:
        # APPNOTE 4.5.3: in a local header the block has both sizes.
        if len(zip64) != 16:
            raise BadArchive("has a ZIP64 block of the wrong length", name)
        long_unpacked, long_packed = struct.unpack("<2Q", zip64)
        unpacked = _widened(name, unpacked, long_unpacked)
        packed = _widened(name, packed, long_packed)
    elif FULL32 in (packed, unpacked):
        raise BadArchive("says that its size is in a ZIP64 block, and has none", name)
    return Header(name, flags, method, crc32, packed, unpacked)


def read_entry(fixed: bytes, name: bytes, extra: bytes) -> tuple[Header, int]:
    """An entry of the directory, and where it says that the member's local header begins.

    Raises:
        BadArchive: It uses what the registry does not take, or contradicts itself.
    """
    _, version, flags, method, _, _, crc32, packed, unpacked, _, _, _, disk, _, attributes, offset = ENTRY.unpack(fixed)
    _check_way(name, version, flags, method)
    _check_kind(name, attributes)
    zip64 = _extras(name, extra).get(ZIP64_EXTRA)
    sizes = [unpacked, packed, offset]
    long = [at for at, value in enumerate(sizes) if value == FULL32]
    # APPNOTE 4.5.3: the block has those fields that are full, in this order, and no other.
    if (len(zip64) if zip64 is not None else 0) != 8 * len(long):
        raise BadArchive("has a ZIP64 block that does not fit its fields", name)
    for at, value in zip(long, struct.unpack(f"<{len(long)}Q", zip64 or b""), strict=True):
        sizes[at] = value
    if disk:
        raise BadArchive("is on another disk of a split ZIP", name)
    unpacked, packed, offset = sizes
    return Header(name, flags, method, crc32, packed, unpacked), offset


def descriptor_length(record: bytes, crc32: int, packed: int, unpacked: int) -> int:
    """Bytes of the data descriptor that `record` begins with; 0 when it has not these values.

    Args:
        record: At least as many bytes as a descriptor with long sizes.
    """
    # The long form first: a short one never reads as it, because a signature follows where zeros would have to be.
    if record.startswith(DESCRIPTOR64.pack(DESCRIPTOR_SIGNATURE, crc32, packed, unpacked)):
        return DESCRIPTOR64.size
    if max(packed, unpacked) > FULL32:
        return 0
    short = DESCRIPTOR.pack(DESCRIPTOR_SIGNATURE, crc32, packed, unpacked)
    return DESCRIPTOR.size if record.startswith(short) else 0


def _check_way(name: bytes, version: int, flags: int, method: int) -> None:
    """Refuse what hides the bytes or the name of a member from a plain reader."""
    # The upper byte tells the system, in some writers.
    if version & 0xFF > _NEWEST:
        raise BadArchive(f"asks for version {version & 0xFF} of the ZIP format, which no program knows", name)
    if flags & ENCRYPTED or method == 99:
        raise BadArchive("is encrypted", name, advice="Make the ZIP again without a password.")
    if method not in (STORED, DEFLATED):
        raise BadArchive(f"is compressed by method {method}", name, advice="Use deflate, or store it.")
    if flags & ~_KNOWN_FLAGS:
        raise BadArchive(f"sets flags ({flags:#06x}) that the registry does not know", name)
    if not flags & UTF8 and not name.isascii():
        advice = "Rename the file, or make the ZIP with a program that sets it, such as Python's zipfile."
        raise BadArchive("has a name beyond ASCII without the flag that says it is UTF-8", name, advice=advice)


def _check_kind(name: bytes, attributes: int) -> None:
    """Refuse what is neither a plain file nor a directory, whatever system the archive says it is from."""
    mode, is_dir = attributes >> 16, name.endswith(b"/")
    if stat.S_IFMT(mode) not in (0, stat.S_IFDIR if is_dir else stat.S_IFREG):
        raise BadArchive("is a link, a device, or not what its name says", name, advice="Pack plain files only.")
    # A directory is not kept, and shared folders commonly hand their group down.
    if mode & (stat.S_ISUID | stat.S_ISGID) and not is_dir:
        raise BadArchive("would run with the rights of its owner (set-id bits)", name)
    if attributes & _DOS_DIRECTORY and not is_dir:
        raise BadArchive("is marked as a directory, and its name says that it is a file", name)


def _extras(name: bytes, extra: bytes) -> dict[int, bytes]:
    """The blocks of an extra field by their id."""
    blocks: dict[int, bytes] = {}
    at = 0
    while at < len(extra):
        end = at + 4
        if end <= len(extra):
            block, length = struct.unpack_from("<2H", extra, at)
            end += length
        if end > len(extra):
            raise BadArchive("has an extra field that ends early", name)
        if block in blocks:
            raise BadArchive(f"has two extra blocks of one kind ({block:#06x})", name)
        blocks[block] = extra[at + 4 : end]
        at = end
    if any(block in blocks for block in _LINK_EXTRAS):
        raise BadArchive("has a block that can hold the target of a link", name)
    if (unicode_name := blocks.get(_NAME_EXTRA)) is not None:
        _check_unicode_name(name, unicode_name)
    return blocks


def _check_unicode_name(name: bytes, block: bytes) -> None:
    """APPNOTE 4.6.9: version 1, the CRC of the name it stands for, the name in UTF-8; here only the same name."""
    if block != b"\x01" + zlib.crc32(name).to_bytes(4, "little") + name:
        raise BadArchive("has a second name that differs from its first", name)


def _widened(name: bytes, short: int, long: int) -> int:
    """The value of a field that also stands in a ZIP64 block."""
    if short not in (FULL32, long):
        raise BadArchive("has one size in its header and another in its ZIP64 block", name)
    return long
