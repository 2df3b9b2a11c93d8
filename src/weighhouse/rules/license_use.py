"""What may be done with a model under its license: the second direction of the license specification, section 6.

Six operations, each allowed, conditional, forbidden or unknown. Not legal advice: whether weights are copyrightable, and whether
copyleft reaches what a model writes, is unsettled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Literal

from weighhouse.rules.license_tables import FAMILIES, Category
from weighhouse.rules.license_terms import OutputTerms, Terms, terms_of
from weighhouse.rules.licenses import Atom, License, shown_as

OPERATIONS = ("run", "fine_tune", "distribute_model", "distribute_derivative", "commercial", "train_on_output")

DerivativeLicense = Literal["any", "same", "same_restrictions", "none"]


class Leave(IntEnum):
    """How far an operation is granted; of several licenses that all hold, the least counts."""

    FORBIDDEN = 0
    UNKNOWN = 1
    CONDITIONAL = 2
    ALLOWED = 3

    @property
    def word(self) -> str:
        """The name on the wire."""
        return self.name.lower()


@dataclass(frozen=True)
class Use:
    """One operation: whether it is granted, and what has to be kept to."""

    leave: Leave
    obligations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_FREE = Use(Leave.ALLOWED)
_UNTESTED = Use(Leave.ALLOWED, notes=("whether copyleft reaches over weights to their output is untested",))
_NOT_KNOWN = Use(Leave.UNKNOWN)
_NOTICE = Use(Leave.CONDITIONAL, ("keep the notices",))
_NON_COMMERCIAL = Use(Leave.CONDITIONAL, ("non-commercial purposes only",))
_POLICY = Use(Leave.CONDITIONAL, ("follow the use policy",))
_DISTILLED = Use(Leave.CONDITIONAL, ("a model distilled from it or trained on its output may count as a derivative",))


def _row(*uses: Use) -> Mapping[str, Use]:
    return MappingProxyType(dict(zip(OPERATIONS, uses, strict=True)))


def _copyleft(run: Use) -> Mapping[str, Use]:
    ship = Use(Leave.CONDITIONAL, ("include the license and offer the source",))
    return _row(run, _FREE, ship, Use(Leave.CONDITIONAL, ("keep the same license",)), _FREE, _UNTESTED)


_PERMISSIVE = _row(_FREE, _FREE, _NOTICE, Use(Leave.CONDITIONAL, ("keep the notices", "state changes")), _FREE, _FREE)
_COPYLEFT = _copyleft(_FREE)
_FORBIDDEN = _row(*[Use(Leave.FORBIDDEN)] * 6)
_UNKNOWN = _row(*[_NOT_KNOWN] * 6)

_TABLE: Mapping[Category, Mapping[str, Use]] = MappingProxyType(
    {
        Category.PUBLIC_DOMAIN: _row(*[_FREE] * 6),
        Category.PERMISSIVE: _PERMISSIVE,
        Category.ATTRIBUTION: _PERMISSIVE,
        Category.WEAK_FILE: _COPYLEFT,
        Category.WEAK_LIBRARY: _COPYLEFT,
        Category.STRONG: _COPYLEFT,
        Category.SHARE_ALIKE: _COPYLEFT,
        Category.NETWORK: _copyleft(Use(Leave.CONDITIONAL, ("offer the source to users over a network",))),
        Category.NON_COMMERCIAL: _row(*[_NON_COMMERCIAL] * 4, Use(Leave.FORBIDDEN), _NOT_KNOWN),
        Category.NO_DERIVATIVES: _row(
            _FREE,
            Use(Leave.ALLOWED, ("do not share what comes of it",)),
            Use(Leave.CONDITIONAL, ("verbatim copies only",)),
            Use(Leave.FORBIDDEN),
            _FREE,
            _NOT_KNOWN,
        ),
        Category.USE_RESTRICTED: _row(
            _POLICY,
            _POLICY,
            Use(Leave.CONDITIONAL, ("pass on the use restrictions",)),
            Use(Leave.CONDITIONAL, ("put at least the same restrictions on it",)),
            _POLICY,
            _DISTILLED,
        ),
        Category.COMMUNITY: _row(*[_POLICY] * 6),
        Category.PROPRIETARY: _FORBIDDEN,
        Category.UNKNOWN: _UNKNOWN,
    }
)

_OUTPUT: Mapping[OutputTerms, Use] = MappingProxyType(
    {
        OutputTerms.NONE: _POLICY,
        OutputTerms.NAMING: Use(Leave.CONDITIONAL, ("name the model as the license asks",)),
        OutputTerms.NO_COMPETING_TRAINING: Use(
            Leave.FORBIDDEN, ("its output may not be used to improve other language models",)
        ),
        OutputTerms.COUNTS_AS_DERIVATIVE: _DISTILLED,
        OutputTerms.NOT_STATED: _NOT_KNOWN,
    }
)

_DERIVATIVES: Mapping[Category, DerivativeLicense] = MappingProxyType(
    {
        Category.PUBLIC_DOMAIN: "any",
        Category.PERMISSIVE: "any",
        Category.ATTRIBUTION: "any",
        Category.WEAK_FILE: "same",
        Category.WEAK_LIBRARY: "same",
        Category.STRONG: "same",
        Category.NETWORK: "same",
        Category.SHARE_ALIKE: "same",
        Category.NON_COMMERCIAL: "same_restrictions",
        Category.USE_RESTRICTED: "same_restrictions",
        Category.COMMUNITY: "same_restrictions",
        Category.NO_DERIVATIVES: "none",
        Category.PROPRIETARY: "none",
    }
)
_STRICTEST: Sequence[DerivativeLicense] = ("none", "same", "same_restrictions", "any")


def model_use(model: License, project: License) -> Mapping[str, Use]:
    """What a model's license grants, operation by operation; and how a copyleft project may go with one that restricts use.

    Each operation takes the license that serves it best where there is a choice.
    """
    uses = {operation: _operation(operation, model) for operation in OPERATIONS}
    if _all(project, lambda terms: terms.is_copyleft) and _all(model, lambda terms: terms.restricts_use):
        apart = "ship separately: weights downloaded by the user, no single work"
        uses["distribute_together"] = Use(Leave.CONDITIONAL, (apart,))
    return uses


def derivative_license(model: License) -> DerivativeLicense | None:
    """What a model made from this one may be under; `None` where the terms are not known.

    >>> from weighhouse.rules.licenses import normalise
    >>> [derivative_license(normalise(name)) for name in ("mit", "gpl-3.0", "llama3.1", "cc-by-nd-4.0", "other")]
    ['any', 'same', 'same_restrictions', 'none', None]
    """
    if model.state == "none":
        return "none"
    found = [[_derivative(terms_of(atom)) for atom in branch] for branch in model.branches]
    known = [[one for one in branch if one is not None] for branch in found if None not in branch]
    strictest = [min(branch, key=_STRICTEST.index) for branch in known if branch]
    return max(strictest, key=_STRICTEST.index, default=None)


def notes_on(model: License) -> tuple[str, ...]:
    """What is odd about a license on a model, and changes nothing.

    >>> from weighhouse.rules.licenses import normalise
    >>> notes_on(normalise("gpl-3.0")), notes_on(normalise("apache-2.0"))
    (('GPL-3.0 is written for software; how it applies to weights is unsettled',), ())
    """
    of_software = {Category.WEAK_FILE, Category.WEAK_LIBRARY, Category.STRONG, Category.NETWORK}
    atoms = dict.fromkeys(atom for branch in model.branches for atom in branch)
    odd = [shown_as(atom, model.raw) for atom in atoms if terms_of(atom).category in of_software]
    return tuple(f"{name} is written for software; how it applies to weights is unsettled" for name in odd[:3])


def _derivative(terms: Terms) -> DerivativeLicense | None:
    if terms.category is Category.NON_COMMERCIAL and "-SA-" in terms.atom.id:
        return "same"
    return _DERIVATIVES.get(terms.category)


def _operation(operation: str, model: License) -> Use:
    if model.state == "none":
        return _FORBIDDEN[operation]
    if not model.branches:
        return _UNKNOWN[operation]
    together = [_together([_by_name(operation, atom) for atom in branch]) for branch in model.branches]
    return max(together, key=lambda use: use.leave)


def _by_name(operation: str, atom: Atom) -> Use:
    """A family's name stands for all its members: what they agree on, else unknown."""
    uses = [_of_terms(operation, terms_of(Atom(one, atom.exception))) for one in FAMILIES.get(atom.id, (atom.id,))]
    return uses[0] if len({use.leave for use in uses}) == 1 else _NOT_KNOWN


def _of_terms(operation: str, terms: Terms) -> Use:
    use = _TABLE[terms.category][operation]
    if terms.category is Category.NO_DERIVATIVES and terms.commercial == "no":
        use = _without_commerce(operation, use)
    if terms.category is Category.NON_COMMERCIAL and operation == "distribute_derivative" and "-SA-" in terms.atom.id:
        use = Use(use.leave, (*use.obligations, "keep the same license"))
    if terms.category is not Category.COMMUNITY:
        return use
    if operation == "train_on_output":
        use = _OUTPUT[terms.output_terms]
    return use if use.leave is Leave.UNKNOWN else Use(use.leave, (*use.obligations, *terms.obligations), _dated(terms))


def _without_commerce(operation: str, use: Use) -> Use:
    if operation == "commercial":
        return Use(Leave.FORBIDDEN)
    if use.leave in {Leave.FORBIDDEN, Leave.UNKNOWN}:
        return use
    return Use(Leave.CONDITIONAL, ("non-commercial purposes only", *use.obligations))


def _dated(terms: Terms) -> tuple[str, ...]:
    changes = "; the vendor may change the terms" if terms.revocable_or_updatable else ""
    return (f"{terms.atom.id.removeprefix('LicenseRef-')}: {terms.source_note}{changes}",)


def _together(uses: Sequence[Use]) -> Use:
    obligations = tuple(dict.fromkeys(duty for use in uses for duty in use.obligations))
    notes = tuple(dict.fromkeys(note for use in uses for note in use.notes))
    return Use(min(use.leave for use in uses), obligations, notes)


def _all(stated: License, holds: Callable[[Terms], bool]) -> bool:
    """Whether every choice has a license for which it holds."""
    return bool(stated.branches) and all(any(holds(terms_of(atom)) for atom in branch) for branch in stated.branches)
