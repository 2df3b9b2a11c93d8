"""A package's own files: read within bounds, once, from several threads."""

import hashlib
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.rules.manifest import File, component_of
from weighhouse.sources.files import HEADER_BUDGET_BYTES, PackageFiles
from weighhouse.sources.once import Once


def manifest_of(contents: Mapping[str, bytes]) -> list[File]:
    return [
        File(path, len(content), hashlib.sha256(content).hexdigest(), zlib.crc32(content), component_of(path))
        for path, content in contents.items()
    ]


class Blobs:
    """Blobs in memory that count how often they are read."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.by_digest = {hashlib.sha256(content).hexdigest(): content for content in contents.values()}
        self.reads = 0

    def read(self, sha256: str, start: int, length: int) -> bytes:
        self.reads += 1
        return self.by_digest[sha256][start : start + length]


def files_of(contents: Mapping[str, bytes]) -> PackageFiles:
    return PackageFiles(manifest_of(contents), Blobs(contents).read)


def test_text_is_utf8_without_its_mark_and_read_once() -> None:
    contents = {"a.txt": b"\xef\xbb\xbfh\xc3\xa9"}
    blobs = Blobs(contents)
    files = PackageFiles(manifest_of(contents), blobs.read)
    assert [files.text("a.txt"), files.text("a.txt")] == ["hé", "hé"]
    assert blobs.reads == 1


def test_text_beyond_its_bounds_is_missing_and_not_empty() -> None:
    files = files_of(
        {"big.txt": b"x" * (1024 * 1024 + 1), "most.txt": b"x" * 1024 * 1024, "bad.txt": b"\xff\xfe", "none": b""}
    )
    for path, reason in (("big.txt", Reason.TOO_LARGE), ("bad.txt", Reason.MALFORMED)):
        for _ in range(2):
            with pytest.raises(Missing) as missing:
                files.text(path)
            assert missing.value.reason is reason
    assert len(files.text("most.txt")) == 1024 * 1024
    assert files.text("none") == ""
    assert files.lenient_text("bad.txt") == "\ufffd\ufffd"
    assert len(files.lenient_text("big.txt")) == 1024 * 1024


def test_bytes_end_where_the_file_does() -> None:
    files = files_of({"a.bin": b"0123456789"})
    assert [files.read_at("a.bin", 8, 100), files.read_at("a.bin", 10, 5), files.read_at("a.bin", 99, 5)] == [
        b"89",
        b"",
        b"",
    ]


def test_headers_have_a_budget_for_each_file() -> None:
    big = File("big.bin", 10**12, "0" * 64, 0, component_of("big.bin"))
    small = File("small.bin", 10**12, "1" * 64, 0, component_of("small.bin"))
    files = PackageFiles([big, small], lambda sha256, start, length: b"")
    files.read_at("big.bin", 0, HEADER_BUDGET_BYTES)
    with pytest.raises(Missing) as missing:
        files.read_at("big.bin", 0, 1)
    assert missing.value.reason is Reason.TOO_LARGE
    assert files.read_at("small.bin", 0, 1) == b""


def test_files_are_in_the_order_of_their_paths() -> None:
    assert [file.path for file in files_of({"b": b"", "a/z": b"", "B": b""}).all] == ["B", "a/z", "b"]


def test_an_answer_is_made_once_however_many_ask() -> None:
    once, together, made = Once(), Barrier(8), list[int]()

    def ask(_: int) -> int:
        together.wait()
        return once.get("key", lambda: made.append(1) or len(made))  # type: ignore[func-returns-value]  # append gives None

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {1}
    assert made == [1]


def test_what_could_not_be_had_is_not_asked_for_again() -> None:
    once, asked = Once(), list[int]()

    def fail() -> str:
        asked.append(1)
        raise Missing(Reason.TIMEOUT, "too slow")

    raised = []
    for _ in range(2):
        with pytest.raises(Missing, match="too slow") as missing:
            once.get("key", fail)
        raised.append(missing.value)
    assert asked == [1]
    assert raised[0] is not raised[1]
