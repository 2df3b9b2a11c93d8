"""The rules R0 to R19 on one license and another (license specification, section 4), each a function, in their order."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from weighhouse.rules.license_tables import Category
from weighhouse.rules.license_terms import Gnu, Terms

Mode = Literal["combine", "derive"]

GPL_ADVICE = "Consider using a GPL-compatible license or choosing a different model"
ASK_OWNER = "Ask the project's owner for a license"
DECLARE = "Declare an SPDX license for the project or the model"

_NC = re.compile(r"CC-BY-NC-(\d\.\d)", re.IGNORECASE)
_NC_SA = re.compile(r"CC-BY-NC-SA-(\d\.\d)", re.IGNORECASE)


class Outcome(IntEnum):
    """What may be done, in Kleene's order: `AND` takes the least, `OR` the greatest."""

    NO = 0
    UNKNOWN = 1
    CONDITIONAL = 2
    YES = 3


class Confidence(IntEnum):
    """How sure the sources are of a ruling."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


@dataclass(frozen=True)
class Party:
    """One side's license, and what a person calls it."""

    terms: Terms
    name: str
    is_absent: bool = False
    """Whether no license was found at all."""


@dataclass(frozen=True)
class Ruling:
    """What one rule says of two licenses. `why` ends the sentence of a no; `condition` follows *when*."""

    outcome: Outcome
    rule: str
    confidence: Confidence
    why: str = ""
    condition: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def rule_on(inbound: Party, outbound: Party, mode: Mode) -> Ruling:
    """What the first rule that applies says of `inbound` code in a work under `outbound`."""
    rulings = (rule(inbound, outbound, mode) for rule in _RULES)
    return next((ruling for ruling in rulings if ruling), _unknown(inbound))


def _yes(rule: str, confidence: Confidence = Confidence.HIGH, *notes: str) -> Ruling:
    return Ruling(Outcome.YES, rule, confidence, notes=tuple(note for note in notes if note))


def _no(rule: str, why: str, *warnings: str, confidence: Confidence = Confidence.HIGH) -> Ruling:
    return Ruling(Outcome.NO, rule, confidence, why, warnings=warnings)


def _when(rule: str, condition: str, confidence: Confidence = Confidence.MEDIUM) -> Ruling:
    return Ruling(Outcome.CONDITIONAL, rule, confidence, condition=condition)


def _unknown(side: Party) -> Ruling:
    why = f"The terms of {side.name} are not known." if side.name else "No license is known."
    return Ruling(Outcome.UNKNOWN, "R0", Confidence.LOW, why, warnings=(DECLARE,))


def _no_grant(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.is_absent:
        return _no("R1", "No permission to redistribute the project's code was found.", ASK_OWNER)
    if p.terms.category is not Category.PROPRIETARY:
        return None
    if m.terms.category is Category.PROPRIETARY:
        why = "The label names neither one license nor one owner."
        return Ruling(Outcome.UNKNOWN, "R1", Confidence.HIGH, why, warnings=(ASK_OWNER,))
    return _no("R1", "No permission to redistribute the project's code was found.", ASK_OWNER)


def _not_known(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category is Category.UNKNOWN:
        return _unknown(p)
    if m.is_absent:
        why = "The model states no license under which the whole could be published."
        return Ruling(Outcome.UNKNOWN, "R0", Confidence.LOW, why, warnings=(DECLARE,))
    return _unknown(m) if m.terms.category is Category.UNKNOWN else None


def _same(p: Party, m: Party, mode: Mode) -> Ruling | None:
    is_same = p.terms.atom == m.terms.atom and p.terms.category is not Category.NO_DERIVATIVES
    return _yes("R2") if is_same else None


def _further_restrictions(p: Party, m: Party, mode: Mode) -> Ruling | None:
    gnu = _code_gnu(m)
    if gnu is None or gnu.version >= p.terms.refuses_gnu_below:
        return None
    if gnu.or_later and p.terms.refuses_gnu_below <= (3, 0):
        return None
    what = "patent terms are restrictions" if p.terms.patent_retaliation else "adds terms"
    return _no("R4", f"{p.name} {what} that {m.name} does not accept.")


def _permissive(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category not in {Category.PUBLIC_DOMAIN, Category.PERMISSIVE}:
        return None
    # Creative Commons did not assess Apache-2.0's patent terms against ShareAlike.
    is_unassessed = p.terms.patent_retaliation and m.terms.category is Category.SHARE_ALIKE
    gnu = _code_gnu(m)
    chooses = gnu is not None and gnu.version < p.terms.refuses_gnu_below
    note = f"with {p.name} code in it the whole is under version 3 or later of {m.name}" if chooses else ""
    return _yes("R3", Confidence.LOW if is_unassessed else Confidence.HIGH, note)


def _attribution(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category is not Category.ATTRIBUTION:
        return None
    note = "Creative Commons advises against its licenses for code" if p.terms.atom.id.startswith("CC-") else ""
    return _yes("R5", Confidence.HIGH if _code_gnu(m) else Confidence.MEDIUM, note)


def _one_way(p: Party, m: Party, mode: Mode) -> Ruling | None:
    is_listed = p.terms.category is Category.SHARE_ALIKE and m.terms.atom.id in p.terms.compatible_outbound
    return _yes("R6") if is_listed else None


def _share_alike(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category is not Category.SHARE_ALIKE or _upgrades(p, m):
        return None
    if m.terms.restricts_use:
        return _no("R7", f"{m.name} adds restrictions that {p.name} forbids.", GPL_ADVICE)
    also = " or GPL-3.0" if "GPL-3.0-only" in p.terms.compatible_outbound else ""
    return _no("R7", f"{p.name} adaptations must stay under {p.name}{also}.")


def _upgrade(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if _upgrades(p, m):
        assert m.terms.gnu is not None
        return _when("R14", f"version {_version(m.terms.gnu)} of its license is chosen")
    ours, theirs = p.terms.gnu, m.terms.gnu
    if ours is None or theirs is None or ours.family != "GPL" or theirs.family != "AGPL":
        return None
    is_third = ours.reaches(Gnu("GPL", theirs.version, theirs.or_later))
    if not is_third or p.terms.category is not Category.STRONG:
        return None
    return _when("R14", "the whole offers its source to users over a network (GPL-3.0 section 13)")


def _copyleft(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category not in {Category.STRONG, Category.NETWORK}:
        return None
    if m.terms.restricts_use:
        return _no("R8", f"{m.name} adds restrictions that {p.name} forbids.", GPL_ADVICE)
    if _code_gnu(m):
        return _no("R8", f"{p.name} does not permit {m.name} terms.", GPL_ADVICE)
    family = p.terms.gnu.family if p.terms.gnu else p.name
    return _no("R8", f"{family} requires derivative works to use {family}.", GPL_ADVICE)


def _secondary(p: Party, m: Party, mode: Mode) -> Ruling | None:
    gnu = _code_gnu(m)
    first = {"GPL": (2, 0), "LGPL": (2, 1), "AGPL": (3, 0)}
    if gnu is None or gnu.family not in p.terms.compatible_outbound or gnu.version < first[gnu.family]:
        return None
    return _yes("R9", Confidence.HIGH, "holds unless a file is marked Incompatible With Secondary Licenses")


def _not_secondary(p: Party, m: Party, mode: Mode) -> Ruling | None:
    gnu = _code_gnu(m)
    if p.terms.category is not Category.WEAK_FILE or gnu is None or gnu.family == "LGPL":
        return None
    why = f"{p.name} permits {m.name} only where a notice names it as a Secondary License."
    return _no("R19", why, confidence=Confidence.MEDIUM)


def _file(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category is not Category.WEAK_FILE:
        return None
    if mode == "derive":
        return _no("R10", f"{p.name} files must stay under {p.name}.", confidence=_beside(m))
    return _when("R10", f"the {p.name} files stay under {p.name}", _beside(m))


def _converted(p: Party, m: Party, mode: Mode) -> Ruling | None:
    ours, theirs = p.terms.gnu, m.terms.gnu
    if p.terms.category is not Category.WEAK_LIBRARY or ours is None or theirs is None or theirs.family != "GPL":
        return None
    if m.terms.category is not Category.STRONG:
        return None
    if ours.family == "GPL":
        return _yes("R11") if ours.reaches(theirs) else None
    # LGPL-2.1 section 3 permits any later GPL; LGPL-3.0 is GPL-3.0 with permissions added.
    return _yes("R11") if theirs.version >= (ours.version[0], 0) else None


def _lesser_third(p: Party, m: Party, mode: Mode) -> Ruling | None:
    ours, theirs = p.terms.gnu, m.terms.gnu
    if ours is None or ours.family != "LGPL" or theirs is None or theirs.family != "GPL":
        return None
    if m.terms.category is not Category.STRONG or theirs.or_later or theirs.version >= (ours.version[0], 0):
        return None
    return _no("R13", f"{p.name} adds terms that {m.name} does not accept.")


def _library(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category is not Category.WEAK_LIBRARY:
        return None
    if mode == "derive":
        return _no("R12", f"{p.name} code must stay under {p.name}.", confidence=_beside(m))
    return _when("R12", f"the {p.name} code stays a replaceable library", _beside(m))


def _non_commercial(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category is not Category.NON_COMMERCIAL:
        return None
    ours, theirs = _NC.fullmatch(p.terms.atom.id), _NC_SA.fullmatch(m.terms.atom.id)
    if ours and theirs and theirs[1] >= ours[1]:
        return _yes("R15")
    return _no("R15", f"{p.name} forbids commercial use.")


def _verbatim(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category is not Category.NO_DERIVATIVES:
        return None
    if p.terms.atom == m.terms.atom:
        return _when("R16", "only verbatim copies are shared")
    return _no("R16", f"{p.name} forbids adaptations.")


def _restricted(p: Party, m: Party, mode: Mode) -> Ruling | None:
    if p.terms.category not in {Category.USE_RESTRICTED, Category.COMMUNITY}:
        return None
    return _no("R17", f"{p.name} forbids dropping its use restrictions.")


_RULES: tuple[Callable[[Party, Party, Mode], Ruling | None], ...] = (
    _no_grant,
    _not_known,
    _same,
    _further_restrictions,
    _permissive,
    _attribution,
    _one_way,
    _share_alike,
    _upgrade,
    _copyleft,
    _secondary,
    _not_secondary,
    _file,
    _converted,
    _lesser_third,
    _library,
    _non_commercial,
    _verbatim,
    _restricted,
)


def _code_gnu(side: Party) -> Gnu | None:
    """The GNU license of software; the GFDL is one of texts."""
    gnu = side.terms.gnu
    return gnu if gnu and gnu.family != "GFDL" else None


def _upgrades(p: Party, m: Party) -> bool:
    ours, theirs = p.terms.gnu, m.terms.gnu
    is_plain = p.terms.atom.exception is None and m.terms.atom.exception is None
    return is_plain and ours is not None and theirs is not None and ours.reaches(theirs)


def _beside(m: Party) -> Confidence:
    """How sure it is that a part may lie beside a work under `m`: ShareAlike may claim the whole as an adaptation."""
    return Confidence.LOW if m.terms.category is Category.SHARE_ALIKE else Confidence.MEDIUM


def _version(gnu: Gnu) -> str:
    return f"{gnu.version[0]}.{gnu.version[1]}" + (" or later" if gnu.or_later else "")
