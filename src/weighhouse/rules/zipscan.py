"""Reads a ZIP while it arrives: one pass forward, in bounded memory, and only a ZIP that every reader reads alike.

Readers differ: some walk the local headers, some trust the directory at the end, some search backwards for it.
An archive is taken when all three see the same files. So local headers follow each other from the first byte
without a gap, each has exactly one entry in the directory that agrees with it, and the file ends with the directory.
"""

import re
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from weighhouse.rules.errors import TooLarge
from weighhouse.rules.paths import PathSet, member_path
from weighhouse.rules.ziprecords import (
    DEFLATED,
    DESCRIBED,
    DESCRIPTOR64,
    DESCRIPTOR_SIGNATURE,
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
    BadArchive,
    Header,
    descriptor_length,
    read_entry,
    read_local,
)

# Packed bytes given to zlib at once: it copies what it leaves over, so a small slice keeps small members cheap.
_PACKED_SLICE = 64 * 1024
_UNPACKED_SLICE = 1024 * 1024

_DESCRIPTOR = re.compile(re.escape(DESCRIPTOR_SIGNATURE))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold.

    Args:
        entries: Files and directories in all.
        unpacked_bytes: Sum of all files.
        ratio: Unpacked bytes for each byte of the archive so far, once `ratio_from_bytes` are unpacked.
    """

    entries: int = 50_000
    unpacked_bytes: int = 128 * 1024**3
    ratio: int = 1_000
    ratio_from_bytes: int = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class MemberBegins:
    """A file or directory begins. Its path is fit to be kept."""

    path: str
    is_dir: bool


@dataclass(frozen=True, slots=True)
class MemberBytes:
    """The next bytes of the file that began last. They may be a view of what was fed: use them before feeding more."""

    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class MemberEnds:
    """The file or directory that began last is complete, and its checksum is right."""

    path: str
    is_dir: bool
    size_bytes: int
    crc32: int


Event = MemberBegins | MemberBytes | MemberEnds


@dataclass(frozen=True, slots=True)
class Summary:
    """What a whole archive held."""

    files: int
    directories: int
    unpacked_bytes: int
    archive_bytes: int


class UnpacksTooFar(TooLarge):
    """The ZIP holds more than this server unpacks."""


# Yields an event, or nothing when it has used up what was fed.
_Steps = Generator[Event | None, None, None]


class ZipScan:
    """The files of a ZIP that arrives piece by piece.

    Example:
        for event in scan.feed(piece): ...        # for each piece, to its end
        summary = scan.close()                    # only now is the archive known to be sound

    Whatever came out before `close` may yet turn out to be part of a bad archive: keep it aside until then.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._view = memoryview(b"")
        self._at = 0
        self._base = 0
        self._unpacked = 0
        self._files = 0
        self._directories = 0
        self._members: dict[int, Header] = {}
        self._paths = PathSet()
        self._is_whole = False
        self._steps = self._archive()
        self._is_hungry = next(self._steps) is None

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Event]:
        """What the next bytes of the archive bring, in the order of the archive. Go through all of it.

        Raises:
            BadArchive: The bytes are no ZIP, or one that readers read differently.
            BadPath: A member has a path that a package cannot hold.
            UnpacksTooFar: The members are too large, alone or for the size of the archive.
            ValueError: The events of the bytes before were not gone through.
        """
        if not self._is_hungry:
            raise ValueError("Go through all events of one feed before the next.")
        self._is_hungry = False
        self._base += len(self._view)
        self._view, self._at = memoryview(data).cast("B"), 0
        while (event := next(self._steps)) is not None:
            yield event
        self._is_hungry = True

    def close(self) -> Summary:
        """What the archive held, once all of it was fed.

        Raises:
            BadArchive: Its end is missing.
            ValueError: The events of the bytes before were not gone through, or ended in an error.
        """
        if not self._is_hungry:
            raise ValueError("Go through all events of the last feed before closing.")
        if not self._is_whole:
            raise BadArchive("ends early", advice="The upload was cut off, or the file is not whole: send it again.")
        return Summary(self._files, self._directories, self._unpacked, self._position)

    @property
    def _position(self) -> int:
        """Bytes of the archive that are behind us."""
        return self._base + self._at

    # Taking bytes

    def _more(self) -> _Steps:
        """Wait until there is a byte to use."""
        while self._at == len(self._view):
            yield None

    def _take(self, count: int) -> Generator[Event | None, None, bytes]:
        """The next `count` bytes."""
        taken = bytes(self._view[self._at : self._at + count])
        self._at += len(taken)
        if len(taken) < count:
            pieces = bytearray(taken)
            while len(pieces) < count:
                yield from self._more()
                piece = self._view[self._at : self._at + count - len(pieces)]
                self._at += len(piece)
                pieces += piece
            taken = bytes(pieces)
        return taken

    def _peek(self, count: int) -> Generator[Event | None, None, bytes]:
        """The next `count` bytes, which stay where they are."""
        seen = yield from self._take(count)
        if self._at >= count:
            self._at -= count
        else:
            # They began in an earlier piece: put them in front of this one.
            self._base = self._position - count
            self._view, self._at = memoryview(seen + bytes(self._view[self._at :])), 0
        return seen

    # The three parts of an archive

    def _archive(self) -> _Steps:
        signature = yield from self._take(4)
        if signature not in (LOCAL_SIGNATURE, END_SIGNATURE, END64_SIGNATURE):
            raise BadArchive("does not begin like one", advice="Upload a .zip file.")
        while signature == LOCAL_SIGNATURE:
            yield from self._member()
            signature = yield from self._take(4)
        if signature not in (ENTRY_SIGNATURE, END_SIGNATURE, END64_SIGNATURE):
            raise BadArchive("has something between its files, its directory and its end")
        if not self._files:
            raise BadArchive("holds no file", advice="Put the package's files into it.")
        self._paths.close()
        yield from self._directory(signature)
        self._is_whole = True
        yield from self._more()
        raise BadArchive("goes on after its end")

    def _member(self) -> _Steps:
        start = self._position - 4
        fixed = yield from self._take(LOCAL.size)
        *_, name_length, extra_length = LOCAL.unpack(fixed)
        name = yield from self._take(name_length)
        extra = yield from self._take(extra_length)
        header = read_local(fixed, name, extra)
        is_dir = name.endswith(b"/")
        path = member_path(name[:-1] if is_dir else name)
        self._paths.add(path, is_dir=is_dir)
        if len(self._members) == self._limits.entries:
            raise BadArchive(f"has more than {self._limits.entries} entries")
        yield MemberBegins(path, is_dir)
        found = yield from self._content(header)
        if is_dir and found.unpacked:
            raise BadArchive("is a directory with content", name)
        self._members[start] = found
        self._files += not is_dir
        self._directories += is_dir
        yield MemberEnds(path, is_dir, found.unpacked, found.crc32)

    def _content(self, header: Header) -> Generator[Event | None, None, Header]:
        """What the member that `header` announces really is."""
        is_open = bool(header.flags & DESCRIBED)
        if header.method == DEFLATED:
            crc32, packed, unpacked = yield from self._inflate(header.name, None if is_open else header.packed)
        elif is_open:
            crc32, packed = yield from self._copy_described()
            unpacked = packed
        else:
            crc32, packed = yield from self._copy(header.packed)
            unpacked = packed
        found = header._replace(crc32=crc32, packed=packed, unpacked=unpacked)
        if is_open:
            record = yield from self._peek(DESCRIPTOR64.size)
            length = descriptor_length(record, crc32, packed, unpacked)
            if not length:
                raise BadArchive("has a data descriptor that is not true of its bytes", header.name)
            self._at += length
        for said, true in zip(header[3:], found[3:], strict=True):
            # Writers that learn the values afterwards leave zeros here; some put in what they know.
            if said != true and not (is_open and said == 0):
                raise BadArchive("has another size or checksum (CRC) than its header says", header.name)
        return found

    def _directory(self, signature: bytes) -> _Steps:
        start = self._position - 4
        count = len(self._members)
        while signature == ENTRY_SIGNATURE:
            fixed = yield from self._take(ENTRY.size)
            name_length, extra_length, comment_length = ENTRY.unpack(fixed)[9:12]
            rest = yield from self._take(name_length + extra_length + comment_length)
            name, extra = rest[:name_length], rest[name_length : name_length + extra_length]
            if END_SIGNATURE in rest:
                raise BadArchive("holds something that looks like the end of a ZIP", name)
            entry, offset = read_entry(fixed, name, extra)
            member = self._members.pop(offset, None)
            if member is None:
                raise BadArchive("is in the directory, and its file is not where that says, or is there twice", name)
            if member != entry:
                raise BadArchive("has a local header and a directory entry that disagree", name)
            signature = yield from self._take(4)
        if self._members:
            raise BadArchive(
                "is missing in the directory at the end of the ZIP", next(iter(self._members.values())).name
            )
        yield from self._end(signature, count, start)

    def _end(self, signature: bytes, count: int, start: int) -> _Steps:
        """The end records.

        Args:
            count: Entries of the directory.
            start: Where it begins.
        """
        here = self._position - 4
        size = here - start
        has_zip64 = signature == END64_SIGNATURE
        if has_zip64:
            length, _, _, *disks, disk_count, total, said_size, said_start = END64.unpack(
                (yield from self._take(END64.size))
            )
            if (length, disks, disk_count, total) != (END64_LENGTH, [0, 0], count, count):
                raise BadArchive("has a ZIP64 end record that does not fit its directory")
            if (said_size, said_start) != (size, start):
                raise BadArchive("has a ZIP64 end record that points beside its directory")
            locator = yield from self._take(4 + LOCATOR64.size)
            if locator != LOCATOR64_SIGNATURE + LOCATOR64.pack(0, here, 1):
                raise BadArchive("has a ZIP64 end record that is not where its locator says")
            signature = yield from self._take(4)
        if signature != END_SIGNATURE:
            raise BadArchive("has something between its files, its directory and its end")
        *said, comment_length = END.unpack((yield from self._take(END.size)))
        true = [(0, FULL16), (0, FULL16), (count, FULL16), (count, FULL16), (size, FULL32), (start, FULL32)]
        for value, (small, full) in zip(said, true, strict=True):
            if value != small and not (has_zip64 and value == full):
                raise BadArchive("has an end record that does not fit its directory")
        comment = yield from self._take(comment_length)
        if any(mark in comment for mark in (END_SIGNATURE, LOCATOR64_SIGNATURE, END64_SIGNATURE)):
            raise BadArchive("has a comment that looks like the end of another ZIP")

    # The bytes of one member

    def _count(self, data: bytes | memoryview) -> MemberBytes:
        """`data` as an event, within the limits."""
        self._unpacked += len(data)
        if self._unpacked > self._limits.unpacked_bytes:
            raise UnpacksTooFar(f"The ZIP unpacks to more than {self._limits.unpacked_bytes} bytes. Split the package.")
        if self._unpacked > max(self._limits.ratio_from_bytes, self._limits.ratio * self._position):
            raise UnpacksTooFar(
                f"The ZIP unpacks to more than {self._limits.ratio} times its size. Store its files uncompressed."
            )
        return MemberBytes(data)

    def _copy(self, size: int) -> Generator[Event | None, None, tuple[int, int]]:
        """CRC and size of `size` stored bytes."""
        crc32, left = 0, size
        while left:
            yield from self._more()
            piece = self._view[self._at : self._at + left]
            self._at += len(piece)
            left -= len(piece)
            crc32 = zlib.crc32(piece, crc32)
            yield self._count(piece)
        return crc32, size

    def _copy_described(self) -> Generator[Event | None, None, tuple[int, int]]:
        """CRC and size of the stored bytes before the descriptor that has just these."""
        crc32 = size = 0
        while True:
            yield from self._more()
            safe, crc32, is_end = _before_descriptor(self._view[self._at :], crc32, size)
            if safe:
                piece = self._view[self._at : self._at + safe]
                self._at += safe
                size += safe
                yield self._count(piece)
            if is_end:
                return crc32, size
            if self._at < len(self._view):
                # The piece ends within what may be the descriptor: join it with the next.
                yield from self._peek(DESCRIPTOR64.size)

    def _inflate(self, name: bytes, size: int | None) -> Generator[Event | None, None, tuple[int, int, int]]:
        """CRC, packed and unpacked size of deflated bytes.

        Args:
            size: Packed bytes by the header; `None` when the stream itself tells its end.
        """
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        crc32 = packed = unpacked = 0
        while not inflater.eof:
            room = _PACKED_SLICE if size is None else min(_PACKED_SLICE, size - packed)
            if room:
                yield from self._more()
            piece = self._view[self._at : self._at + room]
            try:
                data = inflater.decompress(piece, _UNPACKED_SLICE)
            except zlib.error:
                raise BadArchive("is not validly compressed", name) from None
            used = len(piece) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
            self._at += used
            packed += used
            if data:
                unpacked += len(data)
                crc32 = zlib.crc32(data, crc32)
                yield self._count(data)
            elif not room and not inflater.eof:
                raise BadArchive("has compressed bytes that end early", name)
        if size not in (None, packed):
            raise BadArchive("has more bytes than its compressed content", name)
        return crc32, packed, unpacked


def _before_descriptor(view: memoryview, crc32: int, size: int) -> tuple[int, int, bool]:
    """How many bytes of `view` are content, the CRC with them, and whether the descriptor follows right there.

    Args:
        crc32: CRC of the content before `view`.
        size: Bytes of the content before `view`.
    """
    done = 0
    for match in _DESCRIPTOR.finditer(view):
        at = match.start()
        record = bytes(view[at : at + DESCRIPTOR64.size])
        if len(record) < DESCRIPTOR64.size:
            return at, zlib.crc32(view[done:at], crc32), False
        # Compare sizes first: content full of signatures must not cost a CRC and a record each.
        if record[8:12] != ((size + at) & FULL32).to_bytes(4, "little"):
            continue
        crc32 = zlib.crc32(view[done:at], crc32)
        done = at
        if descriptor_length(record, crc32, size + at, size + at):
            return at, crc32, True
    end = len(view)
    tail = next((n for n in (3, 2, 1) if view[end - n :] == DESCRIPTOR_SIGNATURE[:n]), 0)
    return end - tail, zlib.crc32(view[done : end - tail], crc32), False
