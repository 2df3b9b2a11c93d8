"""JSON without the traps of the usual parser, and text that every part of the registry can keep."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from weighhouse.rules.errors import Invalid, Malformed

MAX_DEPTH = 64
MAX_NUMBER_DIGITS = 1_000
MAX_STRING_BYTES = 64 * 1024

# A string may lack its end here, so that each byte is looked at once, whatever the input. Possessive, for the same.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# PostgreSQL has no place for NUL in text, and UTF-8 none for half a surrogate pair.
_BAD_CHARACTER = re.compile("[\x00\ud800-\udfff]")


class UnacceptableJson(Malformed):
    """This is not JSON that the registry takes."""


class UnacceptableText(Invalid):
    """This text has characters that cannot be kept."""


# Where a value stands: the place of what holds it, and its key or index there.
_Place = tuple["_Place", str | int] | None


def loads(data: bytes, *, max_string_bytes: int | None = MAX_STRING_BYTES) -> object:
    """The value that `data` spells, by the letter of RFC 8259 and with one meaning only.

    Strings may still hold NUL or half a surrogate pair, written as escapes: see `find_bad_text`. The caller bounds the
    size of `data`.

    Args:
        data: UTF-8 without a byte order mark.
        max_string_bytes: Longest string or key in UTF-8 bytes; `None` for no limit.

    Raises:
        UnacceptableJson: Empty, not UTF-8, not JSON, a key twice in an object, NaN or Infinity, a number beyond a
            double's range or over 1,000 digits, deeper than 64, or a string too long.

    >>> loads(b'{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    """
    text = _decode(data)
    if _depth_exceeds(data, MAX_DEPTH):
        raise UnacceptableJson(f"The JSON is nested deeper than {MAX_DEPTH} levels. Send a flatter document.")
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise UnacceptableJson(
            f"The body is not JSON: {error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}."
        ) from error
    # A string takes no more bytes than its spelling, so a short document needs no second look.
    if max_string_bytes is not None and len(data) > max_string_bytes:
        _check_string_lengths(value, max_string_bytes)
    return value


def check_text(value: str, field: str) -> str:
    """The same text, known to be free of NUL and of halves of surrogate pairs.

    Raises:
        UnacceptableText: It has one; `field` is named.
    """
    if bad := _BAD_CHARACTER.search(value):
        what = "a NUL character" if bad[0] == "\x00" else "half of a surrogate pair"
        raise UnacceptableText(f"{field} has {what} at position {bad.start()}. Remove it.", field=field)
    return value


def find_bad_text(value: object) -> str | None:
    """Where the first string is that `check_text` refuses, keys included, or `None`.

    Args:
        value: What `loads` gives; dictionaries, lists and strings are looked into, to any depth.

    >>> find_bad_text({"tags": ["fine", {"note": "a" + chr(0)}]})
    'tags[1].note'
    """
    for place, text in _strings(value):
        if _BAD_CHARACTER.search(text):
            return _path(place)
    return None


def _decode(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise UnacceptableJson("The JSON begins with a byte order mark. Send UTF-8 without one.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnacceptableJson(f"The JSON is not UTF-8: byte {error.start} cannot be read. Send UTF-8.") from error
    if not text.strip(" \t\r\n"):
        raise UnacceptableJson("The body is empty. Send a JSON document.")
    return text


def _depth_exceeds(data: bytes, limit: int) -> bool:
    """Whether brackets outside strings nest deeper; the parser itself would run out of stack far later."""
    if data.count(b"[") + data.count(b"{") <= limit:
        return False
    brackets = _STRING.sub(b"", data).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > limit


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise UnacceptableJson(f"The key {twice[:60]!a} stands twice in one object. Send it once.")
    return members


def _integer(digits: str) -> int:
    _check_digits(digits)
    return int(digits)


def _float(digits: str) -> float:
    _check_digits(digits)
    number = float(digits)
    if math.isinf(number):
        raise UnacceptableJson(f"The number {digits[:60]} is beyond the range of a double. Send a smaller one.")
    return number


def _check_digits(number: str) -> None:
    if len(number) > MAX_NUMBER_DIGITS and sum(map(str.isdigit, number)) > MAX_NUMBER_DIGITS:
        raise UnacceptableJson(f"A number has more than {MAX_NUMBER_DIGITS:,} digits. Send a shorter one.")


def _constant(name: str) -> None:
    raise UnacceptableJson(f"{name} is not JSON. Send a number or null.")


def _check_string_lengths(value: object, limit: int) -> None:
    for place, text in _strings(value):
        if len(text) > limit or len(text.encode("utf-8", "surrogatepass")) > limit:
            raise UnacceptableJson(f"The string at {_path(place)} is over {limit:,} bytes. Send a shorter one.")


def _strings(value: object) -> Iterator[tuple[_Place, str]]:
    """Every key and string with its place, in the order of the document. A loop, so that depth costs no stack."""
    waiting: list[tuple[_Place, object]] = [(None, value)]
    while waiting:
        place, found = waiting.pop()
        if isinstance(found, str):
            yield place, found
        elif isinstance(found, dict):
            for key, member in reversed(found.items()):
                inside: _Place = (place, str(key))
                waiting += ((inside, member), (inside, key))
        elif isinstance(found, list | tuple):
            waiting.extend(((place, index), found[index]) for index in range(len(found) - 1, -1, -1))


def _path(place: _Place) -> str:
    """`tags[1].note`, or `body` for the document itself."""
    steps = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else "." + ascii(step[:60])[1:-1])
    return "".join(reversed(steps)).removeprefix(".") or "body"
