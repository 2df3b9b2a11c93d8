"""Licenses: identifiers brought into one form, texts recognised, and what each is worth to a product.

Not legal advice. Membership of a category follows the license specification, section 3; values the metrics specification,
section 5.
"""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from types import MappingProxyType
from typing import Any, Literal

from license_expression import get_spdx_licensing

from weighhouse.rules.license_tables import (
    ALIASES,
    FAMILIES,
    NAMELESS,
    VERSION_ASSUMED,
    Category,
    allows_linking,
    category_of,
)
from weighhouse.rules.license_texts import BSD_3_CLAUSE, CITES, PHRASES

MAX_EXPRESSION_CHARACTERS = 1_000
MAX_BRANCHES = 64
MAX_TEXT_CHARACTERS = 128 * 1024

_MAX_NESTING = 16
_ATOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,99}")
_REFERENCE = re.compile(r"\blicenseref-", re.IGNORECASE)
_MASK = "own-reference-"
_SPDX_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n]{1,300})", re.IGNORECASE)

VALUES: Mapping[Category, float] = MappingProxyType(
    {
        Category.PUBLIC_DOMAIN: 1.00,
        Category.PERMISSIVE: 1.00,
        Category.ATTRIBUTION: 1.00,
        Category.WEAK_FILE: 0.80,
        Category.WEAK_LIBRARY: 0.80,
        Category.SHARE_ALIKE: 0.80,
        Category.USE_RESTRICTED: 0.60,
        Category.COMMUNITY: 0.50,
        Category.STRONG: 0.40,
        Category.NETWORK: 0.30,
        Category.NON_COMMERCIAL: 0.20,
        Category.NO_DERIVATIVES: 0.20,
        Category.PROPRIETARY: 0.10,
    }
)
GPL_WITH_LINKING_VALUE = 0.60
NON_COMMERCIAL_NO_DERIVATIVES_VALUE = 0.10
UNKNOWN_WITH_TEXT_VALUE = 0.30
UNKNOWN_VALUE = 0.10


@dataclass(frozen=True, order=True)
class Atom:
    """One license by its SPDX or `LicenseRef-` identifier, with the exception that goes with it."""

    id: str
    exception: str | None = None

    def __str__(self) -> str:
        return f"{self.id} WITH {self.exception}" if self.exception else self.id

    @property
    def category(self) -> Category:
        """The kind of terms; a linking exception makes a GNU license a weak one."""
        kind = category_of(self.id)
        return Category.WEAK_LIBRARY if kind is Category.STRONG and allows_linking(self.id, self.exception) else kind


@dataclass(frozen=True)
class License:
    """What a package states about its terms, in one form.

    `branches` are alternatives, and all atoms of one hold together; they are empty when nothing was stated (`none`) or the terms
    have no name that could be read (`unknown`).
    """

    raw: str
    state: Literal["named", "unknown", "none"]
    branches: tuple[tuple[Atom, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def expression(self) -> str:
        """The SPDX expression, alternatives last joined; empty unless `named`."""
        several = len(self.branches) > 1
        parts = (" AND ".join(map(str, atoms)) for atoms in self.branches)
        return " OR ".join(f"({part})" if several and " AND " in part else part for part in parts)

    @property
    def display(self) -> str:
        """The expression in the spelling its author used: `GPL-3.0`, not `GPL-3.0-only`; the raw words when it has no name."""
        if self.state != "named":
            return self.raw[:100]
        return _respelled(self.expression, self.raw)


NONE = License("", "none")
_NOT_WORDS = License("not a name", "unknown")
A_CHOICE = "several licenses listed; assumed to be a choice"


def normalise(stated: object, *, name: object = None) -> License:
    """A stated license in one form, whatever was stated; never an exception.

    Args:
        stated: An SPDX expression, a hub identifier, free words, or a list of these (then a choice between them).
        name: The card's `license_name`, asked when `stated` is `other`.

    >>> normalise("apache-2.0 or gplv3").expression
    'Apache-2.0 OR GPL-3.0-only'
    >>> normalise("llama3.1").expression, normalise("GPL-3.0").display, normalise("MIT AND (").state
    ('LicenseRef-llama3.1', 'GPL-3.0', 'unknown')
    """
    if isinstance(stated, list | tuple):
        # Lists inside lists are not entered: YAML can make one that holds itself.
        inner = [_NOT_WORDS if isinstance(one, list | tuple) else normalise(one) for one in stated[:MAX_BRANCHES]]
        listed = [one for one in inner if one.state != "none"]
        if len(listed) < 2:
            return listed[0] if listed else NONE
        return either(listed, notes=(A_CHOICE,))
    if not isinstance(stated, str | None):
        return _NOT_WORDS
    raw = " ".join((stated or "").split()).strip("\"'` ")
    if not raw or raw.lower() == "none":
        return NONE
    if raw.lower() in NAMELESS:
        named = normalise(name) if raw.lower() == "other" and isinstance(name, str) else NONE
        return named if named.state == "named" else License(raw, "unknown")
    return _from_alias(raw) or _from_choice(raw) or _from_expression(raw)


def either(licenses: Sequence[License], *, notes: tuple[str, ...] = ()) -> License:
    """A choice between licenses; unknown only when all are."""
    branches = tuple(dict.fromkeys(branch for one in licenses for branch in one.branches))
    raw = " OR ".join(one.raw for one in licenses)
    notes = notes + tuple(note for one in licenses for note in one.notes)
    return (
        License(raw, "named", branches, notes)
        if 0 < len(branches) <= MAX_BRANCHES
        else License(raw, "unknown", (), notes)
    )


def together(licenses: Sequence[License]) -> License:
    """All of the licenses at once; unknown when one is."""
    raw = " AND ".join(one.raw for one in licenses)
    notes = tuple(note for one in licenses for note in one.notes)
    combined = _product([one.branches for one in licenses])
    return License(raw, "named", combined, notes) if combined else License(raw, "unknown", (), notes)


def value(terms: License, *, text_shipped: bool, preferred: frozenset[Atom] = frozenset()) -> float:
    """What the terms are worth to a product, in [0, 1] (metrics specification, section 5): the best choice's worst atom.

    Args:
        text_shipped: Whether the terms can be read in the package, which matters when the name says nothing.
        preferred: Licenses that the operator uses for its own work; worth 1.00.

    >>> value(normalise("Apache-2.0 OR GPL-3.0-only"), text_shipped=True), value(normalise("MIT AND AGPL-3.0"), text_shipped=True)
    (1.0, 0.3)
    """
    if terms.state == "none":
        return 0.0
    unnamed = UNKNOWN_WITH_TEXT_VALUE if text_shipped else UNKNOWN_VALUE
    worth = partial(_atom_value, unnamed=unnamed, preferred=preferred)
    return max((min(map(worth, branch)) for branch in terms.branches), default=unnamed)


def recognise(text: str) -> License | None:
    """The license of a text by its SPDX tags and title phrases, all that are found; `None` when none is.

    A tag never hides another license's text below it: what both name holds together.
    """
    text = text[:MAX_TEXT_CHARACTERS]
    tags = [normalise(tag.strip(" */#->\t")) for tag in dict.fromkeys(_SPDX_TAG.findall(text)[:20])]
    titles = [License(without_suffix(title), "named", ((Atom(title),),)) for title in _titles(text)]
    mentioned = {atom for tag in tags for branch in tag.branches for atom in branch}
    found = [tag for tag in tags if tag.state == "named"]
    found += [title for title in titles if not _covers(mentioned, title.branches[0][0])]
    if not found:
        return None
    return found[0] if len(found) == 1 else together(found)


def without_suffix(license_id: str) -> str:
    """A GNU identifier without `-only` or `-or-later`; every other one as it is."""
    return license_id.removesuffix("-only").removesuffix("-or-later")


def shown_as(atom: Atom, raw: str) -> str:
    """One license in the spelling of the statement it comes from: without `-only` where its author wrote none.

    >>> shown_as(Atom("GPL-3.0-only"), "gpl-3.0 or mit"), shown_as(Atom("LicenseRef-llama2"), "llama2")
    ('GPL-3.0', 'llama2')
    """
    return _respelled(str(atom), raw)


def _respelled(expression: str, raw: str) -> str:
    shown = expression if "-only" in raw.lower() else expression.replace("-only", "")
    if "licenseref-" in raw.lower():
        return shown
    for reference, word in (("LicenseRef-openrail-pp", "openrail++"), ("LicenseRef-proprietary", "Proprietary")):
        shown = shown.replace(reference, word)
    return shown.replace("LicenseRef-", "")


def _covers(mentioned: Iterable[Atom], title: Atom) -> bool:
    # A GNU text is the same for `-only` and `-or-later`, and its tag says which.
    return any(without_suffix(atom.id) == without_suffix(title.id) for atom in mentioned)


def _titles(text: str) -> list[str]:
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower().replace("++", " plusplus ")))
    found = sorted((match.start(), name) for name, phrase in PHRASES.items() if (match := phrase.search(words)))
    names = ["BSD-3-Clause" if name == "BSD-2-Clause" and BSD_3_CLAUSE.search(words) else name for _, name in found]
    kept: list[str] = []
    for name in names:
        if not any(CITES[earlier].fullmatch(name) for earlier in kept if earlier in CITES):
            kept.append(name)
    return kept


def _from_alias(raw: str) -> License | None:
    license_id = ALIASES.get(raw.lower())
    if license_id is None:
        return None
    notes = (f"{raw} names no version; {license_id} assumed",) if raw.lower() in VERSION_ASSUMED else ()
    return License(raw, "named", ((Atom(license_id),),), notes)


def _from_choice(raw: str) -> License | None:
    parts = raw.split("/")
    if len(parts) < 2 or len(parts) > 8 or "://" in raw or not all(part.strip() for part in parts):
        return None
    choice = either([normalise(part) for part in parts], notes=(A_CHOICE,))
    return License(raw, choice.state, choice.branches, choice.notes)


def _from_expression(raw: str) -> License:
    unreadable = License(raw[:MAX_EXPRESSION_CHARACTERS], "unknown")
    if len(raw) > MAX_EXPRESSION_CHARACTERS or raw.count("(") > _MAX_NESTING:
        return unreadable
    try:
        # The parser takes some names of this form for others (`LicenseRef-gpl` for GPL-1.0), so they go in masked.
        tree = _licensing().parse(_REFERENCE.sub(_MASK, raw), validate=False, strict=False)
        branches = _branches(tree)
    except Exception:
        # The parser documents two kinds of error and raises more on odd input; whatever it cannot read has no name.
        return unreadable
    return License(raw, "named", branches) if branches else unreadable


_licensing_guard = threading.Lock()


def _licensing() -> Any:
    # It takes a quarter of a second to make, and metrics that start together would each make one.
    with _licensing_guard:
        return _made_licensing()


@cache
def _made_licensing() -> Any:
    licensing = get_spdx_licensing()
    # Its table of names is made at the first question, and a second thread that asks meanwhile finds it half filled.
    licensing.get_advanced_tokenizer()
    return licensing


def _branches(tree: Any) -> tuple[tuple[Atom, ...], ...]:
    """Alternatives of a parsed expression; empty when a name in it cannot be one or there are too many alternatives."""
    operator = type(tree).__name__
    if operator == "OR":
        parts = [_branches(part) for part in tree.args]
        branches = tuple(dict.fromkeys(branch for part in parts for branch in part))
        return branches if all(parts) and len(branches) <= MAX_BRANCHES else ()
    if operator == "AND":
        return _product([_branches(part) for part in tree.args])
    if operator == "LicenseWithExceptionSymbol":
        atom = _atom(tree.license_symbol.key)
        exception = tree.exception_symbol.key
        return ((Atom(atom.id, exception),),) if atom and _ATOM.fullmatch(exception) else ()
    atom = _atom(tree.key)
    return ((atom,),) if atom else ()


def _product(parts: Sequence[tuple[tuple[Atom, ...], ...]]) -> tuple[tuple[Atom, ...], ...]:
    branches: tuple[tuple[Atom, ...], ...] = ((),)
    for part in parts:
        branches = tuple(dict.fromkeys(tuple(dict.fromkeys(one + other)) for one, other in product(branches, part)))
        if not 0 < len(branches) <= MAX_BRANCHES:
            return ()
    return branches


def _atom(key: str) -> Atom | None:
    if not _ATOM.fullmatch(key):
        return None
    if alias := ALIASES.get(key.lower()):
        return Atom(alias)
    if key in _licensing().known_symbols:
        return Atom(key)
    stripped = key.removeprefix(_MASK)
    return Atom(ALIASES.get(stripped.lower()) or f"LicenseRef-{stripped}")


def _atom_value(atom: Atom, *, unnamed: float, preferred: frozenset[Atom]) -> float:
    if atom in preferred:
        return 1.0
    kind = category_of(atom.id)
    if kind is Category.UNKNOWN:
        return UNKNOWN_WITH_TEXT_VALUE if atom.id in FAMILIES else unnamed
    if kind is Category.STRONG and allows_linking(atom.id, atom.exception):
        return GPL_WITH_LINKING_VALUE
    if kind is Category.NO_DERIVATIVES and "-NC-" in atom.id.upper():
        return NON_COMMERCIAL_NO_DERIVATIVES_VALUE
    return VALUES[kind]
