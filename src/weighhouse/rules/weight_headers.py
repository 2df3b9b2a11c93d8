"""What the headers of weight files say: parameters and bytes of the tensors. Nothing after a header is read.

Formats: safetensors (8-byte little-endian length, JSON, tensors without gaps) and GGUF (key-value pairs, then tensor
descriptions, read as a stream).
"""

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from weighhouse.rules.errors import Malformed, TooLarge

ReadAt = Callable[[int, int], bytes]
"""Bytes of a file from `start`, at most `size`; shorter at its end."""

MAX_HEADER_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 18
_MAX_SIZE = 1 << 63


class BrokenHeader(Malformed):
    """The header of a weight file contradicts itself or the file's size."""


class HeaderTooLarge(TooLarge):
    """The header of a weight file is larger than 32 MiB."""

    def __init__(self) -> None:
        super().__init__("The header is larger than 32 MiB; publish the weights in more than one file.")


@dataclass(frozen=True)
class Tensors:
    """What a header adds up to."""

    parameters: int
    size_bytes: int


_SAFETENSORS_BITS: Mapping[str, int] = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


def read_safetensors(read_at: ReadAt, size_bytes: int) -> Tensors:
    """Parameters and tensor bytes of a safetensors file.

    Args:
        size_bytes: The whole file.

    Raises:
        BrokenHeader: Not such a header, or its tensors do not fill the file exactly once.
        HeaderTooLarge: Over 32 MiB.
    """
    start = read_at(0, 8)
    if len(start) < 8:
        raise BrokenHeader("The file is too short for a safetensors header.")
    (length,) = struct.unpack("<Q", start)
    if length > size_bytes - 8:
        raise BrokenHeader("The safetensors header is longer than the file.")
    if length > MAX_HEADER_BYTES - 8:
        raise HeaderTooLarge
    header = _json_object(read_at(8, length))
    header.pop("__metadata__", None)
    parameters = 0
    spans: list[tuple[int, int]] = []
    for entry in header.values():
        count, span = _safetensors_entry(entry)
        parameters += count
        spans.append(span)
    end = _contiguous_end(spans)
    if end != size_bytes - 8 - length:
        raise BrokenHeader("The safetensors header does not describe the whole file.")
    return Tensors(parameters, end)


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise BrokenHeader("The safetensors header is not a JSON object with distinct keys.") from error
    if not isinstance(header, dict):
        raise BrokenHeader("The safetensors header is not a JSON object.")
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    distinct = dict(pairs)
    if len(distinct) != len(pairs):
        raise ValueError("duplicate key")
    return distinct


def _safetensors_entry(entry: Any) -> tuple[int, tuple[int, int]]:
    if not isinstance(entry, dict):
        raise BrokenHeader("A safetensors entry is not an object.")
    bits = _SAFETENSORS_BITS.get(str(entry.get("dtype")))
    shape = _sizes(entry.get("shape"))
    offsets = _sizes(entry.get("data_offsets"))
    if bits is None or len(offsets) != 2:
        raise BrokenHeader("A safetensors entry has no known dtype or no offsets.")
    count = _product(shape)
    if offsets[0] > offsets[1] or count * bits != 8 * (offsets[1] - offsets[0]):
        raise BrokenHeader("A tensor's offsets do not agree with its shape.")
    return count, (offsets[0], offsets[1])


def _sizes(values: Any) -> Sequence[int]:
    # `type(...) is int`: True is an int to Python and no size.
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < _MAX_SIZE for value in values):
        raise BrokenHeader("A tensor's shape or offsets are not whole numbers.")
    return values


def _product(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
        if count >= _MAX_SIZE:
            raise BrokenHeader("A tensor has more elements than any file can hold.")
    return count


def _contiguous_end(spans: list[tuple[int, int]]) -> int:
    position = 0
    for start, end in sorted(spans):
        if start != position:
            raise BrokenHeader("Tensors overlap, or leave a gap between them.")
        position = end
    return position


_GGUF_FIXED_BYTES: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_UINT32, _GGUF_STRING, _GGUF_ARRAY = 4, 8, 9
_GGUF_MAX_DIMENSIONS = 4
_GGUF_MAX_NESTING = 4


@cache
def _block_sizes() -> Mapping[int, tuple[int, int]]:
    # Imported when a GGUF file is first met: gguf brings numpy, 0.2 s that a start without one need not wait for.
    from gguf import GGML_QUANT_SIZES

    return {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}


def read_gguf(read_at: ReadAt, size_bytes: int) -> Tensors:
    """Parameters and tensor bytes of a GGUF file, or of one shard.

    Args:
        size_bytes: The whole file.

    Raises:
        BrokenHeader: Not such a header, or its tensors do not fit into the file one after the other.
        HeaderTooLarge: Over 32 MiB.
    """
    stream = _Stream(read_at, size_bytes)
    if stream.take(4) != b"GGUF":
        raise BrokenHeader("The file does not begin with GGUF.")
    stream.find_byte_order()
    tensor_count, pair_count = stream.length(), stream.length()
    alignment = 32
    for _ in range(pair_count):
        alignment = _skip_pair(stream) or alignment
    tensors = [_gguf_tensor(stream) for _ in range(tensor_count)]
    data_start = _aligned(stream.position, alignment)
    end = 0
    for offset, length, _ in sorted(tensors):
        if offset != _aligned(end, alignment):
            raise BrokenHeader("Tensors overlap, or leave a gap between them.")
        end = offset + length
    if tensors and data_start + end > size_bytes:
        raise BrokenHeader("The tensors reach beyond the end of the file.")
    return Tensors(sum(count for _, _, count in tensors), sum(length for _, length, _ in tensors))


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _skip_pair(stream: "_Stream") -> int | None:
    """Reads a key and its value; the alignment, when that is what the key sets."""
    key = stream.take(stream.length())
    kind = stream.number("I", 4)
    if key == b"general.alignment" and kind == _GGUF_UINT32:
        alignment = stream.number("I", 4)
        if alignment == 0 or alignment % 8 or alignment > 1 << 20:
            raise BrokenHeader("The alignment is not a multiple of 8.")
        return alignment
    _skip_value(stream, kind, nesting=0)
    return None


def _skip_value(stream: "_Stream", kind: int, *, nesting: int) -> None:
    if kind in _GGUF_FIXED_BYTES:
        stream.skip(_GGUF_FIXED_BYTES[kind])
    elif kind == _GGUF_STRING:
        stream.skip(stream.length())
    elif kind == _GGUF_ARRAY and nesting < _GGUF_MAX_NESTING:
        inner = stream.number("I", 4)
        count = stream.length()
        if inner in _GGUF_FIXED_BYTES:
            stream.skip(count * _GGUF_FIXED_BYTES[inner])
            return
        for _ in range(count):
            _skip_value(stream, inner, nesting=nesting + 1)
    else:
        raise BrokenHeader("A value has an unknown type.")


def _gguf_tensor(stream: "_Stream") -> tuple[int, int, int]:
    """Offset, bytes and elements of one tensor."""
    stream.skip(stream.length())
    dimensions = stream.number("I", 4)
    if dimensions > _GGUF_MAX_DIMENSIONS:
        raise BrokenHeader("A tensor has more than four dimensions.")
    shape = [stream.length() for _ in range(dimensions)]
    kind = stream.number("I", 4)
    offset = stream.number("Q", 8)
    if kind not in _block_sizes():
        raise BrokenHeader("A tensor has an unknown type.")
    block, block_bytes = _block_sizes()[kind]
    count = _product(shape)
    # Rows are quantised one by one, so a row is a whole number of blocks.
    if math.prod(shape[:1]) % block:
        raise BrokenHeader("A tensor's row is not a whole number of blocks.")
    return offset, count // block * block_bytes, count


class _Stream:
    """A file read forwards in chunks, each at most once."""

    def __init__(self, read_at: ReadAt, size_bytes: int) -> None:
        self.position = 0
        self._read_at = read_at
        self._size_bytes = size_bytes
        self._chunk = b""
        self._chunk_start = 0
        self._read_bytes = 0
        self._order = "<"
        self._wide = True

    def find_byte_order(self) -> None:
        """Reads the version, a small number in one of the two byte orders."""
        version = self.take(4)
        self._order = "<" if 0 < int.from_bytes(version, "little") < 1 << 16 else ">"
        number = struct.unpack(self._order + "I", version)[0]
        if number not in (1, 2, 3):
            raise BrokenHeader("The version of GGUF is not 1, 2 or 3.")
        self._wide = number > 1

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self.position - self._chunk_start
        if start + size > len(self._chunk):
            self._fill(size)
            start = 0
        self.position += size
        return self._chunk[start : start + size]

    def skip(self, size: int) -> None:
        """Steps over `size` bytes without reading them."""
        self.position += size
        if self.position > self._size_bytes:
            raise BrokenHeader("The header reaches beyond the end of the file.")

    def number(self, kind: str, size: int) -> int:
        """A number in the format `kind` of `struct`, `size` bytes wide."""
        return int(struct.unpack(self._order + kind, self.take(size))[0])

    def length(self) -> int:
        """A count or length: 64 bits, in version 1 still 32."""
        return self.number("Q", 8) if self._wide else self.number("I", 4)

    def _fill(self, size: int) -> None:
        if self.position + size > self._size_bytes:
            raise BrokenHeader("The header reaches beyond the end of the file.")
        wanted = min(max(size, _CHUNK_BYTES), self._size_bytes - self.position)
        self._read_bytes += wanted
        if self._read_bytes > MAX_HEADER_BYTES:
            raise HeaderTooLarge
        self._chunk_start = self.position
        self._chunk = self._read_at(self.position, wanted)
        if len(self._chunk) < size:
            raise BrokenHeader("The header reaches beyond the end of the file.")
