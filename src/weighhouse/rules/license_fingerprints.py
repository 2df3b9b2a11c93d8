"""A license text as a multiset of hashed word pairs, and such a multiset in a line of characters.

Pairs and not words, so that order counts; hashes, so that no text has to be kept.
"""

import base64
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

_HASH_BITS = 24
# A notice is `copyright` followed by (c), the sign or a year. A rule without that deletes the ISC license's condition
# "copyright notice and this permission notice"; one that runs to the line's end deletes a text written on one line.
_NOTICE = re.compile(
    r"copyright\s*(?:\(c\)|©|(?=(?:19|20)\d\d))[^\n]{0,90}?"
    r"(?=\n|$|all rights reserved|\b(?:permission|redistribution|licensed|this)\b)"
    r"|copyright\s*(?:\(c\)|©|(?=(?:19|20)\d\d))[^\n]{0,90}|all rights reserved"
)
# Comment and quote marks, then the number or letter of a list's item.
_MARGIN = re.compile(r"^[ \t]*(?:[#*>;/|%\"'-]+[ \t]*)*(?:\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})[.)])?", re.MULTILINE)
_WORD = re.compile(r"[a-z0-9]+")


def words_of(text: str) -> list[str]:
    """The words of a text without copyright notices, margins and numbering.

    >>> words_of("# Copyright (c) 2024 Somebody\\n# 1. Keep this copyright notice.")
    ['keep', 'this', 'copyright', 'notice']
    """
    return _WORD.findall(_MARGIN.sub(" ", _NOTICE.sub(" ", text.lower())))


def pairs_of(words: Sequence[str]) -> list[int]:
    """The hash of each two neighbouring words, in order: one fewer than words."""
    mask = (1 << _HASH_BITS) - 1
    return [zlib.crc32(f"{one} {next_one}".encode()) & mask for one, next_one in pairwise(words)]


def pack(pairs: Sequence[int]) -> str:
    """A multiset of hashes as printable characters: sorted, each as its distance from the one before, seven bits a byte."""
    packed, before = bytearray(), 0
    for pair in sorted(pairs):
        distance, before = pair - before, pair
        while distance > 0x7F:
            packed.append(0x80 | distance & 0x7F)
            distance >>= 7
        packed.append(distance)
    return base64.b85encode(bytes(packed)).decode("ascii")


def unpack(packed: str) -> Counter[int]:
    """What `pack` packed.

    >>> unpack(pack([5, 70000, 5])) == Counter({5: 2, 70000: 1})
    True
    """
    pairs: Counter[int] = Counter()
    last = distance = shift = 0
    for byte in base64.b85decode(packed):
        distance |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            last += distance
            pairs[last] += 1
            distance = shift = 0
    return pairs
