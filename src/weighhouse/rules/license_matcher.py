"""Which licenses a text is: compared with templates of hashed word pairs, with the words that were added looked at.

The recipe and its thresholds are the license specification's, section 9, measured there on 414 inputs.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

from weighhouse.rules.compatibility_rules import Confidence
from weighhouse.rules.license_fingerprints import pairs_of, unpack, words_of
from weighhouse.rules.license_tables import Category, category_of
from weighhouse.rules.license_templates import TEMPLATES
from weighhouse.rules.licenses import MAX_TEXT_CHARACTERS, Atom, License, either, recognise, together, without_suffix

WHOLE_DICE = 0.90
CONTAINED_RECALL = 0.96
CUT_PRECISION = 0.97
CUT_RECALL = 0.40
MAX_LICENSES = 4

MODIFIED = "LicenseRef-modified"

_SHORT_WORDS = 300
_CONTEXT_WORDS = 3
_RIDER = re.compile(
    r"\b(commons clause|non ?commercial|(research|academic|educational|evaluation) (purposes?|use)|not for (commercial|resale)"
    r"|good not evil|(may|must|shall|can|do) ?not (be )?(use|used|sell|sold)(?! (this file except|to (endorse|promote|advertise)))"
    r"|prohibited uses?|use restrictions?|special exception|additional (terms|restrictions?|conditions?)|personal use"
    r"|commercial use|right to sell|military|weapons?)\b"
)
# "either version 3 of the License, or (at your option) any later version" is the GNU notice and no choice of licenses.
_CHOICE = re.compile(
    r"\beither (of|the|license|licence|apache|mit|bsd)\b|\bat your (option|choice)(?! any later)|\bdual(ly)? licen[cs]ed\b"
)
_LATER = re.compile(r"\bany later version\b")
_CONDITIONS_OF_USE = frozenset(
    {Category.NON_COMMERCIAL, Category.NO_DERIVATIVES, Category.USE_RESTRICTED, Category.COMMUNITY}
)


Kind = Literal["whole", "contained", "cut"]
_KINDS: tuple[Kind, Kind, Kind] = ("cut", "contained", "whole")


@dataclass(frozen=True)
class Match:
    """One license found in a text; `score` is the Dice coefficient of a whole text, else how much of the template is there."""

    id: str
    score: float
    kind: Kind


@dataclass(frozen=True)
class Detected:
    """What a text is.

    `license` is `None` when nothing was recognised. `is_modified`: a known text with words added, whose terms are not known.
    `offers_choice`: a few words that leave a choice between licenses, here or in other files.
    """

    license: License | None
    confidence: Confidence
    score: float | None = None
    is_modified: bool = False
    offers_choice: bool = False


@dataclass(frozen=True)
class _Found:
    matches: tuple[Match, ...]
    added: tuple[str, ...]
    """Runs of words that no template covers, each with some words around it."""

    @property
    def added_words(self) -> int:
        """How many words these runs have."""
        return sum(run.count(" ") + 1 for run in self.added)


def detect(text: str) -> Detected:
    """The license of a text: a known text, a notice that names one, or an SPDX tag; never an exception.

    >>> detect("Licensed under the Apache License, Version 2.0 (the \\"License\\")").license.expression
    'Apache-2.0'
    """
    text = text[:MAX_TEXT_CHARACTERS]
    words = words_of(text)
    found = _find(words)
    if not found.matches:
        return _from_names(text, words)
    open_ids = [match.id for match in found.matches if category_of(match.id) not in _CONDITIONS_OF_USE]
    if len(open_ids) == len(found.matches) and any(_RIDER.search(run) for run in found.added):
        return Detected(_named(MODIFIED), Confidence.LOW, found.matches[0].score, is_modified=True)
    ids = [_retitled(match.id, text) for match in found.matches] + _also_named(found)
    licenses = [_named(license_id) for license_id in dict.fromkeys(ids)]
    is_choice = found.added_words <= _SHORT_WORDS and any(_CHOICE.search(run) for run in found.added)
    is_cut = any(match.kind == "cut" for match in found.matches)
    return Detected(
        _joined(licenses, is_choice=is_choice),
        Confidence.LOW if is_cut else Confidence.HIGH,
        min(match.score for match in found.matches),
    )


def matches_of(text: str) -> Sequence[Match]:
    """The known license texts in a text, at most four, best first."""
    return _find(words_of(text[:MAX_TEXT_CHARACTERS])).matches


def _find(words: Sequence[str]) -> _Found:
    pairs = pairs_of(words)
    left = Counter(pairs)
    matches: list[Match] = []
    consumed: Counter[int] = Counter()
    while len(matches) < MAX_LICENSES and (best := _best(left)):
        match, template = best
        matches.append(match)
        consumed += left & template
        left -= template
    return _Found(tuple(matches), tuple(_uncovered(words, pairs, consumed)) if matches else ())


def _best(left: Counter[int]) -> tuple[Match, Counter[int]] | None:
    """The template that fits best what is left of a text, and is good enough."""
    size = left.total()
    if not size:
        return None
    shared: Counter[int] = Counter()
    index = _index()
    for pair, count in left.items():
        for number, wanted in index.get(pair, ()):
            shared[number] += min(count, wanted)
    templates = _templates()
    fits: list[tuple[int, float, float, int]] = []
    for number, common in shared.items():
        total = templates[number].size
        dice, recall, precision = 2 * common / (size + total), common / total, common / size
        if dice >= WHOLE_DICE:
            fits.append((2, dice, recall, number))
        elif recall >= CONTAINED_RECALL:
            fits.append((1, common, recall, number))
        elif precision >= CUT_PRECISION and recall >= CUT_RECALL:
            fits.append((0, precision, recall, number))
    if not fits:
        return None
    rank, measure, recall, number = max(fits, key=lambda fit: (*fit[:3], -fit[3]))
    kind = _KINDS[rank]
    template = templates[number]
    return Match(template.id, round(measure if rank == 2 else recall, 4), kind), template.pairs


def _uncovered(words: Sequence[str], pairs: Sequence[int], consumed: Counter[int]) -> list[str]:
    """Runs of three or more words in no pair of a template, each with some words around it."""
    remaining = consumed.copy()
    is_covered = [False] * len(words)
    for place, pair in enumerate(pairs):
        if remaining[pair] > 0:
            remaining[pair] -= 1
            is_covered[place] = is_covered[place + 1] = True
    edges = [-1, *(place for place, covered in enumerate(is_covered) if covered), len(words)]
    return [
        " ".join(words[max(0, before + 1 - _CONTEXT_WORDS) : after + _CONTEXT_WORDS])
        for before, after in pairwise(edges)
        if after - before > _CONTEXT_WORDS
    ]


def _also_named(found: _Found) -> list[str]:
    """Licenses that a notice beside the full texts names."""
    texts = {without_suffix(match.id) for match in found.matches}
    named = [terms for run in found.added if (terms := recognise(run))]
    ids = [atom.id for terms in named for branch in terms.branches for atom in branch]
    # A text cites its kin: the LGPL the GPL, a choice of CC licenses each other.
    return [one for one in ids if without_suffix(one) not in texts and one in _NOTICED]


# Short notices of other licenses are how one file covers code from several hands.
_NOTICED = frozenset(
    {"Apache-2.0", "GPL-2.0-only", "GPL-3.0-only", "AGPL-3.0-only", "MPL-2.0", "LGPL-2.1-only", "LGPL-3.0-only"}
)


def _from_names(text: str, words: Sequence[str]) -> Detected:
    """What a text without a known license's words names: by SPDX tag, by notice, or by a title that has no template."""
    named = recognise(text)
    plain = " ".join(words)
    is_choice = len(words) <= _SHORT_WORDS and bool(_CHOICE.search(plain))
    if named is None:
        return Detected(None, Confidence.LOW, offers_choice=is_choice)
    if "SPDX-License-Identifier" in text:
        return Detected(named, Confidence.MEDIUM)
    ids = [atom.id for branch in named.branches for atom in branch]
    if len(words) > _SHORT_WORDS and not _known_ids().isdisjoint(ids):
        # The title of a text that is known, without its words.
        return Detected(_named(MODIFIED), Confidence.LOW, is_modified=True)
    if _RIDER.search(plain) and not any(category_of(license_id) in _CONDITIONS_OF_USE for license_id in ids):
        return Detected(_named(MODIFIED), Confidence.LOW, is_modified=True)
    if _LATER.search(plain):
        ids = [license_id.replace("-only", "-or-later") for license_id in ids]
    licenses = [_named(license_id) for license_id in dict.fromkeys(ids)]
    return Detected(_joined(licenses, is_choice=is_choice), Confidence.MEDIUM, offers_choice=is_choice)


def _retitled(license_id: str, text: str) -> str:
    """The id that a model license's title gives: siblings share nearly all their words, and not all have a template."""
    if category_of(license_id) not in _CONDITIONS_OF_USE or (named := recognise(text)) is None:
        return license_id
    titles = [atom.id for branch in named.branches for atom in branch]
    siblings = [title for title in titles if category_of(title) is category_of(license_id)]
    return siblings[0] if siblings and license_id not in siblings else license_id


def _joined(licenses: Sequence[License], *, is_choice: bool) -> License:
    if len(licenses) == 1:
        return licenses[0]
    return either(licenses) if is_choice else together(licenses)


def _named(license_id: str) -> License:
    """A license by its id, in the spelling of one whose text cannot tell whether later versions are permitted."""
    raw = license_id if license_id.endswith("-or-later") else without_suffix(license_id)
    return License(raw, "named", ((Atom(license_id),),))


@dataclass(frozen=True)
class _Template:
    id: str
    pairs: Counter[int]
    size: int


@cache
def _templates() -> Sequence[_Template]:
    unpacked = [(license_id, unpack(packed)) for license_id, packed in TEMPLATES]
    return [_Template(license_id, pairs, pairs.total()) for license_id, pairs in unpacked]


@cache
def _index() -> dict[int, list[tuple[int, int]]]:
    index: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, template in enumerate(_templates()):
        for pair, count in template.pairs.items():
            index[pair].append((number, count))
    return dict(index)


@cache
def _known_ids() -> frozenset[str]:
    return frozenset(template.id for template in _templates())
