"""Compressed content as a source: unpacked forwards in small pieces, begun again when somebody reads backwards."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from weighhouse.rules.scan.source import Budget, Bytes, Source, View

_PIECE, _INPUT = 256 << 10, 16 << 10
_KEPT_BYTES = 8 << 20
_TAIL_BYTES = 1 << 20
_RATIO = 1_000
_RATIO_FROM_BYTES = 64 << 20
# xz -9 needs 65 MiB to unpack. Whoever asks for more is refused by the library before it allocates.
_LZMA_MEMORY = 70 << 20


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@dataclass(frozen=True)
class Codec:
    """A way of compression.

    Args:
        magic: How a further stream begins; empty when there is only one.
        cost: Units of the budget that a byte takes, 1 for a byte of inflate.
    """

    name: str
    make: Callable[[], _Decoder]
    magic: bytes
    cost: int


CODECS: Mapping[str, Codec] = {
    "gzip": Codec("gzip", lambda: zlib.decompressobj(31), b"\x1f\x8b", 1),
    "zlib": Codec("zlib", lambda: zlib.decompressobj(15), b"", 1),
    "deflate": Codec("deflate", lambda: zlib.decompressobj(-15), b"", 1),
    "bzip2": Codec("bzip2", bz2.BZ2Decompressor, b"BZh", 8),
    "xz": Codec("xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _LZMA_MEMORY), b"\xfd7zXZ", 4),
    "lzma": Codec("lzma", lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, _LZMA_MEMORY), b"", 4),
}


def codec_of(head: bytes) -> Codec | None:
    """The compression of a file that begins with `head`.

    >>> codec_of(b"BZh91AY&SY").name
    'bzip2'
    """
    if head[:3] == b"\x1f\x8b\x08":
        return CODECS["gzip"]
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return CODECS["bzip2"]
    if head[:6] == b"\xfd7zXZ\0":
        return CODECS["xz"]
    if head[:3] == b"\x5d\0\0" and head[5:13] == b"\xff" * 8:
        return CODECS["lzma"]
    if len(head) > 2 and head[0] & 15 == 8 and head[0] >> 4 <= 7 and int.from_bytes(head[:2], "big") % 31 == 0:
        return CODECS["zlib"] if head[1] & 32 == 0 else None
    return None


class _Unpacking:
    """One pass over compressed content."""

    def __init__(self, view: View, codec: Codec) -> None:
        self.fault: str | None = None
        self._view = view
        self._codec = codec
        self._decoder = codec.make()
        self._position = 0
        self._pending = b""
        self._out_bytes = 0

    def next(self) -> bytes:
        """The next piece; empty at the end, where `fault` says whether it was a good one."""
        while self.fault is None:
            if self._decoder.eof and not self._next_stream():
                return b""
            needs = getattr(self._decoder, "needs_input", True)
            if needs and not self._pending:
                self._pending = self._view.read(self._position, _INPUT)
                self._position += len(self._pending)
                if not self._pending:
                    self.fault = "it ends in the middle"
                    return b""
            piece = self._step(self._pending if needs else b"")
            if piece:
                return piece
        return b""

    def _step(self, data: bytes) -> bytes:
        try:
            piece = self._decoder.decompress(data, _PIECE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
            self.fault = "it is broken"
            return b""
        self._pending = b"" if self._decoder.eof else getattr(self._decoder, "unconsumed_tail", b"")
        self._view.budget.spend("unpacked", len(piece) * self._codec.cost + 16)
        self._out_bytes += len(piece)
        if self._out_bytes > max(_RATIO_FROM_BYTES, _RATIO * self._view.size):
            self.fault = "it grows more than a thousandfold"
        return piece

    def _next_stream(self) -> bool:
        """Goes on behind a finished stream: the tools read all streams of a file as one."""
        rest = self._decoder.unused_data
        rest += self._view.read(self._position, max(0, 16 - len(rest)))
        start = self._position - len(self._decoder.unused_data)
        if self._codec.magic and rest.startswith(self._codec.magic):
            self._position, self._pending = start, b""
            self._decoder = self._codec.make()
            return True
        if rest.strip(b"\0"):
            self.fault = "something else follows it"
        return False


class _Unpacked:
    """Compressed content that is too large to keep."""

    def __init__(self, view: View, codec: Codec, tail_start: int, tail: bytes) -> None:
        self._view = view
        self._codec = codec
        # Formats are told by both ends of a file; the far one must not cost another pass.
        self._end_start = tail_start
        self._end = tail
        self._restart()

    def read(self, start: int, length: int) -> bytes:
        """At most `length` bytes from `start` of what is packed."""
        if start >= self._end_start:
            return self._end[start - self._end_start :][:length]
        if start < self._kept_start:
            self._restart()
        while self._kept_start + len(self._kept) < start + length:
            piece = self._pass.next()
            if not piece:
                break
            self._kept += piece
            spare = min(start - self._kept_start, len(self._kept)) - _TAIL_BYTES
            if spare > _TAIL_BYTES:
                del self._kept[:spare]
                self._kept_start += spare
        offset = start - self._kept_start
        return bytes(self._kept[offset : offset + length])

    def _restart(self) -> None:
        self._pass = _Unpacking(self._view, self._codec)
        self._kept = bytearray()
        self._kept_start = 0


def unpack(view: View, codec: Codec, budget: Budget) -> tuple[View, str | None]:
    """What is packed in `view`, and what is wrong with it. Of broken content, all that comes out before the break.

    Raises:
        LimitReached: It takes too long to unpack.
    """
    first = _Unpacking(view, codec)
    kept, size = bytearray(), 0
    while piece := first.next():
        size += len(piece)
        kept += piece
        if size > _KEPT_BYTES and len(kept) > 2 * _TAIL_BYTES:
            del kept[:-_TAIL_BYTES]
    tail = bytes(kept)
    source: Source = Bytes(tail) if size == len(tail) else _Unpacked(view, codec, size - len(tail), tail)
    return View(source, 0, size, budget), first.fault
