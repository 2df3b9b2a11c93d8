"""May a project's code be part of a work under a model's license? The decision procedure of the license specification.

Not legal advice. Pairs of licenses are judged by the rules of `compatibility_rules`, expressions by Kleene logic over them:
`exists inbound branch, outbound branch: every inbound license with every outbound license passes`.

Sources: the licenses' own texts, the FSF's license list and GPL FAQ, Creative Commons' compatible licenses, Mozilla's MPL
FAQ, the OSADL matrix, ModelGo (WWW 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from weighhouse.rules.compatibility_rules import DECLARE, Confidence, Mode, Outcome, Party, Ruling, rule_on
from weighhouse.rules.license_tables import FAMILIES, Category
from weighhouse.rules.license_terms import terms_of
from weighhouse.rules.licenses import A_CHOICE, Atom, License, shown_as

DISCLAIMER = "Automated licence comparison; not legal advice."
MAY_BE_LATER = 'The project may allow later versions; if its files say "or any later version" the result changes'
ABSENT = "No license"
UNNAMED = "unknown"

MAX_PAIRS = 20_000
"""Licenses of one side times those of the other; two expressions of a thousand characters can make 160 million."""

Verdict = Literal["compatible", "conditional", "incompatible", "unknown"]

_VERDICTS: dict[Outcome, Verdict] = {
    Outcome.YES: "compatible",
    Outcome.CONDITIONAL: "conditional",
    Outcome.NO: "incompatible",
    Outcome.UNKNOWN: "unknown",
}


@dataclass(frozen=True)
class Compatibility:
    """Whether it may be done, and why. `compatible` is false where it is not known: a client that reads only this fails closed.

    `warnings` holds what could change the decision, `conditions` what has to be kept to, `notes` what is worth knowing.
    """

    verdict: Verdict
    confidence: Confidence
    rule: str
    mode: Mode
    reason: str
    warnings: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    chosen_inbound: str | None = None
    chosen_outbound: str | None = None

    @property
    def compatible(self) -> bool:
        """Whether the answer is yes, with or without conditions."""
        return self.verdict in {"compatible", "conditional"}

    @property
    def determined(self) -> bool:
        """Whether the licenses settle the question."""
        return self.verdict != "unknown"


@dataclass(frozen=True)
class _Choice:
    """One alternative of each side, with the ruling on it: its weakest pair's."""

    inbound: tuple[Atom, ...]
    outbound: tuple[Atom, ...]
    ruling: Ruling


def check(inbound: License, outbound: License, *, mode: Mode = "combine") -> Compatibility:
    """Whether code under `inbound` may be part of a work published under `outbound`.

    Args:
        mode: `combine` keeps a library or file under its own license beside the rest; `derive` puts all under `outbound`.

    >>> from weighhouse.rules.licenses import normalise
    >>> check(normalise("MIT"), normalise("apache-2.0")).reason
    'MIT is compatible with Apache-2.0 licenses'
    """
    best = _best(inbound, outbound, mode)
    ruling = best.ruling
    is_assumed = any(A_CHOICE in side.notes for side in (inbound, outbound))
    is_allowed = ruling.outcome >= Outcome.CONDITIONAL
    warnings = [A_CHOICE] if is_assumed else []
    if _changes_when_later(inbound, outbound, mode, is_allowed):
        warnings.append(MAY_BE_LATER)
    sides = (*best.inbound, *best.outbound)
    exceptions = [note for note in (terms_of(atom).exception_note for atom in sides) if note]
    stated = [note for side in (inbound, outbound) for note in side.notes if note != A_CHOICE]
    return Compatibility(
        verdict=_VERDICTS[ruling.outcome],
        confidence=Confidence.LOW if is_assumed else ruling.confidence,
        rule=ruling.rule,
        mode=mode,
        reason=_reason(ruling, name_of(inbound), name_of(outbound)),
        warnings=_once([*ruling.warnings, *warnings]),
        conditions=_conditions(best, inbound.raw) if is_allowed else (),
        notes=_once([*ruling.notes, *stated, *exceptions]),
        chosen_inbound=_written(best.inbound) if is_allowed else None,
        chosen_outbound=_written(best.outbound) if is_allowed else None,
    )


def name_of(terms: License) -> str:
    """What a person calls a license: its identifier as they wrote it, or that there is none.

    >>> from weighhouse.rules.licenses import normalise
    >>> name_of(normalise("GPL-3.0")), name_of(normalise(None)), name_of(normalise("all rights reserved"))
    ('GPL-3.0', 'No license', 'Proprietary')
    """
    return ABSENT if terms.state == "none" else terms.display or UNNAMED


def category_word(terms: License) -> str:
    """The kind of a license's terms: `mixed` where several kinds hold, or are to be chosen from.

    >>> from weighhouse.rules.licenses import normalise
    >>> category_word(normalise("MIT OR BSD-3-Clause")), category_word(normalise("MIT AND GPL-3.0")), category_word(normalise(""))
    ('permissive', 'mixed', 'proprietary')
    """
    if terms.state == "none":
        return Category.PROPRIETARY.value
    kinds = {terms_of(atom).category for branch in terms.branches for atom in branch} or {Category.UNKNOWN}
    return kinds.pop().value if len(kinds) == 1 else "mixed"


def _best(inbound: License, outbound: License, mode: Mode) -> _Choice:
    """The alternatives that serve the recipient best; the first of those that serve alike."""
    sizes = [sum(map(len, _branches(side))) for side in (inbound, outbound)]
    if sizes[0] * sizes[1] > MAX_PAIRS:
        return _Choice((), (), _TOO_LONG)
    choices = [
        _Choice(ours, theirs, _judge(ours, theirs, inbound, outbound, mode))
        for ours, theirs in product(_branches(inbound), _branches(outbound))
    ]
    return max(choices, key=lambda choice: (choice.ruling.outcome, choice.ruling.confidence))


_TOO_LONG = Ruling(
    Outcome.UNKNOWN, "R0", Confidence.LOW, "The expressions are too long to compare.", warnings=(DECLARE,)
)

# What stands for terms without a name; no identifier holds a space.
_ABSENT = Atom("no license")
_UNNAMED = Atom("no name")


def _branches(terms: License) -> Sequence[tuple[Atom, ...]]:
    return terms.branches or ((_ABSENT if terms.state == "none" else _UNNAMED,),)


def _judge(ours: tuple[Atom, ...], theirs: tuple[Atom, ...], inbound: License, outbound: License, mode: Mode) -> Ruling:
    """The ruling on the pair that decides, with the confidence, notes and conditions of all."""
    rulings = [_rule_on_names(p, m, inbound, outbound, mode) for p, m in product(ours, theirs)]
    decides = min(rulings, key=lambda ruling: (ruling.outcome, ruling.confidence))
    if decides.outcome < Outcome.CONDITIONAL:
        return decides
    notes = tuple(note for ruling in rulings for note in ruling.notes)
    conditions = _once([ruling.condition for ruling in rulings if ruling.condition])
    confidence = min(ruling.confidence for ruling in rulings)
    return replace(decides, confidence=confidence, notes=notes, condition=" and ".join(conditions))


def _rule_on_names(p: Atom, m: Atom, inbound: License, outbound: License, mode: Mode) -> Ruling:
    """The ruling on two identifiers, where a family's name stands for all its members: unanimous, or unknown."""
    if p.id not in FAMILIES and m.id not in FAMILIES:
        return rule_on(_party(p, inbound), _party(m, outbound), mode)
    members = [
        rule_on(replace(_party(one, inbound), name=shown_as(p, inbound.raw)), _party(other, outbound), mode)
        for one, other in product(_members(p), _members(m))
    ]
    is_allowed = [ruling.outcome >= Outcome.CONDITIONAL for ruling in members]
    is_refused = [ruling.outcome is Outcome.NO for ruling in members]
    if all(is_allowed) or all(is_refused):
        return replace(min(members, key=lambda ruling: ruling.outcome), confidence=Confidence.LOW)
    names = " and ".join(_once([shown_as(one, "") for one in (p, m) if one.id in FAMILIES]))
    why = f"The name {names} stands for several licenses; say which version."
    return replace(rule_on(_party(_UNNAMED, inbound), _party(m, outbound), mode), why=why)


def _members(atom: Atom) -> Sequence[Atom]:
    return [Atom(member, atom.exception) for member in FAMILIES.get(atom.id, (atom.id,))]


def _party(atom: Atom, stated: License) -> Party:
    is_named = stated.state == "named"
    name = shown_as(atom, stated.raw) if is_named else name_of(stated)
    return Party(terms_of(atom), name, is_absent=atom == _ABSENT)


def _changes_when_later(inbound: License, outbound: License, mode: Mode, is_allowed: bool) -> bool:
    """Whether a GNU license named without a suffix would be judged otherwise if its files allow later versions."""
    if "-only" in inbound.raw.lower() or not any("-only" in atom.id for branch in inbound.branches for atom in branch):
        return False
    branches = tuple(
        tuple(Atom(atom.id.replace("-only", "-or-later"), atom.exception) for atom in branch)
        for branch in inbound.branches
    )
    later = _best(replace(inbound, branches=branches), outbound, mode).ruling.outcome
    return (later >= Outcome.CONDITIONAL) != is_allowed


def _reason(ruling: Ruling, ours: str, theirs: str) -> str:
    match ruling.outcome:
        case Outcome.YES:
            return f"{ours} is compatible with {theirs} licenses"
        case Outcome.CONDITIONAL:
            return f"{ours} is compatible with {theirs} licenses when {ruling.condition}."
        case Outcome.NO:
            return f"{ours} is not compatible with {theirs} license. {ruling.why}"
    return f"Compatibility of {ours} with {theirs} could not be determined. {ruling.why}"


def _conditions(choice: _Choice, raw: str) -> tuple[str, ...]:
    duties = [f"{shown_as(atom, raw)}: {duty}" for atom in choice.inbound for duty in terms_of(atom).obligations]
    return _once([*([choice.ruling.condition] if choice.ruling.condition else []), *duties])


def _written(atoms: tuple[Atom, ...]) -> str:
    return " AND ".join(map(str, atoms))


def _once(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
