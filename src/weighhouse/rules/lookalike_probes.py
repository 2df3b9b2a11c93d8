"""The keys under which an index finds every name that a new one may be alike to.

What can be enumerated from the new name alone is: all names one edit away, without or with an affix, with words swapped or
repeated. A few thousand keys, each looked up in an index, are faster than a search by trigrams, where common words (bert)
have a third of all names in them, and surer: bert and bart share two trigrams of eight.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from weighhouse.rules.lookalikes import (
    CLAIMS,
    FORMS,
    MIN_LENGTH_FOR_EDITS,
    ORGANISATIONS,
    flat,
    last_part,
    lookalike_key,
    skeleton,
    stem,
    swapped_key,
    words_of,
)

# One of each group that a skeleton makes one; the digits that stand for themselves.
_ALPHABET = "abcdefghjklmnopqrstuvwxyz34679"


@dataclass(frozen=True)
class Probes:
    """What to look up for one new name.

    Args:
        exact: Keys of the last part that look just like it, or differ by an affix or a repeated word.
        edited: Those one edit away.
        whole_exact: Keys of the whole name, namespace included.
        whole_edited: Those one edit away.
        swapped: The key of its words.
    """

    exact: frozenset[str]
    edited: frozenset[str]
    whole_exact: frozenset[str]
    whole_edited: frozenset[str]
    swapped: str


def probes_of(name: str) -> Probes:
    """The keys of all names that this one may be alike to.

    >>> "bert" in probes_of("brt").edited, "bert" in probes_of("bert-official").exact
    (False, True)
    """
    last = last_part(name)
    exact = frozenset((lookalike_key(name), *map(skeleton, _affixed(last)), *map(skeleton, _repeated(last))))
    whole = flat(name)
    edited = frozenset(map(skeleton, _one_edit(flat(last)))) - exact
    whole_exact = frozenset((skeleton(whole), *map(skeleton, _other_namespaces(name))))
    whole_edited = edited if whole == flat(last) else frozenset(map(skeleton, _one_edit(whole)))
    return Probes(exact, edited, whole_exact, whole_edited - whole_exact, swapped_key(name))


def whole_key(name: str) -> str:
    """The skeleton of a name with its namespace.

    >>> whole_key("google/bert") == whole_key("g00gle-bert")
    True
    """
    return skeleton(flat(name))


def _one_edit(text: str) -> Iterator[str]:
    """Every text that one edit makes, and that is long enough to be taken for another."""
    if len(text) < MIN_LENGTH_FOR_EDITS:
        return
    for at in range(len(text) + 1):
        head, tail = text[:at], text[at:]
        if tail and len(text) > MIN_LENGTH_FOR_EDITS:
            yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in _ALPHABET:
            yield head + letter + tail
            if tail:
                yield head + letter + tail[1:]


def _affixed(last: str) -> Iterator[str]:
    for affixes in (CLAIMS, FORMS, (*CLAIMS, *FORMS)):
        bare = stem(last, affixes)
        yield bare
        for affix in affixes:
            yield bare + affix
            yield affix + bare


def _repeated(last: str) -> Iterator[str]:
    words = words_of(last)
    yield "".join(dict.fromkeys(words))
    for at, word in enumerate(words):
        yield "".join((*words[:at], word, *words[at:]))


def _other_namespaces(name: str) -> Iterator[str]:
    namespace, slash, last = name.rpartition("/")
    if not slash:
        return
    bare = stem(namespace, ORGANISATIONS)
    for affix in ("", *ORGANISATIONS):
        yield bare + affix + flat(last)
        yield affix + bare + flat(last)
