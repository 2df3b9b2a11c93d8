"""The scanner against files that would run something, against files as they are published, and against hostile ones."""

import gzip
import io
import pickle
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import payloads
from tests.payloads import Payload
from weighhouse.rules.scan.scanner import SCANNER_VERSION, scan
from weighhouse.rules.scan.source import Bytes
from weighhouse.rules.scan.verdict import Level, Verdict

HARMFUL, BENIGN = payloads.harmful(), payloads.benign()
BOUNDED = settings(deadline=5_000, max_examples=150)


def verdict_of(content: bytes, path: str = "model.bin") -> Verdict:
    return scan(Bytes(content), path, len(content))


def kinds(verdict: Verdict) -> set[str]:
    return {finding.kind for finding in verdict.findings}


def named(found: Payload) -> str:
    return found.name.replace(" ", "-")


@pytest.mark.parametrize("payload", HARMFUL, ids=named)
def test_what_would_run_or_leave_the_package_is_never_safe(payload: Payload) -> None:
    verdict = verdict_of(payload.content, payload.path)
    assert verdict.level in (Level.SUSPICIOUS, Level.UNSAFE), verdict
    assert any(finding.level == verdict.level and finding.message for finding in verdict.findings)


def test_every_pickle_that_runs_a_command_is_unsafe_whatever_is_around_it() -> None:
    tame = {"an extension", "a call of what a call gave", "an unknown module", "behind data that is no pickle"}
    cut = {"PyTorch ZIP without its end"}
    found = [*payloads.harmful_pickles(), *payloads.harmful_wrappings()]
    levels = {payload.name: verdict_of(payload.content, payload.path).level for payload in found}
    assert {name for name, level in levels.items() if level is not Level.UNSAFE} <= tame | cut


@pytest.mark.parametrize("payload", BENIGN, ids=named)
def test_a_file_as_it_is_published_is_never_unsafe(payload: Payload) -> None:
    verdict = verdict_of(payload.content, payload.path)
    assert verdict.level is not Level.UNSAFE, verdict


def test_at_most_one_in_twenty_of_published_files_is_not_safe() -> None:
    doubted = [payload.name for payload in BENIGN if verdict_of(payload.content, payload.path).level is not Level.SAFE]
    assert len(doubted) * 20 <= len(BENIGN), doubted


def test_there_are_at_least_as_many_published_files_as_others_are_many() -> None:
    assert len(BENIGN) >= 70
    assert len(HARMFUL) >= 100


def cuts_of(payload: Payload) -> set[int]:
    """Sizes to which a file is cut; fewer of one that takes long to read."""
    size = len(payload.content)
    cuts = 40 if size < 100_000 else 8
    return {*range(0, size, max(1, size // cuts)), max(0, size - 1)}


@pytest.mark.parametrize("payload", HARMFUL, ids=named)
def test_a_harmful_file_that_is_cut_off_anywhere_ends_in_a_verdict(payload: Payload) -> None:
    for size in cuts_of(payload):
        verdict = verdict_of(payload.content[:size], payload.path)
        assert "scanner-failed" not in kinds(verdict), (size, verdict)


@pytest.mark.parametrize("payload", BENIGN, ids=named)
def test_a_benign_file_that_is_cut_off_anywhere_ends_in_a_verdict(payload: Payload) -> None:
    for size in cuts_of(payload):
        verdict = verdict_of(payload.content[:size], payload.path)
        assert "scanner-failed" not in kinds(verdict), (size, verdict)


@BOUNDED
@given(st.binary(max_size=4_000), st.sampled_from(["x.bin", "x.pkl", "x.pt", "x.json", "x.h5", "x.onnx", "x.pb", "x"]))
def test_random_bytes_end_in_a_verdict(content: bytes, path: str) -> None:
    assert "scanner-failed" not in kinds(verdict_of(content, path))


@BOUNDED
@given(st.sampled_from([*HARMFUL, *BENIGN]), st.data())
def test_a_file_with_bytes_changed_ends_in_a_verdict(payload: Payload, data: st.DataObject) -> None:
    content = bytearray(payload.content)
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert "scanner-failed" not in kinds(verdict_of(bytes(content), payload.path))


@BOUNDED
@given(
    st.lists(
        st.sampled_from([bytes([code]) for code in b"(0N})]tRbcioQPp2qg\x80\x94\x93\x8c\x85\x86\x87."]), max_size=400
    )
)
def test_any_sequence_of_opcodes_ends_in_a_verdict(opcodes: list[bytes]) -> None:
    assert "scanner-failed" not in kinds(verdict_of(b"\x80\x04" + b"".join(opcodes), "x.pkl"))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers())
    ),
    max_leaves=20,
)


@BOUNDED
@given(plain, st.integers(0, 5))
def test_a_pickle_of_plain_values_is_safe(value: object, protocol: int) -> None:
    verdict = verdict_of(pickle.dumps(value, protocol=protocol), "x.pkl")
    assert verdict.level is Level.SAFE, verdict


def test_one_content_has_one_verdict_under_every_name_that_promises_nothing() -> None:
    content = payloads.running_pickle(4)
    levels = {
        verdict_of(content, name).level for name in ("a", "a.bin", "a.pkl", "a.xyz", "a.safetensors", "a.txt", "b/c.md")
    }
    assert levels == {Level.UNSAFE}


def test_a_finding_says_where_it_is() -> None:
    content = gzip.compress(payloads.torch_zip(payloads.running_pickle(2)))
    verdict = verdict_of(content, "dir/model.pt.gz")
    (finding,) = [finding for finding in verdict.findings if finding.kind == "pickle-import"]
    assert finding.inner_path == "model.pt!archive/data.pkl"
    assert finding.position is not None
    assert "posix.system" in finding.message
    assert SCANNER_VERSION


def test_python_files_are_listed_and_not_judged() -> None:
    verdict = verdict_of(b"import os\n", "modeling.py")
    assert verdict.level is Level.SAFE
    assert kinds(verdict) == {"python-file"}


def test_an_unknown_format_is_never_safe() -> None:
    assert verdict_of(bytes(range(255, 1, -1)) * 10, "model.xyz").level is Level.UNSCANNED


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(b"\0" * (1 << 20)) for _ in range(size >> 20)), packer.flush()])


def quine_like() -> bytes:
    """A ZIP all of whose members are one and the same span of the file: the file grows with every level."""
    inner = payloads.zip_file({"a": b"\0" * 1_000}, zipfile.ZIP_DEFLATED)
    for _ in range(3):
        inner = payloads.zip_file({f"{i}.zip": inner for i in range(12)}, zipfile.ZIP_DEFLATED)
    return inner


def overlapping(count: int = 20_000) -> bytes:
    packed = zlib.compress(b"\0" * 4_000_000)[2:-4]
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 0, 0, len(packed), 4_000_000, 1, 0) + b"a" + packed
    entry = struct.pack(
        "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 8, 0, 0, 0, len(packed), 4_000_000, 1, 0, 0, 0, 0, 0, 0
    )
    directory = (entry + b"a") * count
    return local + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(local), 0)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a bomb": lambda: bomb(1 << 30),
    "a bomb in a bomb": lambda: gzip.compress(bomb(1 << 28)),
    "ZIPs in ZIPs in ZIPs": quine_like,
    "members that overlap": overlapping,
    "marks": lambda: b"\x80\x02" + b"(" * 5_000_000,
    "a memo of a far place": lambda: (
        b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", i * 7_919) for i in range(100_000)) + b"."
    ),
    "a length beyond the file": lambda: b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"x" * 100,
    "an endless line": lambda: b"c" + b"x" * 30_000_000,
    "a stack of tuples": lambda: b"\x80\x02" + b")" * 1_000_000 + b"\x85" * 1_000_000 + b".",
    "a doubling": lambda: b"\x80\x02]" + b"2\x86" * 1_000_000 + b".",
    "objects that begin in HDF5": lambda: b"\x89HDF\r\n\x1a\nmodel_config" + b'{"a": [' * 1_000_000,
    "deep JSON": lambda: b'{"a":' * 100_000,
    "deep messages": lambda: deep_message(),
    "a template of braces": lambda: b"{{" * 200_000,
    "a template of strings": lambda: b"{{ '" + b"\\'" * 200_000,
}


# These only take long: nothing is imported, and what is text is text.
HARMLESS = {
    "an endless line",
    "a stack of tuples",
    "a doubling",
    "deep JSON",
    "a template of braces",
    "a template of strings",
}


def deep_message() -> bytes:
    inner = payloads.proto((1, "n"))
    for _ in range(200):
        inner = payloads.proto((1, payloads.proto((5, payloads.proto((6, inner))))))
    return payloads.proto((1, 8), (7, inner))


SLOW = {"a bomb", "marks", "a stack of tuples", "a doubling"}


def with_slow_marked(names: Iterable[str]) -> list[ParameterSet]:
    """The names, those that take many seconds only with `--long`."""
    return [pytest.param(name, marks=[pytest.mark.long] if name in SLOW else []) for name in names]


@pytest.mark.parametrize("name", with_slow_marked(HOSTILE))
def test_a_hostile_file_is_judged_in_bounded_time_and_is_not_safe(name: str) -> None:
    content = HOSTILE[name]()
    path = (
        "x.jinja" if "template" in name else "x.json" if "JSON" in name else "x.onnx" if "messages" in name else "x.pkl"
    )
    started = time.monotonic()
    verdict = verdict_of(content, path)
    assert time.monotonic() - started < 60
    if name not in HARMLESS:
        assert verdict.level is not Level.SAFE, verdict
    assert "scanner-failed" not in kinds(verdict), verdict


@pytest.mark.parametrize("name", with_slow_marked(["a bomb", "marks", "a memo of a far place", "a stack of tuples"]))
def test_a_hostile_file_takes_bounded_memory(name: str) -> None:
    content = HOSTILE[name]()
    assert peak_of(lambda: verdict_of(content, "x.pkl")) < 100 << 20


def peak_of(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Large:
    """A PyTorch archive of 1 GiB whose numbers are made when they are read."""

    def __init__(self) -> None:
        self.tensors, self.count = 256, 1 << 20
        out = io.BytesIO()
        self.spans: list[tuple[int, int]] = []
        program = payloads.state_dict_pickle(self.tensors, self.count)
        data = payloads.torch_zip(program, 0)
        self.parts: list[tuple[int, bytes]] = [(0, data)]
        out.write(data)
        self.size = 0
        self._write(program)
        self.read_bytes = 0

    def _write(self, program: bytes) -> None:
        members = [
            ("archive/data.pkl", len(program)),
            *((f"archive/data/{i}", self.count * 4) for i in range(self.tensors)),
        ]
        self.parts, directory, position = [], b"", 0
        for name, size in members:
            local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, size, size, len(name), 0) + name.encode()
            head = local + (program if name.endswith(".pkl") else b"")
            self.parts.append((position, head))
            directory += struct.pack(
                "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, size, size, len(name), 0, 0, 0, 0, 0, position
            )
            directory += name.encode()
            position += len(local) + size
        end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(members), len(members), len(directory), position, 0)
        self.parts.append((position, directory + end))
        self.size = position + len(directory) + len(end)

    def read(self, start: int, length: int) -> bytes:
        self.read_bytes += length
        out = bytearray(min(length, self.size - start))
        for position, content in self.parts:
            low, high = max(start, position), min(start + len(out), position + len(content))
            if low < high:
                out[low - start : high - start] = content[low - position : high - position]
        return bytes(out)


def test_a_gigabyte_of_weights_is_scanned_by_its_structure_alone() -> None:
    source = Large()
    started = time.monotonic()
    verdict = scan(source, "pytorch_model.bin", source.size)
    seconds = time.monotonic() - started
    assert verdict.level is Level.SAFE, verdict
    assert source.size > 1 << 30
    assert source.size / seconds > 300e6
    assert source.read_bytes < 64 << 20


def test_a_gigabyte_of_weights_takes_bounded_memory() -> None:
    source = Large()
    assert peak_of(lambda: scan(source, "pytorch_model.bin", source.size)) < 20 << 20


def test_what_the_source_raises_goes_through() -> None:
    class Away(Exception): ...

    class Gone:
        def read(self, start: int, length: int) -> bytes:
            raise Away

    with pytest.raises(Away):
        scan(Gone(), "x.bin", 10)


def test_a_source_that_ends_too_early_is_not_safe() -> None:
    content = payloads.torch_zip(payloads.state_dict_pickle())
    assert scan(Bytes(content), "x.pt", len(content) + 100_000).level is not Level.SAFE
    assert scan(Bytes(b""), "x.pt", 10).level is not Level.SAFE


def test_a_flood_of_remarks_does_not_hide_the_reason() -> None:
    members = {f"{i}.py": b"pass\n" for i in range(500)} | {"z.pkl": payloads.running_pickle()}
    verdict = verdict_of(payloads.zip_file(members), "x.zip")
    assert verdict.level is Level.UNSAFE
    assert any(finding.level is Level.UNSAFE for finding in verdict.findings)
    assert len(verdict.findings) <= 200


@pytest.mark.parametrize("dtype", ["f2", "i1", "c16", "U7", "S5", "M8[ns]", "?"])
def test_arrays_of_joblib_are_stepped_over_by_their_size(dtype: str) -> None:
    array: np.ndarray[Any, Any] = np.zeros((3, 5), dtype)
    assert verdict_of(payloads.joblib_file(array), "x.joblib").level is Level.SAFE
