"""Which well-known models of the public hub a new name can be taken for."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from weighhouse.rules.known_models import KNOWN_MODELS
from weighhouse.rules.lookalike_probes import probes_of, whole_key
from weighhouse.rules.lookalikes import (
    MIN_LENGTH_FOR_TWO_EDITS,
    Finding,
    LookalikeKind,
    edits_apart,
    finding,
    flat,
    kind_of_likeness,
    last_part,
    lookalike_key,
    swapped_key,
    words_of,
)

_ERRORS = frozenset((LookalikeKind.ONE_EDIT, LookalikeKind.BIT_FLIP, LookalikeKind.TWO_EDITS))


def known_lookalikes(name: str, *, is_own_namespace: bool = False) -> Sequence[Finding]:
    """The well-known models that this name may be taken for.

    A name that is itself well known is compared by its namespace only: `t5-base` is no typing error of `mt5-base`. Without
    a namespace it claims to be nobody's, and is not reported.

    >>> [found.existing for found in known_lookalikes("bert-base-uncasd")]
    ['google-bert/bert-base-uncased']
    """
    key, last = name.lower(), last_part(name).lower()
    if key in _ids() or (key == last and last in _last_parts()):
        return []
    is_known = last in _last_parts()
    found = []
    for known in dict.fromkeys(_candidates(name)):
        if is_known and last_part(known).lower() != last:
            continue
        kind = kind_of_likeness(name, known) or _two_edits(last, last_part(known).lower())
        if kind is not None and not (kind in _ERRORS and has_usual_words(name)):
            found.append(finding(name, known, kind, is_well_known=True, is_own_namespace=is_own_namespace))
    return found


def has_usual_words(name: str) -> bool:
    """Whether each word of a name is one of a well-known name: bart is no typing error of bert.

    >>> has_usual_words("bart-base"), has_usual_words("bret-base")
    (True, False)
    """
    return _words().issuperset(words_of(last_part(name)))


def _candidates(name: str) -> Iterator[str]:
    probes = probes_of(name)
    index = _index()
    for key in (*probes.exact, *probes.edited, *probes.whole_exact, *probes.whole_edited):
        yield from index.get(key, ())
    words = words_of(last_part(name))
    yield from index.get(f"words {'-'.join(sorted(words))}", ())
    # Names of as many words, nearly all of them the same: for two typing errors.
    for place in range(len(words)):
        yield from index.get(f"without {'-'.join((*words[:place], '', *words[place + 1 :]))}", ())
    if len(words) == 2:
        yield from index.get("of two", ())


@cache
def _index() -> Mapping[str, Sequence[str]]:
    """The well-known names by each key under which one is looked for."""
    found = defaultdict(list)
    for known in KNOWN_MODELS:
        words = words_of(last_part(known))
        found[lookalike_key(known)].append(known)
        found[whole_key(known)].append(known)
        found[f"words {swapped_key(known)}"].append(known)
        for place in range(len(words)):
            # What a name that leaves this word out has for its own words, and with a gap where it was.
            found[f"words {'-'.join(sorted(words[:place] + words[place + 1 :]))}"].append(known)
            found[f"without {'-'.join((*words[:place], '', *words[place + 1 :]))}"].append(known)
        if len(words) == 2:
            found["of two"].append(known)
    return found


def _two_edits(one: str, other: str) -> LookalikeKind | None:
    """Two typing errors within the words of a long name.

    Digits count as none: they are how versions and sizes differ. Nor does a whole word more.
    """
    mine, theirs = words_of(one), words_of(other)
    if len(mine) != len(theirs) or min(len(flat(one)), len(flat(other))) < MIN_LENGTH_FOR_TWO_EDITS:
        return None
    differing = [pair for pair in zip(mine, theirs, strict=True) if pair[0] != pair[1]]
    if any(min(map(len, pair)) < 4 or _digits(pair[0]) != _digits(pair[1]) for pair in differing):
        return None
    edits = sum(edits_apart(*pair, 2) for pair in differing)
    return LookalikeKind.TWO_EDITS if edits <= 2 else None


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


@cache
def _words() -> frozenset[str]:
    return frozenset(word for known in KNOWN_MODELS for word in words_of(last_part(known)))


@cache
def _ids() -> frozenset[str]:
    return frozenset(known.lower() for known in KNOWN_MODELS)


@cache
def _last_parts() -> frozenset[str]:
    return frozenset(last_part(known).lower() for known in KNOWN_MODELS)
