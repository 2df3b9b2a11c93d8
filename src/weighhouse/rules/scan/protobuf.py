"""Protocol buffers, walked without a library: fields of a message by number, nested ones by a small schema."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from weighhouse.rules.scan.source import Broken, LimitReached, View

_MAX_DEPTH = 32
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Schema = Mapping[str, Mapping[int, str]]
"""Which fields of a message are messages, by the name of the message and the number of the field."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field: for bytes, `start` and `length` say where they are; for numbers `value` is the number."""

    number: int
    wire: int
    value: int
    start: int
    length: int


def fields(view: View, start: int, end: int) -> Iterator[Field]:
    """The fields between two places. Bytes are stepped over, not read.

    Raises:
        Broken: This is no message.
    """
    position = start
    while position < end:
        view.budget.spend("opcodes", 2)
        tag, position = _varint(view, position, end)
        number, wire = tag >> 3, tag & 7
        value, length = 0, 0
        if wire == VARINT:
            value, position = _varint(view, position, end)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        elif wire == BYTES:
            length, position = _varint(view, position, end)
        if wire not in (VARINT, FIXED64, BYTES, FIXED32) or number == 0 or length > end - position:
            raise Broken("This is no protocol buffer.", position)
        yield Field(number, wire, value, position, length)
        position += length


def _varint(view: View, position: int, end: int) -> tuple[int, int]:
    content = view.read(position, min(10, end - position))
    value = 0
    for index, byte in enumerate(content):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise Broken("This is no protocol buffer.", position)


def walk(view: View, message: str, schema: Schema, visit: Callable[[str, Field], None]) -> None:
    """Visits every field of a message and of those in it that the schema knows.

    Raises:
        Broken: It, or one of them, is no message.
        LimitReached: They are nested too deep, or too many.
    """
    waiting: list[Iterator[Field]] = [fields(view, 0, view.size)]
    names = [message]
    while waiting:
        field = next(waiting[-1], None)
        if field is None:
            waiting.pop()
            names.pop()
            continue
        visit(names[-1], field)
        inner = schema.get(names[-1], {}).get(field.number)
        if inner is not None and field.wire == BYTES:
            if len(waiting) >= _MAX_DEPTH:
                raise LimitReached("Messages are nested too deep.")
            waiting.append(fields(view, field.start, field.start + field.length))
            names.append(inner)


def text_of(view: View, field: Field, limit: int = 1_024) -> str:
    """The text of a field, at most `limit` bytes of it."""
    return view.read(field.start, min(field.length, limit)).decode("utf-8", "backslashreplace")
