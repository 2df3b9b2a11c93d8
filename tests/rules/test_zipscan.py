import io
import itertools
import os
import shutil
import stat
import struct
import subprocess
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.make import zip_of
from weighhouse.rules.errors import Malformed, RegistryError, TooLarge
from weighhouse.rules.paths import BadPath
from weighhouse.rules.ziprecords import BadArchive
from weighhouse.rules.zipscan import (
    Event,
    Limits,
    MemberBegins,
    MemberBytes,
    MemberEnds,
    Summary,
    UnpacksTooFar,
    ZipScan,
)

MIB = 1024 * 1024
FILES: dict[str, bytes] = {
    "config.json": b"{}",
    "empty.txt": b"",
    "weights/model.bin": os.urandom(3000),
    "weights/zeros.bin": bytes(5000),
}


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def scan(data: bytes, size: int = 1 << 20, limits: Limits | None = None) -> tuple[dict[str, bytes | None], Summary]:
    """Content of each file and `None` for each directory, fed in pieces of `size`; every event is checked."""
    found: dict[str, bytes | None] = {}
    scanner = ZipScan(limits)
    current: MemberBegins | None = None
    content = bytearray()
    for piece in pieces(data, size):
        for event in scanner.feed(piece):
            match event:
                case MemberBegins(path, _):
                    assert current is None
                    current = event
                    content = bytearray()
                    assert path not in found
                case MemberBytes(part):
                    assert current is not None
                    assert 0 < len(part) <= MIB
                    content += part
                case MemberEnds(path, is_dir, size_bytes, crc32):
                    assert current is not None
                    assert (path, is_dir) == (current.path, current.is_dir)
                    assert (size_bytes, crc32) == (len(content), zlib.crc32(content))
                    found[path] = None if is_dir else bytes(content)
                    current = None
    summary = scanner.close()
    assert current is None
    files = [value for value in found.values() if value is not None]
    assert summary == Summary(len(files), len(found) - len(files), sum(map(len, files)), len(data))
    return found, summary


def error_of(data: bytes, size: int = 1 << 20, limits: Limits | None = None) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        scan(data, size, limits)
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 1000
    return caught.value


# What ordinary programs write


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_a_zip_of_the_standard_library_is_read_in_any_pieces(method: int, is_stream: bool, size: int) -> None:
    data = zip_of({"weights/": b"", **FILES}, method=method, is_stream=is_stream)
    found, _ = scan(data, size)
    assert found == {"weights": None, **FILES}


@given(
    files=st.dictionaries(
        st.from_regex(r"[a-d][a-zé]{0,3}(/[e-h][a-z]{0,3}){0,2}\.[xyz]", fullmatch=True), st.binary(max_size=300)
    ),
    methods=st.lists(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), min_size=1),
    is_stream=st.booleans(),
    sizes=st.lists(st.integers(1, 400), min_size=1),
    embedded=st.booleans(),
)
@settings(deadline=None)
def test_any_zip_of_the_standard_library_gives_exactly_its_members(
    files: dict[str, bytes], methods: list[int], is_stream: bool, sizes: list[int], embedded: bool
) -> None:
    if embedded:
        # Content that is full of the marks a reader looks for.
        files |= {"nested.zip": zip_of({"a": b"PK\x07\x08" * 9, **files}, method=zipfile.ZIP_STORED, is_stream=True)}
    target: io.BytesIO = io.BytesIO()
    pipe = _pipe(target) if is_stream else target
    with zipfile.ZipFile(pipe, "w") as archive:
        for n, (path, content) in enumerate(files.items()):
            archive.writestr(path, content, methods[n % len(methods)])
    data = target.getvalue()
    if not files:
        assert isinstance(error_of(data), Malformed)
        return
    found: dict[str, bytes] = {}
    scanner, at, n = ZipScan(), 0, 0
    while at < len(data):
        piece = data[at : at + sizes[n % len(sizes)]]
        at, n = at + len(piece), n + 1
        for event in scanner.feed(piece):
            if isinstance(event, MemberBegins):
                path = event.path
                found[path] = b""
            elif isinstance(event, MemberBytes):
                found[path] += event.data
    assert scanner.close().files == len(files)
    assert found == files


def _pipe(target: io.BytesIO) -> "zipfile._ZipWritable":
    class Pipe:
        def write(self, data: bytes, /) -> int:
            return target.write(data)

        def flush(self) -> None:
            """Nothing is held back."""

        def close(self) -> None:
            """Nothing is open."""

    return Pipe()


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip64_records_of_the_standard_library_are_read(is_stream: bool, method: int) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(_pipe(target) if is_stream else target, "w", method) as archive:
        for path, content in FILES.items():
            with archive.open(path, "w", force_zip64=True) as member:
                member.write(content)
    assert scan(target.getvalue(), 5)[0] == FILES


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs zip: apt-get install zip")
@pytest.mark.parametrize(
    ("options", "is_piped"),
    # Not `-fz` to a pipe: zip then writes no ZIP64 end record, and unzip refuses it too.
    [("-r -fz", False), *itertools.product(["-r", "-r -0", "-r -fd", "-r -fd -0", "-r -D", "-r -X"], [False, True])],
)
def test_zips_of_info_zip_are_read(tmp_path: Path, options: str, is_piped: bool) -> None:
    (tmp_path / "m" / "weights").mkdir(parents=True)
    for path, content in FILES.items():
        (tmp_path / "m" / path).write_bytes(content)
    target = "-" if is_piped else "out.zip"
    ran = subprocess.run(["zip", "-q", *options.split(), target, "m"], cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    data = ran.stdout if is_piped else (tmp_path / "out.zip").read_bytes()
    files = {path: content for path, content in scan(data, 11)[0].items() if content is not None}
    assert files == {f"m/{path}": content for path, content in FILES.items()}


@pytest.mark.skipif(shutil.which("jar") is None, reason="needs jar: apt-get install default-jdk-headless")
def test_zips_of_java_are_read(tmp_path: Path) -> None:
    (tmp_path / "é.txt").write_bytes(b"x" * 100)
    subprocess.run(["jar", "cf", "out.jar", "é.txt"], cwd=tmp_path, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert scan((tmp_path / "out.jar").read_bytes(), 9)[0]["é.txt"] == b"x" * 100


def test_stored_bytes_are_handed_on_without_a_copy() -> None:
    content = os.urandom(MIB)
    data = zip_of({"a.bin": content}, method=zipfile.ZIP_STORED)
    parts = [event.data for event in ZipScan().feed(data) if isinstance(event, MemberBytes)]
    assert [type(part) for part in parts] == [memoryview]
    assert isinstance(parts[0], memoryview)
    assert parts[0].obj is data


def test_events_come_while_the_archive_is_still_arriving() -> None:
    data = zip_of(FILES, method=zipfile.ZIP_STORED)
    scanner = ZipScan()
    assert list(scanner.feed(data[:41])) == [MemberBegins("config.json", False)]
    assert list(scanner.feed(data[41:43])) == [
        MemberBytes(memoryview(b"{}")),
        MemberEnds("config.json", False, 2, zlib.crc32(b"{}")),
    ]


def test_events_that_were_not_gone_through_are_not_lost_in_silence() -> None:
    scanner = ZipScan()
    next(iter(scanner.feed(zip_of(FILES))))
    with pytest.raises(ValueError, match="Go through"):
        next(iter(scanner.feed(b"more")))
    with pytest.raises(ValueError, match="Go through"):
        scanner.close()


# U1, U2: no ZIP, no whole ZIP


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P",
        b"plain text that is no archive",
        b"\x1f\x8b\x08\x00" + bytes(30),
        b"%PDF-1.7\n",
        b"PK\x07\x08" + zip_of(FILES),
        b"PK\x01\x02" + bytes(60),
        zip_of({}),
        zip_of({"a/": b"", "b/": b""}),
        b"PK\x03\x04" + bytes(100),
    ],
    ids=[
        "empty",
        "one byte",
        "text",
        "gzip",
        "pdf",
        "split mark",
        "directory only",
        "no entry",
        "only folders",
        "zeros",
    ],
)
def test_what_is_no_zip_with_a_file_is_malformed(data: bytes) -> None:
    assert isinstance(error_of(data), Malformed)


def test_a_zip_cut_anywhere_is_malformed() -> None:
    data = zip_of(FILES, is_stream=True, comment=b"made by hand")
    for stop in [*range(0, 200), *range(200, len(data), 37), *range(len(data) - 60, len(data))]:
        assert isinstance(error_of(data[:stop], 64), BadArchive)


# U6: bombs


def test_a_zip_that_unpacks_too_far_is_too_large() -> None:
    limits = Limits(unpacked_bytes=10_000)
    assert scan(zip_of({"a": bytes(10_000)}), limits=limits)[1].unpacked_bytes == 10_000
    assert isinstance(error_of(zip_of({"a": bytes(10_001)}), limits=limits), TooLarge)
    assert isinstance(error_of(zip_of({"a": bytes(6_000), "b": bytes(6_000)}), limits=limits), UnpacksTooFar)
    assert isinstance(error_of(zip_of({"a": bytes(10_001)}, method=zipfile.ZIP_STORED), limits=limits), UnpacksTooFar)


def test_a_ratio_bomb_is_too_large_only_when_it_is_big() -> None:
    bomb = zip_of({"a": bytes(70 * MIB)})
    assert len(bomb) * 1000 < 70 * MIB
    assert isinstance(error_of(bomb), UnpacksTooFar)
    assert scan(zip_of({"a": bytes(64 * MIB)}))[1].files == 1


def test_a_declared_size_is_never_believed() -> None:
    data = bytearray(zip_of({"a": bytes(MIB)}))
    data[22:26] = (10).to_bytes(4, "little")
    assert isinstance(error_of(bytes(data), limits=Limits(unpacked_bytes=1000)), UnpacksTooFar)
    assert isinstance(error_of(bytes(data)), BadArchive)


# U7 to U12, U16: an archive built field by field, one lie at a time


def local(name: bytes, content: bytes, **lie: Any) -> bytes:
    """A local header with content, stored unless `lie` says otherwise."""
    said: dict[str, Any] = {"flags": 0, "method": 0, "crc": zlib.crc32(content), "extra": b"", "body": content}
    said |= {"packed": len(content), "unpacked": len(content), "version": 20} | lie
    way = (said["version"], said["flags"], said["method"], 0, 33)
    sizes = (said["crc"], said["packed"], said["unpacked"], len(name), len(said["extra"]))
    return b"PK\x03\x04" + struct.pack("<5H3I2H", *way, *sizes) + name + bytes(said["extra"]) + bytes(said["body"])


def entry(name: bytes, content: bytes, offset: int = 0, **lie: Any) -> bytes:
    """A directory entry for a stored file, unless `lie` says otherwise."""
    said: dict[str, Any] = {"flags": 0, "method": 0, "crc": zlib.crc32(content), "extra": b"", "comment": b""}
    said |= {"packed": len(content), "unpacked": len(content), "disk": 0, "attributes": 0, "offset": offset} | lie
    way = (20, 20, said["flags"], said["method"], 0, 33, said["crc"], said["packed"], said["unpacked"])
    lengths = (len(name), len(said["extra"]), len(said["comment"]))
    fixed = struct.pack("<6H3I5H2I", *way, *lengths, said["disk"], 0, said["attributes"], said["offset"])
    return b"PK\x01\x02" + fixed + name + bytes(said["extra"]) + bytes(said["comment"])


def end(count: int, size: int, start: int, comment: bytes = b"", disk: int = 0, total: int | None = None) -> bytes:
    total = count if total is None else total
    return b"PK\x05\x06" + struct.pack("<4H2IH", disk, 0, count, total, size, start, len(comment)) + comment


def end64(**lie: int) -> bytes:
    """End of an archive of `LOCAL_A` and `ENTRY_A`: ZIP64 end record, locator, and an end record full of sentinels."""
    size, start = len(ENTRY_A), len(LOCAL_A)
    said = {
        "length": 44,
        "disk": 0,
        "count": 1,
        "total": 1,
        "size": size,
        "start": start,
        "at": start + size,
        "disks": 1,
    }
    said |= lie
    numbers = (said["disk"], 0, said["count"], said["total"], said["size"], said["start"])
    record = struct.pack("<Q2H2I4Q", said["length"], 45, 45, *numbers)
    locator = struct.pack("<IQI", 0, said["at"], said["disks"])
    return b"PK\x06\x06" + record + b"PK\x06\x07" + locator + end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


def archive(first: bytes, second: bytes, between: bytes = b"") -> bytes:
    """An archive of one local header and one entry, whatever they say."""
    return first + between + second + end(1, len(second), len(first) + len(between))


A, X = b"a.txt", b"some content"
LOCAL_A, ENTRY_A = local(A, X), entry(A, X)
EMPTY_A = local(A, b"")
PLAIN = archive(LOCAL_A, ENTRY_A)
SIZES = struct.pack("<2H2Q", 1, 16, len(X), len(X))
FULL = 0xFFFFFFFF
DEFLATE = zlib.compressobj(wbits=-15)
PACKED = DEFLATE.compress(X) + DEFLATE.flush()


def described(record: bytes, **lie: Any) -> bytes:
    """A local header with a data descriptor after its content."""
    return local(A, X, **{"flags": 8, "crc": 0, "packed": 0, "unpacked": 0, "body": X + record, **lie})


DESCRIPTOR = struct.pack("<4s3I", b"PK\x07\x08", zlib.crc32(X), len(X), len(X))
DESCRIPTOR64 = struct.pack("<4sI2Q", b"PK\x07\x08", zlib.crc32(X), len(X), len(X))
UNICODE = struct.pack("<2HBI", 0x7075, 5 + len(A), 1, zlib.crc32(A)) + A
ENTRY_D = entry(A, X, flags=8)

SOUND: dict[str, bytes] = {
    "plain": PLAIN,
    "deflated": archive(
        local(A, X, method=8, packed=len(PACKED), body=PACKED), entry(A, X, method=8, packed=len(PACKED))
    ),
    "local zip64": archive(local(A, X, packed=FULL, unpacked=FULL, extra=SIZES), ENTRY_A),
    "local zip64 beside true sizes": archive(local(A, X, extra=SIZES), ENTRY_A),
    "entry zip64": archive(
        LOCAL_A,
        entry(A, X, packed=FULL, unpacked=FULL, extra=struct.pack("<2H3Q", 1, 24, len(X), len(X), 0), offset=FULL),
    ),
    "entry zip64, size only": archive(LOCAL_A, entry(A, X, unpacked=FULL, extra=struct.pack("<2HQ", 1, 8, len(X)))),
    "zip64 end": LOCAL_A + ENTRY_A + end64(),
    "descriptor": archive(described(DESCRIPTOR), ENTRY_D),
    "long descriptor": archive(described(DESCRIPTOR64), ENTRY_D),
    "descriptor of nothing": archive(
        local(A, b"", flags=8, body=struct.pack("<4s3I", b"PK\x07\x08", 0, 0, 0)), entry(A, b"", flags=8)
    ),
    "long descriptor of nothing": archive(
        local(A, b"", flags=8, body=struct.pack("<4sI2Q", b"PK\x07\x08", 0, 0, 0)), entry(A, b"", flags=8)
    ),
    "descriptor and true header": archive(local(A, X, flags=8, body=X + DESCRIPTOR), ENTRY_D),
    "descriptor and zip64 zeros": archive(
        described(DESCRIPTOR64, packed=FULL, unpacked=FULL, extra=struct.pack("<2H2Q", 1, 16, 0, 0)), ENTRY_D
    ),
    "times and owners": archive(
        local(A, X, extra=b"UT\x09\x00\x03" + bytes(8) + b"ux\x0b\x00\x01\x04" + bytes(4) + b"\x04" + bytes(4)),
        entry(A, X, extra=b"UT\x05\x00\x03" + bytes(4)),
    ),
    "same unicode name": archive(local(A, X, extra=UNICODE), entry(A, X, extra=UNICODE)),
    "comments": LOCAL_A + entry(A, X, comment=b"one") + end(1, len(ENTRY_A) + 3, len(LOCAL_A), b"two"),
    "mode 0644": archive(LOCAL_A, entry(A, X, attributes=(stat.S_IFREG | 0o644) << 16)),
    "entries in another order": LOCAL_A
    + local(b"b", X)
    + entry(b"b", X, len(LOCAL_A))
    + ENTRY_A
    + end(2, len(entry(b"b", X) + ENTRY_A), len(LOCAL_A + local(b"b", X))),
}

DIR = b"a/"
BAD: dict[str, bytes] = {
    # U7
    "overlap: two entries of one header": LOCAL_A + ENTRY_A * 2 + end(2, 2 * len(ENTRY_A), len(LOCAL_A)),
    "overlap: a header within a file": archive(
        local(A, LOCAL_A), entry(A, LOCAL_A) + entry(A, X, len(local(A, LOCAL_A)) - len(LOCAL_A))
    ),
    "gap": archive(LOCAL_A, ENTRY_A, between=b"hidden"),
    # U8
    "other name": archive(LOCAL_A, entry(b"b.txt", X)),
    "other case": archive(LOCAL_A, entry(b"A.txt", X)),
    "other method": archive(LOCAL_A, entry(A, X, method=8)),
    "other packed size": archive(LOCAL_A, entry(A, X, packed=3)),
    "other unpacked size": archive(LOCAL_A, entry(A, X, unpacked=3)),
    "other flags": archive(LOCAL_A, entry(A, X, flags=0x800)),
    "other crc": archive(LOCAL_A, entry(A, X, crc=1)),
    "other offset": archive(LOCAL_A, entry(A, X, offset=1)),
    "header with another size": archive(local(A, X, unpacked=3), ENTRY_A),
    # U9
    "entry without file": archive(LOCAL_A, ENTRY_A + entry(b"b", X, 99)),
    "file without entry": LOCAL_A + local(b"b", X) + ENTRY_A + end(1, len(ENTRY_A), len(LOCAL_A + local(b"b", X))),
    "no directory": LOCAL_A + end(0, 0, len(LOCAL_A)),
    "bytes before": b"MZ" + PLAIN,
    "bytes after": PLAIN + b"x",
    "newline after": PLAIN + b"\n",
    "two archives": PLAIN + PLAIN,
    "two ends": PLAIN + end(1, len(ENTRY_A), len(LOCAL_A)),
    "end in the comment": LOCAL_A + ENTRY_A + end(1, len(ENTRY_A), len(LOCAL_A), end(1, len(ENTRY_A), len(LOCAL_A))),
    "end in an entry's comment": archive(LOCAL_A, entry(A, X, comment=end(1, len(ENTRY_A), len(LOCAL_A)))),
    "long comment length": LOCAL_A + ENTRY_A + end(1, len(ENTRY_A), len(LOCAL_A))[:-2] + b"\x05\x00",
    "end counts wrong": LOCAL_A + ENTRY_A + end(2, len(ENTRY_A), len(LOCAL_A)),
    "end totals wrong": LOCAL_A + ENTRY_A + end(1, len(ENTRY_A), len(LOCAL_A), total=2),
    "end size wrong": LOCAL_A + ENTRY_A + end(1, len(ENTRY_A) + 1, len(LOCAL_A)),
    "end offset wrong": LOCAL_A + ENTRY_A + end(1, len(ENTRY_A), len(LOCAL_A) - 1),
    "end on another disk": LOCAL_A + ENTRY_A + end(1, len(ENTRY_A), len(LOCAL_A), disk=1),
    "entry on another disk": archive(LOCAL_A, entry(A, X, disk=1)),
    "digital signature": LOCAL_A + ENTRY_A + b"PK\x05\x05\x00\x00" + end(1, len(ENTRY_A) + 6, len(LOCAL_A)),
    "file after the directory": PLAIN[:-22] + local(b"b", X) + PLAIN[-22:],
    # U10
    "full without zip64": archive(local(A, X, packed=FULL, unpacked=FULL), ENTRY_A),
    "entry full without zip64": archive(LOCAL_A, entry(A, X, packed=FULL)),
    "entry offset full without zip64": archive(LOCAL_A, entry(A, X, offset=FULL)),
    "zip64 of the wrong length": archive(local(A, X, packed=FULL, extra=struct.pack("<2HQ", 1, 8, len(X))), ENTRY_A),
    "zip64 with other sizes": archive(local(A, X, extra=struct.pack("<2H2Q", 1, 16, 3, 3)), ENTRY_A),
    "entry zip64 not needed": archive(LOCAL_A, entry(A, X, extra=SIZES)),
    "entry zip64 too short": archive(LOCAL_A, entry(A, X, packed=FULL, unpacked=FULL, extra=SIZES[:4] + SIZES[4:12])),
    "entry zip64 empty": archive(LOCAL_A, entry(A, X, packed=FULL, extra=struct.pack("<2H", 1, 0))),
    "two zip64": archive(local(A, X, packed=FULL, unpacked=FULL, extra=SIZES * 2), ENTRY_A),
    "two of another block": archive(local(A, X, extra=b"UT\x01\x00\x00" * 2), ENTRY_A),
    "extra ends early": archive(local(A, X, extra=b"UT\x05\x00\x00"), ENTRY_A),
    "extra of three bytes": archive(local(A, X, extra=b"UT\x05"), ENTRY_A),
    "end full without zip64": LOCAL_A + ENTRY_A + end(0xFFFF, FULL, FULL),
    "zip64 end without locator": (LOCAL_A + ENTRY_A + end64()).replace(b"PK\x06\x07", b"PK\x06\x08"),
    **{
        f"zip64 end with wrong {key}": LOCAL_A + ENTRY_A + end64(**{key: 2})
        for key in ("length", "disk", "count", "total", "size", "start", "at", "disks")
    },
    # U11
    "encrypted": archive(local(A, X, flags=1), entry(A, X, flags=1)),
    **{f"method {n}": archive(local(A, X, method=n), entry(A, X, method=n)) for n in (1, 9, 12, 14, 93, 95, 99)},
    "version of the future": archive(local(A, X, version=64), ENTRY_A),
    "masked header": archive(local(A, X, flags=1 << 13), entry(A, X, flags=1 << 13)),
    "strong encryption": archive(local(A, X, flags=1 << 6), entry(A, X, flags=1 << 6)),
    # U12
    "flipped byte": PLAIN.replace(b"content", b"contEnt"),
    "wrong crc in both": archive(local(A, X, crc=5), entry(A, X, crc=5)),
    "crc of nothing": archive(local(A, X, crc=0), entry(A, X, crc=0)),
    "descriptor with wrong crc": archive(described(DESCRIPTOR[:4] + b"\1\2\3\4" + DESCRIPTOR[8:]), ENTRY_D),
    "descriptor with wrong size": archive(described(DESCRIPTOR[:8] + b"\1\0\0\0" + DESCRIPTOR[12:]), ENTRY_D),
    "descriptor without mark": archive(described(DESCRIPTOR[4:]), ENTRY_D),
    "descriptor and false header": archive(described(DESCRIPTOR, unpacked=3), ENTRY_D),
    "deflate cut": archive(local(A, X, method=8, packed=5, body=PACKED[:5]), entry(A, X, method=8, packed=5)),
    "deflate with a tail": archive(
        local(A, X, method=8, packed=len(PACKED) + 1, body=PACKED + b"x"), entry(A, X, method=8, packed=len(PACKED) + 1)
    ),
    "deflate of rubbish": archive(local(A, X, method=8, body=b"\xff" * 12), entry(A, X, method=8)),
    # U14
    "nul in the name": archive(local(b"x\0../../evil", X), entry(b"x\0../../evil", X)),
    "cp437 name": archive(local(b"caf\x82", X), entry(b"caf\x82", X)),
    "utf-8 name without the flag": archive(local("é".encode(), X), entry("é".encode(), X)),
    "invalid utf-8": archive(local(b"caf\xe9", X, flags=0x800), entry(b"caf\xe9", X, flags=0x800)),
    "another unicode name": archive(local(A, X, extra=UNICODE[:-5] + b"b.txt"), ENTRY_A),
    "unicode name of another name": archive(local(b"b.txt", X, extra=UNICODE), entry(b"b.txt", X)),
    "unicode name only in the directory": archive(LOCAL_A, entry(A, X, extra=UNICODE[:-1] + b"x")),
    # U16
    **{
        f"mode {mode:o}": archive(LOCAL_A, entry(A, X, attributes=mode << 16))
        for mode in (0o120777, 0o020666, 0o060666, 0o010644, 0o140755, 0o104755, 0o102755, 0o040755)
    },
    "dos directory": archive(LOCAL_A, entry(A, X, attributes=0x10)),
    "directory that is a link": LOCAL_A
    + local(b"d/", b"")
    + ENTRY_A
    + entry(b"d/", b"", len(LOCAL_A), attributes=0o120777 << 16)
    + end(2, len(ENTRY_A + entry(b"d/", b"")), len(LOCAL_A + local(b"d/", b""))),
    "link block": archive(local(A, X, extra=b"\x0d\x00\x04\x00/etc"), ENTRY_A),
    "directory with content": archive(local(DIR, X), entry(DIR, X)),
}


@pytest.mark.parametrize("data", SOUND.values(), ids=SOUND)
@pytest.mark.parametrize("size", [1, 13, 1 << 20])
def test_every_sound_form_of_a_record_is_read(data: bytes, size: int) -> None:
    assert scan(data, size)[0][A.decode()] in (X, b"")


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_an_archive_that_readers_could_read_differently_is_refused(data: bytes) -> None:
    first = error_of(data)
    assert isinstance(first, Malformed)
    assert error_of(data, 1).detail == first.detail


def test_a_refusal_names_the_entry() -> None:
    error = error_of(archive(local(b"x.bin", X, flags=1), entry(b"x.bin", X, flags=1)))
    assert "'x.bin'" in error.detail
    assert error.members == {"entry": "'x.bin'"}


# U13, U15, U17: names; the table of paths is in test_paths


@pytest.mark.parametrize("name", ["../x", "/x", "C:\\x", "a/../../x", "x:y", "CON", "a//b", "-x", "a\\..\\b", "a "])
def test_a_bad_name_is_refused_before_its_content(name: str) -> None:
    scanner = ZipScan()
    with pytest.raises(BadPath):
        list(scanner.feed(local(name.encode(), X)[: 30 + len(name)]))


def raw_archive(names: list[bytes]) -> bytes:
    """An archive of empty files with these names, exactly."""
    locals_ = [local(name, b"") for name in names]
    offsets = [sum(map(len, locals_[:n])) for n in range(len(names))]
    entries = b"".join(entry(name, b"", offset) for name, offset in zip(names, offsets, strict=True))
    return b"".join(locals_) + entries + end(len(names), len(entries), sum(map(len, locals_)))


@pytest.mark.parametrize(
    "names", [[b"a", b"a"], [b"a", b"A"], [b"a", b"a/b"], [b"a/b", b"a"], [b"a", b"a/"], [b"d/", b"D/", b"f"]]
)
def test_names_that_get_in_each_others_way_are_refused(names: list[bytes]) -> None:
    assert isinstance(error_of(raw_archive(names)), BadPath)


def test_too_many_entries_are_refused() -> None:
    data = b"".join(local(b"%d" % n, b"") for n in range(50_001))
    assert "50000 entries" in error_of(data).detail
    assert scan(raw_archive([b"a", b"b"]), limits=Limits(entries=2))[1].files == 2
    assert isinstance(error_of(raw_archive([b"a", b"b", b"c"]), limits=Limits(entries=2)), BadArchive)


# P6: whatever the bytes, a refusal at worst

SEEDS = [
    zip_of(FILES),
    zip_of(FILES, is_stream=True),
    zip_of(FILES, method=zipfile.ZIP_STORED, is_stream=True),
    SOUND["zip64 end"],
    SOUND["entry zip64"],
    SOUND["descriptor and zip64 zeros"],
]


CHANGES = {
    "seed": st.sampled_from(SEEDS),
    "flips": st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    "size": st.integers(1, 5000),
}


def change(seed: bytes, flips: list[tuple[float, int]], size: int) -> None:
    data = bytearray(seed)
    for place, value in flips:
        data[int(place * (len(data) - 1))] = value
    read_or_refused(bytes(data), size)


@given(**CHANGES)
@settings(deadline=None, max_examples=300)
def test_a_changed_archive_is_read_or_refused(seed: bytes, flips: list[tuple[float, int]], size: int) -> None:
    change(seed, flips, size)


@pytest.mark.long
@given(**CHANGES)
@settings(deadline=None, max_examples=40_000)
def test_a_changed_archive_is_read_or_refused_at_length(seed: bytes, flips: list[tuple[float, int]], size: int) -> None:
    change(seed, flips, size)


@given(
    st.lists(
        st.sampled_from([LOCAL_A, ENTRY_A, DESCRIPTOR, EMPTY_A, X, b"PK\x03\x04", b"PK\x01\x02", PLAIN[-22:]]),
        max_size=8,
    )
)
def test_any_sequence_of_records_is_read_or_refused(records: list[bytes]) -> None:
    read_or_refused(b"".join(records), 7)


def read_or_refused(data: bytes, size: int) -> None:
    try:
        found, _ = scan(data, size)
    except (BadArchive, BadPath, UnpacksTooFar):
        return
    # What we take, the standard library reads alike.
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert {name.rstrip("/") for name in other.namelist()} == set(found)
        assert all(other.read(name) == (found[name.rstrip("/")] or b"") for name in other.namelist())


@pytest.mark.parametrize(
    "make",
    [
        lambda: zip_of({"a": b"PK\x07\x08" * MIB}, method=zipfile.ZIP_STORED, is_stream=True),
        lambda: zip_of({str(n): b"x" for n in range(5000)}, is_stream=True),
        lambda: zip_of({"a": os.urandom(2000)}, is_stream=True)[:-30],
    ],
    ids=["content full of marks", "many small files", "cut"],
)
def test_no_content_makes_reading_slow(make: Callable[[], bytes]) -> None:
    data = make()
    started = time.perf_counter()
    events: list[Event] = []
    scanner = ZipScan()
    for piece in pieces(data, 4 * MIB):
        events += scanner.feed(piece)
    assert time.perf_counter() - started < 60
    assert events
