import io
import os
import shutil
import subprocess
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.zipscan import MemberBytes, MemberEnds, ZipScan
from weighhouse.rules.zipview import (
    BlobSpan,
    Literal,
    Range,
    RangeNotSatisfiable,
    ZipView,
    cut,
    layout,
    parse_range,
)

CONTENTS = {
    "weights/model.safetensors": os.urandom(5000),
    "README.md": b"# a card",
    "empty": b"",
    "also/empty": b"",
    "模型/é.txt": b"PK\x05\x06" * 9,
}


def file_of(path: str, content: bytes) -> File:
    return File(path, len(content), sha256(content).hexdigest(), zlib.crc32(content), component_of(path))


def files_of(contents: dict[str, bytes]) -> list[File]:
    return [file_of(path, content) for path, content in contents.items()]


def bytes_of(view: ZipView, contents: dict[str, bytes], start: int = 0, stop: int | None = None) -> bytes:
    blobs = {sha256(content).hexdigest(): content for content in contents.values()}
    parts = []
    for part in cut(view, start, view.size_bytes if stop is None else stop):
        if isinstance(part, Literal):
            assert part.data
            parts.append(part.data)
        else:
            assert part.length > 0
            parts.append(blobs[part.sha256][part.start : part.start + part.length])
            assert len(parts[-1]) == part.length
    return b"".join(parts)


WHOLE = bytes_of(layout(files_of(CONTENTS)), CONTENTS)


def test_the_standard_library_reads_the_view_back() -> None:
    view = layout(files_of(CONTENTS))
    assert len(WHOLE) == view.size_bytes
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == CONTENTS
        assert {(info.compress_type, info.date_time, info.external_attr >> 16) for info in archive.infolist()} == {
            (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 0o100644)
        }
        assert archive.namelist() == sorted(CONTENTS, key=lambda path: path.encode())


def test_our_own_reader_takes_the_view() -> None:
    scanner = ZipScan()
    events = list(scanner.feed(WHOLE))
    assert scanner.close().files == len(CONTENTS)
    assert {e.path: e.size_bytes for e in events if isinstance(e, MemberEnds)} == {
        path: len(content) for path, content in CONTENTS.items()
    }
    assert sum(len(e.data) for e in events if isinstance(e, MemberBytes)) == sum(map(len, CONTENTS.values()))


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs unzip: apt-get install unzip")
def test_unzip_reads_the_view(tmp_path: Path) -> None:
    (tmp_path / "package.zip").write_bytes(WHOLE)
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(
        ["unzip", "-q", "package.zip", "-d", "out"], cwd=tmp_path, check=True, env=env, stdout=subprocess.PIPE
    )
    assert {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    } == CONTENTS


def test_the_same_manifest_is_the_same_bytes_in_any_order() -> None:
    files = files_of(CONTENTS)
    assert layout(files) == layout(files[::-1])


def test_the_bytes_of_a_layout_stay_from_release_to_release() -> None:
    # When this fails the layout has changed: raise LAYOUT, so that no client joins halves of two ZIPs.
    contents = {"a.txt": b"some content", "é/b": b""}
    view = layout(files_of(contents))
    assert (
        sha256(bytes_of(view, contents)).hexdigest()
        == "97b9320431ab60f128df2b0befab3e014d882266183da413660efd0d917b6c89"
    )
    assert view.etag == '"936e255463a7704ad7bf64373ba0919c13e001c405917a239facc8179ae74f20-1"'


def test_the_tag_changes_with_any_file() -> None:
    tags = {layout(files_of({**CONTENTS, "x": content})).etag for content in (b"", b"a", b"b")}
    assert len(tags | {layout(files_of(CONTENTS)).etag}) == 4


@given(st.data())
def test_any_range_is_that_slice_of_the_whole(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(WHOLE)))
    stop = data.draw(st.integers(start, len(WHOLE)))
    assert bytes_of(layout(files_of(CONTENTS)), CONTENTS, start, stop) == WHOLE[start:stop]


@given(
    st.dictionaries(st.text("abcé/", min_size=1, max_size=6), st.binary(max_size=40), max_size=6), st.integers(1, 60)
)
def test_ranges_one_after_another_are_the_whole(contents: dict[str, bytes], step: int) -> None:
    view = layout(files_of(contents))
    whole = bytes_of(view, contents)
    assert len(whole) == view.size_bytes
    joined = [bytes_of(view, contents, at, min(at + step, len(whole))) for at in range(0, len(whole), step)]
    assert b"".join(joined) == whole


def test_a_blob_is_given_out_in_one_span() -> None:
    view = layout(files_of({"a": b"x" * 5000}))
    parts = list(cut(view, 0, view.size_bytes))
    assert [type(part) for part in parts] == [Literal, BlobSpan, Literal]
    assert parts[1] == BlobSpan(sha256(b"x" * 5000).hexdigest(), 0, 5000)


def test_sizes_beyond_four_gib_keep_the_shape() -> None:
    big = File("a.bin", 5 * 1024**3, "ab" * 32, 1, component_of("a.bin"))
    small = File("a.bin", 5, "ab" * 32, 1, component_of("a.bin"))
    after = file_of("b.txt", b"after")
    assert layout([big, after]).size_bytes - layout([small, after]).size_bytes == 5 * 1024**3 - 5
    view = layout([big, after])
    directory = view.starts[-1]
    tail = b"".join(part.data for part in cut(view, directory, view.size_bytes) if isinstance(part, Literal))
    # The standard library finds the directory of a file whose front was cut off.
    with zipfile.ZipFile(io.BytesIO(tail)) as archive:
        assert [info.file_size for info in archive.infolist()] == [5 * 1024**3, 5]
        assert [info.header_offset + directory for info in archive.infolist()] == list(view.starts[:2])


def test_fifty_thousand_files_are_cut_at_once() -> None:
    view = layout([File(f"data/{n:06}.txt", 10, "ab" * 32, n, component_of("a.txt")) for n in range(50_000)])
    middle = view.size_bytes // 2
    assert sum(1 for at in range(200) for _ in cut(view, middle + at * 1000, middle + at * 1000 + 10)) < 1000
    literals = [part for part in cut(view, view.starts[-1], view.size_bytes) if isinstance(part, Literal)]
    assert len(literals) < 40
    assert max(len(part.data) for part in literals) < 300_000


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, len(WHOLE) + 1)])
def test_a_range_outside_is_the_callers_mistake(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        cut(layout(files_of(CONTENTS)), start, stop)


def test_a_package_without_files_is_an_empty_zip() -> None:
    assert zipfile.ZipFile(io.BytesIO(bytes_of(layout([]), {}))).namelist() == []


TAG = '"abc-1"'


@pytest.mark.parametrize(
    ("header", "if_range", "expected"),
    [
        (None, None, None),
        ("bytes=0-0", None, Range(0, 1)),
        ("bytes=0-99", None, Range(0, 100)),
        ("bytes=10-", None, Range(10, 100)),
        ("bytes=99-", None, Range(99, 100)),
        ("bytes=90-1000", None, Range(90, 100)),
        ("bytes=-1", None, Range(99, 100)),
        ("bytes=-100", None, Range(0, 100)),
        ("bytes=-1000", None, Range(0, 100)),
        ("bytes=5-" + "9" * 5000, None, Range(5, 100)),
        ("Bytes = 1-2", None, Range(1, 3)),
        ("bytes=1-2,", None, Range(1, 3)),
        ("bytes=0-1,5-6", None, None),
        ("bytes=" + ",".join(["0-1"] * 10_000), None, None),
        ("bytes=5-4", None, None),
        ("bytes=-", None, None),
        ("bytes=", None, None),
        ("bytes", None, None),
        ("bytes=a-b", None, None),
        ("bytes=--5", None, None),
        ("bytes=1-2-3", None, None),
        ("bytes=+1-2", None, None),
        ("bytes=١-٢", None, None),
        ("bytes=0x1-2", None, None),
        ("items=0-1", None, None),
        ("", None, None),
        ("bytes=0-1", TAG, Range(0, 2)),
        ("bytes=0-1", '"old-1"', None),
        ("bytes=0-1", "W/" + TAG, None),
        ("bytes=0-1", "Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("bytes=500-", '"old-1"', None),
    ],
)
def test_a_range_header_asks_for_one_range_or_the_whole(
    header: str | None, if_range: str | None, expected: Range | None
) -> None:
    assert parse_range(header, 100, if_range, TAG) == expected
    if expected is not None:
        assert expected.length == expected.stop - expected.start > 0


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_range_beyond_the_end_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        parse_range(header, 100, None, TAG)
    assert caught.value.members == {"size_bytes": 100}
    with pytest.raises(RangeNotSatisfiable):
        parse_range("bytes=0-", 0, None, TAG)


@given(st.text(max_size=30))
def test_any_range_header_is_understood_or_ignored(text: str) -> None:
    for header in (text, "bytes=" + text):
        try:
            found = parse_range(header, 100, None, TAG)
        except RangeNotSatisfiable:
            continue
        assert found is None or 0 <= found.start < found.stop <= 100
