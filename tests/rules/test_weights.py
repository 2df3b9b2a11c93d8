"""Weight headers against files that the formats' own libraries write, and against files that lie."""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from weighhouse.rules.weight_headers import BrokenHeader, HeaderTooLarge, Tensors, read_gguf, read_safetensors
from weighhouse.rules.weights import is_weight, read_tensors, smallest, tensors_of_size, variants, without_decoys

WIDTHS = {"F16": 2, "BF16": 2, "F32": 4, "I8": 1}


def safetensors_header(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """The header of a safetensors file: dtype and shape of each tensor by name, in order."""
    entries, position = {}, 0
    for name, (dtype, shape) in tensors.items():
        end = position + math.prod(shape) * WIDTHS[dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_header(tensors: Sequence[tuple[str, Sequence[int], int, int]], pairs: Sequence[bytes] = ()) -> bytes:
    """The header of a GGUF file: name, dimensions, type and offset of each tensor."""
    described = b"".join(
        gguf_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        for name, shape, kind, offset in tensors
    )
    return b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + described


def read(content: bytes, size_bytes: int | None = None, path: str = "model.safetensors") -> Tensors:
    def read_at(_: str, start: int, size: int) -> bytes:
        return content[start : start + size]

    return read_tensors(path, len(content) if size_bytes is None else size_bytes, read_at)


@given(st.lists(st.tuples(st.sampled_from(["f2", "f4", "i1"]), st.lists(st.integers(0, 5), max_size=3)), max_size=5))
def test_a_safetensors_file_has_the_parameters_that_were_saved(arrays: list[tuple[str, list[int]]]) -> None:
    tensors = {f"t{number}": np.zeros(shape, dtype) for number, (dtype, shape) in enumerate(arrays)}
    told = read(save(tensors))
    assert told.parameters == sum(array.size for array in tensors.values())
    assert told.size_bytes == sum(array.nbytes for array in tensors.values())


def test_a_gguf_file_has_the_parameters_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_token_list(["a", "bc", "def"] * 1_000)
    writer.add_token_scores([0.5] * 3_000)
    writer.add_tensor("blk.0.w", np.zeros((32, 64), np.float16))
    writer.add_tensor("blk.0.b", np.zeros(33, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    told = read(path.read_bytes(), path="tiny.gguf")
    assert told == Tensors(parameters=32 * 64 + 33, size_bytes=32 * 64 * 2 + 33 * 4)


def test_a_quantised_tensor_is_as_large_as_its_blocks() -> None:
    header = gguf_header([("w", [64, 2], 2, 0)])
    assert read(header, len(header) + 200, "m.gguf") == Tensors(parameters=128, size_bytes=72)


def entry(dtype: object = "F16", shape: object = (2,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def broken(text: bytes, rest: bytes = b"\0" * 4) -> bytes:
    return struct.pack("<Q", len(text)) + text + rest


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 1 << 62) + b"{}",
        broken(b"[]"),
        broken(b"{"),
        broken(b"\xff"),
        broken(b"[" * 100_000),
        broken(b'{"a":1,"a":2}'),
        broken(json.dumps({"a": entry(dtype="Q9")}).encode()),
        broken(json.dumps({"a": entry(shape=[-2])}).encode()),
        broken(json.dumps({"a": entry(shape=[2.0])}).encode()),
        broken(json.dumps({"a": entry(shape=[True, 2])}).encode()),
        broken(json.dumps({"a": entry(shape=[10**18] * 9)}).encode()),
        broken(json.dumps({"a": entry(offsets=[4, 0])}).encode()),
        broken(json.dumps({"a": entry(offsets=[0, 6])}).encode()),
        broken(json.dumps({"a": entry(offsets=[2, 6])}).encode(), b"\0" * 6),
        broken(json.dumps({"a": entry(), "b": entry(offsets=[2, 6])}).encode(), b"\0" * 6),
        broken(json.dumps({"a": entry()}).encode(), b"\0" * 5),
    ],
)
def test_a_safetensors_header_that_lies_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenHeader):
        read(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGML" + b"\0" * 60,
        b"GGUF" + struct.pack("<I", 9) + b"\0" * 60,
        b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0) + b"\0" * 60,
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60) + b"\0" * 60,
        gguf_header([("w", [32], 2, 0)]),
        gguf_header([("w", [31], 2, 0)]) + b"\0" * 100,
        gguf_header([("w", [32], 999, 0)]) + b"\0" * 100,
        gguf_header([("w", [1] * 5, 0, 0)]) + b"\0" * 100,
        gguf_header([("w", [1 << 62, 4], 0, 0)]) + b"\0" * 100,
        gguf_header([("a", [32], 0, 0), ("b", [32], 0, 0)]) + b"\0" * 1_000,
        gguf_header([("a", [32], 0, 4_096)]) + b"\0" * 10_000,
        gguf_header([], [gguf_string("k") + struct.pack("<I", 99)]),
        gguf_header([], [gguf_string("k") + struct.pack("<IIQ", 9, 0, 1 << 62)]),
        gguf_header([], [gguf_string("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 20]) + b"\0" * 100,
        gguf_header([], [gguf_string("general.alignment") + struct.pack("<II", 4, 0)]),
    ],
)
def test_a_gguf_header_that_lies_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenHeader):
        read(content, path="m.gguf")


@pytest.mark.parametrize("reader", [read_safetensors, read_gguf])
@given(content=st.binary(max_size=300), start=st.sampled_from([b"", b"GGUF\3\0\0\0", b"\x10\0\0\0\0\0\0\0{"]))
def test_any_bytes_are_read_or_refused(reader: object, content: bytes, start: bytes) -> None:
    whole = start + content
    try:
        told = reader(lambda at, size: whole[at : at + size], len(whole))  # type: ignore[operator]  # one of two functions
    except (BrokenHeader, HeaderTooLarge):
        return
    assert 0 <= told.size_bytes <= len(whole)


def test_a_header_is_read_up_to_32_mib() -> None:
    with pytest.raises(HeaderTooLarge):
        read_safetensors(lambda start, size: struct.pack("<Q", 33 << 20)[start:size], 1 << 40)
    strings = gguf_string("k") + struct.pack("<IIQ", 9, 8, 3)
    large = struct.pack("<Q", 33 << 20)
    header = gguf_header([], [strings]) + large

    def key_of_33_mib(start: int, size: int) -> bytes:
        return (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + large + b"\0" * size)[start : start + size]

    with pytest.raises(HeaderTooLarge):
        read_gguf(key_of_33_mib, 1 << 40)
    # Long values are stepped over, not read.
    with pytest.raises(BrokenHeader):
        read_gguf(lambda start, size: header[start : start + size].ljust(size, b"\xff"), 1 << 40)


def sets(sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of each variant by label."""
    weights = {path: tensors_of_size(size) for path, size in sizes.items() if is_weight(path)}
    return {f"{one.label}:{one.format}": one.size_bytes for one in variants(weights, sizes)}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"model.safetensors": 4, "pytorch_model.bin": 5}, {":safetensors": 4, ":bin": 5}),
        ({"m-00001-of-00002.gguf": 4, "m-00002-of-00002.gguf": 5, "m.Q4.gguf": 3}, {"m:gguf": 9, "m.Q4:gguf": 3}),
        (
            {
                "model_index.json": 1,
                "unet/d.safetensors": 4,
                "vae/d.safetensors": 3,
                "unet/d.fp16.safetensors": 2,
                "all.safetensors": 8,
            },
            {":safetensors": 8, "*:safetensors": 7, "*/fp16:safetensors": 5},
        ),
        ({"modules.json": 1, "model.safetensors": 4, "2_Dense/model.safetensors": 1}, {":safetensors": 5}),
        (
            {"onnx/model.onnx": 4, "onnx/model_quantized.onnx": 1, "onnx/model.onnx_data": 6},
            {"onnx:onnx": 10, "onnx/quantized:onnx": 1},
        ),
        ({"model.gguf.part1of2": 4, "model.gguf.part2of2": 4}, {"model:gguf": 8}),
        ({"encoder.onnx": 4, "decoder.onnx": 5}, {":onnx": 9}),
    ],
)
def test_a_variant_is_one_complete_set_in_one_format(sizes: dict[str, int], expected: dict[str, int]) -> None:
    assert sets(sizes) == expected


@given(
    st.dictionaries(
        st.sampled_from(["a.gguf", "b.gguf", "c.bin", "d/e.bin", "f.safetensors"]), st.integers(1, 10**9), min_size=1
    )
)
def test_the_smallest_has_at_least_half_of_the_largest(sizes: dict[str, int]) -> None:
    found = variants({path: tensors_of_size(size) for path, size in sizes.items()}, sizes)
    chosen = smallest(found)
    assert chosen is not None
    assert 2 * chosen.parameters >= max(variant.parameters for variant in found)
    assert chosen.size_bytes == min(variant.size_bytes for variant in without_decoys(found))
