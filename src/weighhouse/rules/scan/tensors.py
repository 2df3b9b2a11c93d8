"""Formats that hold tensors and no code, safetensors and GGUF: whether the file is what its header says, and its templates."""

from weighhouse.rules.errors import Malformed, TooLarge
from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.source import Broken, View, need
from weighhouse.rules.scan.templates import scan_template
from weighhouse.rules.scan.verdict import Level, shown
from weighhouse.rules.weight_headers import read_gguf, read_safetensors

# A header in memory takes ten times its bytes. Those of the largest models are under 4 MiB.
_MAX_SAFETENSORS_HEADER = 8 << 20
_MAX_TEMPLATE_BYTES = 1 << 20
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_MAX_NESTING = 4


def is_safetensors(view: View) -> bool:
    """Whether it begins like one: a length that fits, and an object.

    Raises:
        LimitReached: The scan has read too much.
    """
    head = view.read(0, 9)
    return len(head) == 9 and head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= view.size - 8


def scan_safetensors(view: View, place: Place) -> None:
    """Checks that the tensors fill the file exactly once."""
    if int.from_bytes(view.read(0, 8), "little") > _MAX_SAFETENSORS_HEADER:
        place.add(Level.UNSCANNED, "header-size", "The header is too large to be analysed.", 8)
        return
    try:
        read_safetensors(view.read, view.size)
    except (Malformed, TooLarge) as error:
        place.add(Level.SUSPICIOUS, "safetensors-broken", str(error))


def scan_gguf(view: View, place: Place) -> None:
    """Checks that the tensors fit into the file, and judges the chat templates."""
    try:
        _scan_pairs(view, place)
        read_gguf(view.read, view.size)
    except (Malformed, Broken) as error:
        place.add(Level.SUSPICIOUS, "gguf-broken", str(error))
    except TooLarge:
        place.add(Level.UNSCANNED, "header-size", "The header is too large to be analysed.")


class _Pairs:
    """The metadata of a GGUF file, read forwards."""

    def __init__(self, view: View) -> None:
        self.view = view
        version = need(view, 4, 4)
        self.order: str = "little" if version[0] else "big"
        self.wide = version != (1).to_bytes(4, "little") and version != (1).to_bytes(4, "big")
        self.position = 8

    def number(self, width: int) -> int:
        """A whole number of `width` bytes."""
        content = need(self.view, self.position, width)
        self.position += width
        return int.from_bytes(content, "little" if self.order == "little" else "big")

    def length(self) -> int:
        """A count; 32 bits in version 1."""
        return self.number(8 if self.wide else 4)

    def skip(self, length: int) -> None:
        """Steps over bytes."""
        self.position += length
        if self.position > self.view.size:
            raise Broken("The metadata reaches beyond the end of the file.")


def _scan_pairs(view: View, place: Place) -> None:
    pairs = _Pairs(view)
    pairs.length()
    for _ in range(pairs.length()):
        view.budget.spend("opcodes", 2)
        length = pairs.length()
        key = view.read(pairs.position, min(length, 256)).decode("utf-8", "backslashreplace")
        pairs.skip(length)
        kind = pairs.number(4)
        if kind == _STRING and "template" in key:
            _scan_string(pairs, place, key)
        else:
            _skip(pairs, kind, 0)


def _scan_string(pairs: _Pairs, place: Place, key: str) -> None:
    length = pairs.length()
    start = pairs.position
    pairs.skip(length)
    if length > _MAX_TEMPLATE_BYTES:
        place.add(
            Level.SUSPICIOUS, "template-size", f"The template at {shown(key)} is too large to be analysed.", start
        )
        return
    scan_template(pairs.view.read(start, length).decode("utf-8", "replace"), place, shown(key))


def _skip(pairs: _Pairs, kind: int, nesting: int) -> None:
    if kind in _WIDTHS:
        pairs.skip(_WIDTHS[kind])
    elif kind == _STRING:
        pairs.skip(pairs.length())
    elif kind == _ARRAY and nesting < _MAX_NESTING:
        inner, count = pairs.number(4), pairs.length()
        if inner in _WIDTHS:
            pairs.skip(count * _WIDTHS[inner])
            return
        for _ in range(count):
            pairs.view.budget.spend("opcodes", 1)
            _skip(pairs, inner, nesting + 1)
    else:
        raise Broken("A value of the metadata has an unknown type.", pairs.position)
