"""The opcodes of pickles: how long their arguments are, what they take from the stack, and the text that they spell."""

import codecs
import pickletools
import warnings
from dataclasses import dataclass

from weighhouse.rules.scan.source import Broken, View, need

MAX_NAME_BYTES = 1_024
_LINE_BYTES = 64 << 10
_COUNTED = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


@dataclass(frozen=True, slots=True)
class Opcode:
    """One opcode.

    Args:
        fixed: Bytes of an argument of fixed length.
        counted: Bytes of the length before an argument, 0 for none.
        lines: Lines that the argument takes.
        takes: Values popped; a popped mark takes all above it with it.
        to_mark: Whether it pops everything down to the topmost mark.
        gives: Values pushed.
    """

    name: str
    fixed: int
    counted: int
    lines: int
    takes: int
    to_mark: bool
    gives: int


def _read(opcode: pickletools.OpcodeInfo) -> Opcode:
    length = opcode.arg.n if opcode.arg else 0
    lines = 0
    if length == pickletools.UP_TO_NEWLINE:
        lines = 2 if opcode.arg and opcode.arg.name == "stringnl_noescape_pair" else 1
    before = opcode.stack_before
    marked = pickletools.markobject in before
    taken = before[: before.index(pickletools.markobject)] if marked else before
    return Opcode(
        opcode.name, max(length, 0), _COUNTED.get(length, 0), lines, len(taken), marked, len(opcode.stack_after)
    )


TABLE: tuple[Opcode | None, ...] = tuple(
    {ord(opcode.code): _read(opcode) for opcode in pickletools.opcodes}.get(code) for code in range(256)
)
TEXTS = frozenset(
    ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
)


def line_end(view: View, position: int) -> int:
    """Where the line that begins at `position` has its newline. Lines are looked through, never held.

    Raises:
        Broken: There is no newline before the end.
    """
    while True:
        chunk = view.read(position, _LINE_BYTES)
        if not chunk:
            raise Broken("The pickle ends within a line.", position)
        found = chunk.find(b"\n")
        view.budget.spend("parsed", found if found >= 0 else len(chunk))
        if found >= 0:
            return position + found
        position += len(chunk)


def name_at(view: View, position: int) -> str | None:
    """The text that the opcode at `position` pushes; `None` when it is none, or too long for a name.

    Raises:
        Broken: The content ends within it.
    """
    opcode = TABLE[need(view, position, 1)[0]]
    if opcode is None or opcode.name not in TEXTS:
        return None
    if opcode.counted:
        length = int.from_bytes(need(view, position + 1, opcode.counted), "little")
        if length > MAX_NAME_BYTES:
            return None
        return need(view, position + 1 + opcode.counted, length).decode("utf-8", "backslashreplace")
    end = line_end(view, position + 1)
    if end - position > 4 * MAX_NAME_BYTES:
        return None
    return _unescaped(need(view, position + 1, end - position - 1), opcode.name)


def _unescaped(line: bytes, name: str) -> str | None:
    try:
        if name == "UNICODE":
            return line.decode("raw-unicode-escape")
        with warnings.catch_warnings():
            # Of escapes that Python is going to refuse some day; a file may hold any.
            warnings.simplefilter("ignore")
            return codecs.escape_decode(line.strip()[1:-1])[0].decode("latin-1")
    except (ValueError, UnicodeError):
        return None
