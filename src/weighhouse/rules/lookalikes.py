"""Names made to be confused with another.

A registry finds the names worth comparing by an equal `lookalike_key`, an equal `swapped_key` or an edit distance of
at most `MAX_KEY_EDITS` between two `lookalike_key`, and asks `compare` about each. Trigrams alone do not do: bert and
bart share two of eight.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

MIN_LENGTH_FOR_EDITS = 4  # of three characters, one edit changes a third: nearly all short names would be alike

# One edit in a name can break up a pair that its key makes one letter: "rn" for "m" becomes "ran".
MAX_KEY_EDITS = 3

_SEPARATORS = re.compile(r"[-_.]+")
# Lower case first: I becomes i, O becomes o. Pairs of letters that read as one in many typefaces, then single ones.
_PAIRS = (("rn", "m"), ("vv", "w"))
_SINGLE = str.maketrans("1i0528", "lloszb")


class LookalikeKind(StrEnum):
    """How two names are alike."""

    CASE = "case"
    SEPARATORS = "separators"
    DIGITS = "digits"
    SWAPPED_WORDS = "swapped_words"
    ONE_EDIT = "one_edit"
    OTHER_NAMESPACE = "other_namespace"


@dataclass(frozen=True)
class Lookalike:
    """A name that another can be taken for, and why."""

    existing: str
    kind: LookalikeKind
    reason: str


def lookalike_key(name: str) -> str:
    """A skeleton that a name shares with those that look like it.

    The namespace, letter case and separators are dropped; `l`, `1`, `I`, `O`, `0`, `rn`, `m` and the like are made one.

    >>> lookalike_key("google/BERT-lean1") == lookalike_key("bert_leanI")
    True
    """
    key = _flat(_last_part(name))
    for pair, one in _PAIRS:
        key = key.replace(pair, one)
    return key.translate(_SINGLE)


def swapped_key(name: str) -> str:
    """The words of a name in alphabetical order, so that their own order no longer matters.

    >>> swapped_key("google/base-BERT")
    'base-bert'
    """
    return "-".join(sorted(word for word in _SEPARATORS.split(_last_part(name).lower()) if word))


def compare(candidate: str, existing: str) -> Lookalike | None:
    """Why `candidate` can be taken for `existing`, by the plainest reason that holds, or `None`.

    The very same text is no look-alike. Names that differ in letter case only are one name to the registry, yet
    reported: whoever reads them may not know.

    >>> compare("bert-base", "bert_base").kind
    <LookalikeKind.SEPARATORS: 'separators'>
    """
    kind = _kind(candidate, existing)
    if kind is None:
        return None
    reason = {
        LookalikeKind.CASE: "differs from it only in upper and lower case",
        LookalikeKind.OTHER_NAMESPACE: "is the same name in another namespace",
        LookalikeKind.SEPARATORS: "differs from it only in separators",
        LookalikeKind.DIGITS: "differs from it only in characters that look alike",
        LookalikeKind.SWAPPED_WORDS: "has the same words in another order",
        LookalikeKind.ONE_EDIT: "is one typing error away from it",
    }[kind]
    return Lookalike(existing, kind, f"'{candidate}' can be taken for '{existing}': it {reason}.")


def _kind(candidate: str, existing: str) -> LookalikeKind | None:
    if candidate == existing:
        return None
    if candidate.lower() == existing.lower():
        return LookalikeKind.CASE
    one, other = _last_part(candidate), _last_part(existing)
    if one.lower() == other.lower():
        return LookalikeKind.OTHER_NAMESPACE
    # The slash counts as a separator too: google-bert for google/bert.
    if _flat(one) == _flat(other) or _flat(candidate) == _flat(existing):
        return LookalikeKind.SEPARATORS
    if lookalike_key(one) == lookalike_key(other):
        return LookalikeKind.DIGITS
    if swapped_key(one) == swapped_key(other):
        return LookalikeKind.SWAPPED_WORDS
    return LookalikeKind.ONE_EDIT if _one_edit_apart(_flat(one), _flat(other)) else None


def _one_edit_apart(one: str, other: str) -> bool:
    """Whether inserting, deleting or replacing one character, or swapping two neighbours, makes `one` into `other`."""
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) < MIN_LENGTH_FOR_EDITS or len(longer) - len(shorter) > 1 or one == other:
        return False
    # The first place where they differ is where the edit must have been; what follows has to agree.
    at = next((place for place in range(len(shorter)) if shorter[place] != longer[place]), len(shorter))
    if len(shorter) < len(longer):
        return shorter[at:] == longer[at + 1 :]
    replaced = shorter[at + 1 :] == longer[at + 1 :]
    swapped = shorter[at : at + 2] == longer[at : at + 2][::-1] and shorter[at + 2 :] == longer[at + 2 :]
    return replaced or swapped


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def _flat(name: str) -> str:
    return _SEPARATORS.sub("", name.lower().replace("/", ""))
