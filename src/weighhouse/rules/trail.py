"""The chain of the audit trail: the form in which an entry is hashed, and what no entry may hold."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from weighhouse.rules.errors import Invalid

DONE: Final = "done"
REFUSED: Final = "refused"

RESET: Final = "reset registry"
"""The act that begins a new chain, whose first link still holds on to the last one of the chain before."""

MAX_CHARACTERS = 1024

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
# What people paste where it does not belong: names and passwords in addresses, signatures, tokens of the hub and GitHub.
_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), "***@"),
    (re.compile(r"(?i)\b((?:x-amz-)?(?:signature|security-token|credential)|token|password)=[^&\s]+"), r"\1=***"),
    (re.compile(r"\b(?:hf_|gh[opsur]_|github_pat_)\w{16,}"), "***"),
    (re.compile(r"(?i)\bbearer +[\w.~+/=-]{8,}"), "Bearer ***"),
)
_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-fA-F]{64})")


class InvalidHead(Invalid):
    """This is not the head of a chain."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:90]!a} is not a head. One is a number, a colon and 64 hexadecimal digits, as audit verify prints it.",
            field="head",
        )


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain.

    Args:
        seq: The number of the entry, from 1 on without a gap, over all chains.
        chain: The number of the chain; each reset begins the next.
        sha256: Covers the entry, and by the link before everything up to it.
    """

    seq: int
    chain: int
    sha256: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.seq}:{self.sha256.hex()}"


BEGINNING = Link(0, 1, bytes(32))


@dataclass(frozen=True, slots=True)
class Noted:
    """A head that somebody wrote down."""

    seq: int
    sha256: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.seq}:{self.sha256.hex()}"


def parse_head(text: str) -> Noted:
    """The head that a text names.

    Raises:
        InvalidHead: It names none.

    >>> parse_head("7:" + "0a" * 32).seq
    7
    """
    match = _HEAD.fullmatch(text.strip())
    if match is None:
        raise InvalidHead(text)
    return Noted(int(match[1]), bytes.fromhex(match[2]))


def canonical(content: Mapping[str, Any]) -> bytes:
    """The one form of an entry that is hashed: JSON of sorted keys, without spaces, in ASCII.

    Raises:
        TypeError: A value has no JSON form.

    >>> canonical({"b": [1, None], "a": "\\u00e9\\n"})
    b'{"a":"\\\\u00e9\\\\n","b":[1,null]}'
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=_plain).encode("ascii")


def next_link(head: Link, content: Mapping[str, Any]) -> tuple[Link, bytes]:
    """The link that follows `head`, and the form that it covers.

    Args:
        content: The entry, without its place in the chain.
    """
    begins = content["action"] == RESET and content["outcome"] == DONE
    seq, chain = head.seq + 1, head.chain + begins
    form = canonical({**content, "seq": seq, "chain": chain})
    return Link(seq, chain, hashlib.sha256(head.sha256 + form).digest()), form


def clean(value: Any) -> Any:
    """A JSON value as an entry may hold it: without secrets that are known by their form, control characters escaped,
    each text cut.

    >>> clean({"why": "a\\nb", "from": "https://me:pw@example.org/x"})
    {'why': 'a\\\\u000ab', 'from': 'https://***@example.org/x'}
    """
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, Mapping):
        return {_clean_text(str(key)): clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(one) for one in value]
    return value


def _clean_text(text: str) -> str:
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    escaped = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text[:MAX_CHARACTERS])
    return escaped if len(escaped) <= MAX_CHARACTERS else escaped[: MAX_CHARACTERS - 1] + "…"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value)} has no place in an entry")
