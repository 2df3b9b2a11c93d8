"""Names made to be confused with another: what makes two names alike, and how grave that is.

A registry finds the names worth comparing by `lookalike_probes.probes_of`, and asks `compare` about each.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from weighhouse.rules.confusables import as_ascii

MIN_LENGTH_FOR_EDITS = 4  # of three characters, one edit changes a third: nearly all short names would be alike
MIN_LENGTH_FOR_TWO_EDITS = 10

# Words that claim a name to be the true one: the difference that an impostor's name needs.
CLAIMS = ("official", "original", "verified", "genuine", "authentic", "trusted", "secure", "real", "true", "safe")
# Words that say which form of a model this is: conversions and editions, which people name so in good faith.
FORMS = (
    *(
        "hf",
        "gguf",
        "ggml",
        "gptq",
        "awq",
        "exl2",
        "mlx",
        "onnx",
        "openvino",
        "safetensors",
        "quantized",
        "4bit",
        "8bit",
    ),
    *("fp8", "fp16", "bf16", "int4", "int8", "v1", "v2", "v3", "latest", "new", "final", "fixed", "updated", "model"),
)
# What organisations add to their own names.
ORGANISATIONS = ("ai", "org", "team", "inc", "labs", "lab", "research", "hq", "models", *CLAIMS)

# Without these a name is another model of its family, not the same one badly remembered.
_VARIANTS = frozenset(
    (
        *("tiny", "mini", "small", "base", "medium", "large", "huge", "giant", "nano", "micro", "turbo", "distilled"),
        *("cased", "uncased", "multilingual", "english", "chat", "instruct", "code", "coder", "math", "vision", "lite"),
        *("chinese", "german", "japanese", "portuguese", "turkish", "french", "spanish", "arabic", "russian", "korean"),
        *("finetuned", "pretrained", "tuned", "preview", "beta", "alpha", "long", "fast", *CLAIMS, *FORMS),
    )
)
_SEPARATORS = re.compile(r"[-_.]+")
_NUMBERS = re.compile(r"\d+")
# Lower case first: I becomes i, O becomes o. Pairs of letters that read as one in many typefaces, then single ones.
_PAIRS = (("rn", "m"), ("vv", "w"))
_SINGLE = str.maketrans("1i0528", "lloszb")


class LookalikeKind(StrEnum):
    """How two names are alike."""

    CASE = "case"
    SEPARATORS = "separators"
    DIGITS = "digits"
    LIKE_NAMESPACE = "like_namespace"
    OTHER_NAMESPACE = "other_namespace"
    SWAPPED_WORDS = "swapped_words"
    REPEATED_WORDS = "repeated_words"
    NUMBER = "number"
    BIT_FLIP = "bit_flip"
    ONE_EDIT = "one_edit"
    CLAIM = "claim"
    FORM = "form"
    OMITTED_WORD = "omitted_word"
    TWO_EDITS = "two_edits"
    SAME_WEIGHTS = "same_weights"
    """Not the names: the content is another's."""


_REASONS = {
    LookalikeKind.CASE: "differs from it only in upper and lower case",
    LookalikeKind.SEPARATORS: "differs from it only in separators",
    LookalikeKind.DIGITS: "differs from it only in characters that look alike",
    LookalikeKind.LIKE_NAMESPACE: "is the same name in a namespace that looks alike",
    LookalikeKind.OTHER_NAMESPACE: "is the same name in another namespace",
    LookalikeKind.SWAPPED_WORDS: "has the same words in another order",
    LookalikeKind.REPEATED_WORDS: "repeats a word of it",
    LookalikeKind.NUMBER: "differs from it only in a number",
    LookalikeKind.BIT_FLIP: "is one flipped bit away from it",
    LookalikeKind.ONE_EDIT: "is one typing error away from it",
    LookalikeKind.CLAIM: "only adds a claim to be the true one",
    LookalikeKind.FORM: "only adds the word for a form or an edition",
    LookalikeKind.OMITTED_WORD: "only leaves a word out",
    LookalikeKind.TWO_EDITS: "is two typing errors away from it",
    LookalikeKind.SAME_WEIGHTS: "has the same weights",
}


class Severity(StrEnum):
    """How grave a likeness is, mildest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    def reaches(self, least: "Severity") -> bool:
        """Whether this is as grave as `least`, or graver."""
        order = list(Severity)
        return order.index(self) >= order.index(least)


# 2: a reader does not see the difference; 1: nobody gives such a name in good faith without a look at the other;
# 0: usual, and abused; -1: how the members of one family are named.
_STRENGTHS = {
    LookalikeKind.CASE: 2,
    LookalikeKind.SEPARATORS: 2,
    LookalikeKind.DIGITS: 2,
    LookalikeKind.LIKE_NAMESPACE: 2,
    LookalikeKind.OTHER_NAMESPACE: 0,
    LookalikeKind.SWAPPED_WORDS: 1,
    LookalikeKind.REPEATED_WORDS: 1,
    LookalikeKind.NUMBER: -1,
    LookalikeKind.BIT_FLIP: 1,
    LookalikeKind.ONE_EDIT: 1,
    LookalikeKind.CLAIM: 1,
    LookalikeKind.FORM: 0,
    LookalikeKind.OMITTED_WORD: 0,
    LookalikeKind.TWO_EDITS: 0,
    LookalikeKind.SAME_WEIGHTS: 0,
}
_SOME_DOWNLOADS = 10
_MANY_DOWNLOADS = 1_000


@dataclass(frozen=True)
class Lookalike:
    """A name that another can be taken for, and why."""

    existing: str
    kind: LookalikeKind
    reason: str


@dataclass(frozen=True)
class Finding(Lookalike):
    """The same with what it means: how used the other name is, and how grave the likeness."""

    severity: Severity
    downloads: int = 0
    is_well_known: bool = False
    """Whether the other is a name of the public hub, not of this registry."""


def weigh(
    kind: LookalikeKind, downloads: int, *, is_well_known: bool = False, is_own_namespace: bool = False
) -> Severity:
    """How grave a likeness is: graver the less the difference is seen, and the more the other name is used.

    Args:
        downloads: Of all versions of the other name.
        is_well_known: The other is a name of the public hub; it counts as much used.
        is_own_namespace: The new name stands in its uploader's own namespace, which says whose it is: what is usual
            there is not held against it.

    >>> weigh(LookalikeKind.ONE_EDIT, 5_000), weigh(LookalikeKind.ONE_EDIT, 0)
    (<Severity.HIGH: 'high'>, <Severity.LOW: 'low'>)
    """
    strength = _STRENGTHS[kind]
    if is_own_namespace and strength <= 0:
        return Severity.LOW
    use = 2 if is_well_known or downloads >= _MANY_DOWNLOADS else 1 if downloads >= _SOME_DOWNLOADS else 0
    points = strength + use
    return Severity.HIGH if points >= 3 else Severity.MEDIUM if points == 2 else Severity.LOW


def finding(
    candidate: str,
    existing: str,
    kind: LookalikeKind,
    *,
    downloads: int = 0,
    is_well_known: bool = False,
    is_own_namespace: bool = False,
) -> Finding:
    """What is to be said of `candidate` when it is alike to `existing` in this way."""
    severity = weigh(kind, downloads, is_well_known=is_well_known, is_own_namespace=is_own_namespace)
    what = f"the well-known '{existing}'" if is_well_known else f"'{existing}'"
    reason = f"'{candidate}' can be taken for {what}: it {_REASONS[kind]}."
    return Finding(existing, kind, reason, severity, downloads, is_well_known)


def lookalike_key(name: str) -> str:
    """A skeleton that a name shares with those that look like it.

    The namespace, letter case and separators are dropped; `l`, `1`, `I`, `O`, `0`, `rn`, `m` and the like are made one.

    >>> lookalike_key("google/BERT-lean1") == lookalike_key("bert_leanI")
    True
    """
    return skeleton(flat(last_part(name)))


def swapped_key(name: str) -> str:
    """The words of a name in alphabetical order, so that their own order no longer matters.

    >>> swapped_key("google/base-BERT")
    'base-bert'
    """
    return "-".join(sorted(words_of(last_part(name))))


def compare(candidate: str, existing: str) -> Lookalike | None:
    """Why `candidate` can be taken for `existing`, by the plainest reason that holds, or `None`.

    The very same text is no look-alike. Names that differ in letter case only are one name to the registry, yet
    reported: whoever reads them may not know.

    >>> compare("bert-base", "bert_base").kind
    <LookalikeKind.SEPARATORS: 'separators'>
    """
    kind = kind_of_likeness(candidate, existing)
    if kind is None:
        return None
    return Lookalike(existing, kind, f"'{candidate}' can be taken for '{existing}': it {_REASONS[kind]}.")


def kind_of_likeness(candidate: str, existing: str) -> LookalikeKind | None:
    """How `candidate` is alike to `existing`, by the plainest kind that holds; `None` when it is not."""
    if candidate == existing:
        return None
    candidate, existing = as_ascii(candidate), as_ascii(existing)
    if candidate == existing:
        return LookalikeKind.DIGITS
    if candidate.lower() == existing.lower():
        return LookalikeKind.CASE
    one, other = last_part(candidate).lower(), last_part(existing).lower()
    if one == other:
        is_alike = _namespaces_alike(candidate.lower(), existing.lower())
        return LookalikeKind.LIKE_NAMESPACE if is_alike else LookalikeKind.OTHER_NAMESPACE
    # The slash counts as a separator too: google-bert for google/bert.
    if flat(one) == flat(other) or flat(candidate) == flat(existing):
        return LookalikeKind.SEPARATORS
    if lookalike_key(one) == lookalike_key(other) or skeleton(flat(candidate)) == skeleton(flat(existing)):
        return LookalikeKind.DIGITS
    return _kind_by_words(one, other) or _kind_by_edits(candidate, existing) or _kind_by_affix(one, other)


def _kind_by_words(one: str, other: str) -> LookalikeKind | None:
    mine, theirs = words_of(one), words_of(other)
    if sorted(mine) == sorted(theirs):
        return LookalikeKind.SWAPPED_WORDS
    if set(mine) == set(theirs):
        return LookalikeKind.REPEATED_WORDS
    return LookalikeKind.OMITTED_WORD if _leaves_out_a_word(mine, theirs) else None


def _kind_by_edits(candidate: str, existing: str) -> LookalikeKind | None:
    pairs = ((flat(last_part(candidate)), flat(last_part(existing))), (flat(candidate), flat(existing)))
    if not any(one_edit_apart(*pair) for pair in pairs):
        return None
    one, other = next(pair for pair in pairs if one_edit_apart(*pair))
    if _NUMBERS.sub("", one) == _NUMBERS.sub("", other):
        return LookalikeKind.NUMBER
    return LookalikeKind.BIT_FLIP if _one_bit_apart(candidate.lower(), existing.lower()) else LookalikeKind.ONE_EDIT


def _kind_by_affix(one: str, other: str) -> LookalikeKind | None:
    if stem(one, CLAIMS) == stem(other, CLAIMS):
        return LookalikeKind.CLAIM
    both = (*CLAIMS, *FORMS)
    return LookalikeKind.FORM if stem(one, both) == stem(other, both) else None


def _namespaces_alike(candidate: str, existing: str) -> bool:
    one, other = (name.rpartition("/")[0] for name in (candidate, existing))
    if not one or not other:
        return False
    if skeleton(flat(one)) == skeleton(flat(other)) or one_edit_apart(flat(one), flat(other)):
        return True
    return stem(one, ORGANISATIONS) == stem(other, ORGANISATIONS)


def _leaves_out_a_word(mine: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether `mine` is `theirs` without one word, and that word does not tell members of a family apart."""
    if len(mine) != len(theirs) - 1 or len(mine) < 2:
        return False
    at = next((place for place in range(len(mine)) if mine[place] != theirs[place]), len(mine))
    word = theirs[at]
    return list(mine[at:]) == list(theirs[at + 1 :]) and len(word) >= 4 and word.isalpha() and word not in _VARIANTS


def one_edit_apart(one: str, other: str) -> bool:
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


def edits_apart(one: str, other: str, most: int) -> int:
    """How many edits make `one` into `other` (optimal string alignment), or `most + 1` when it takes more.

    >>> edits_apart("bret-bsae", "bert-base", 2), edits_apart("bert", "llama", 2)
    (2, 3)
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, mine in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, theirs in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (mine != theirs))
            if i > 1 and j > 1 and mine == other[j - 2] and one[i - 2] == theirs:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > most and min(before) > most:
            return most + 1
    return min(row[-1], most + 1)


def _one_bit_apart(one: str, other: str) -> bool:
    """Whether one bit of memory that flips makes one name the other."""
    if len(one) != len(other):
        return False
    flips = [ord(mine) ^ ord(theirs) for mine, theirs in zip(one, other, strict=True) if mine != theirs]
    return len(flips) == 1 and flips[0].bit_count() == 1


def stem(name: str, affixes: Sequence[str]) -> str:
    """A name without separators and without these words at either end of it; never without all of its words.

    >>> stem("bert-base-official", CLAIMS), stem("bertofficial", CLAIMS)
    ('bertbase', 'bert')
    """
    words = words_of(name)
    while len(words) > 1 and words[-1] in affixes:
        words = words[:-1]
    while len(words) > 1 and words[0] in affixes:
        words = words[1:]
    key = "".join(words)
    # Grown together only when it is long: a name may end in hf by itself.
    longest = (affix for affix in affixes if len(affix) > 5 and key.endswith(affix) and len(key) >= len(affix) + 4)
    return key.removesuffix(next(longest, ""))


def skeleton(text: str) -> str:
    """A text without separators, with all that reads alike made one."""
    for pair, one in _PAIRS:
        text = text.replace(pair, one)
    return text.translate(_SINGLE)


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case and in their order."""
    return [word for word in _SEPARATORS.split(as_ascii(name).lower()) if word]


def last_part(name: str) -> str:
    """A name without its namespace."""
    return name.rpartition("/")[2]


def flat(name: str) -> str:
    """A name in lower case, without separators and slash."""
    return _SEPARATORS.sub("", as_ascii(name).lower().replace("/", ""))
