"""What each license grants, asks and forbids: the term model of the license specification, section 3.

The shape follows ModelGo (WWW 2024); membership follows the specification's table. A license whose terms were not read for
the question of combining has the category `unknown` here, even where `license_tables` has a class for its worth.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from weighhouse.rules.license_tables import Category, allows_linking, category_of
from weighhouse.rules.licenses import Atom

READ_ON = "2026-08"
"""When the texts behind the records were last looked at; community terms change."""


class Scope(StrEnum):
    """What has to stay under the license when the work is passed on."""

    NONE = "none"
    FILE = "file"
    LIBRARY = "library"
    WORK = "work"
    NETWORK = "network"
    ADAPTATION = "adaptation"


class OutputTerms(StrEnum):
    """What a model's license says of what the model writes."""

    NONE = "none"
    NAMING = "naming"
    NO_COMPETING_TRAINING = "no_competing_training"
    COUNTS_AS_DERIVATIVE = "counts_as_derivative"
    NOT_STATED = "not_stated"


@dataclass(frozen=True)
class Gnu:
    """A license of the GNU family: which, its version, and whether a later one may be chosen."""

    family: str
    version: tuple[int, int]
    or_later: bool

    def reaches(self, other: "Gnu") -> bool:
        """Whether choosing a version leads to `other`: the same family, the same version or a permitted later one."""
        if self.family != other.family or (other.or_later and not self.or_later):
            return False
        return other.version == self.version or (self.or_later and other.version > self.version)


@dataclass(frozen=True)
class Terms:
    """The terms of one license.

    `compatible_outbound` names licenses that its own text, or its steward, permits adaptations to be under besides itself.
    `refuses_gnu_below` is the GNU version from which on its conditions are accepted: `(3, 0)` for Apache-2.0.
    """

    atom: Atom
    category: Category
    copyleft_scope: Scope = Scope.NONE
    commercial: Literal["yes", "no", "capped"] = "yes"
    derivatives: Literal["yes", "private_only"] = "yes"
    use_restrictions: bool = False
    output_terms: OutputTerms = OutputTerms.NONE
    patent_retaliation: bool = False
    revocable_or_updatable: bool = False
    obligations: tuple[str, ...] = ()
    compatible_outbound: tuple[str, ...] = ()
    source_note: str = f"license text, {READ_ON}"
    refuses_gnu_below: tuple[int, int] = (0, 0)
    gnu: Gnu | None = None
    exception_note: str = ""

    @property
    def is_copyleft(self) -> bool:
        """Whether the whole work, or every adaptation, has to stay under these terms."""
        return self.copyleft_scope in {Scope.WORK, Scope.NETWORK, Scope.ADAPTATION}

    @property
    def restricts_use(self) -> bool:
        """Whether somebody may not use the work, or not for everything."""
        return self.category in RESTRICTING


RESTRICTING = frozenset(
    {
        Category.NON_COMMERCIAL,
        Category.NO_DERIVATIVES,
        Category.USE_RESTRICTED,
        Category.COMMUNITY,
        Category.PROPRIETARY,
    }
)

_SCOPES: Mapping[Category, Scope] = MappingProxyType(
    {
        Category.WEAK_FILE: Scope.FILE,
        Category.WEAK_LIBRARY: Scope.LIBRARY,
        Category.STRONG: Scope.WORK,
        Category.NETWORK: Scope.NETWORK,
        Category.SHARE_ALIKE: Scope.ADAPTATION,
    }
)

_OBLIGATIONS: Mapping[Category, tuple[str, ...]] = MappingProxyType(
    {
        Category.PERMISSIVE: ("keep its copyright and license notices",),
        Category.ATTRIBUTION: ("name its authors, link the license and state changes",),
        Category.WEAK_FILE: ("keep its files under their license and offer their source",),
        Category.WEAK_LIBRARY: (
            "include its license, offer the library's source and permit reverse engineering for debugging",
        ),
        Category.STRONG: ("include the license and offer the whole source",),
        Category.NETWORK: ("include the license and offer the whole source, to users over a network too",),
        Category.SHARE_ALIKE: ("name its authors and share adaptations under the same license",),
        Category.NON_COMMERCIAL: ("use it for non-commercial purposes only",),
        Category.NO_DERIVATIVES: ("share verbatim copies only",),
        Category.USE_RESTRICTED: ("pass on its use restrictions with every copy",),
        Category.COMMUNITY: ("follow its use policy and pass on its terms with every copy",),
    }
)

# Licenses read for the question of combining. The class table is wider: `BSD-3-Clause-No-Nuclear-License` and `EUPL-1.2`
# have a worth, but nobody looked at what they may be combined with.
_ASSESSED = re.compile(
    r"cc0-1\.0|unlicense|0bsd|mit-0|wtfpl|pddl-1\.0|cc-pddc|licenseref-public-domain"
    r"|mit|mit-(cmu|feh|modern-variant|open-group)|isc|zlib|postgresql|ncsa|bsl-1\.0|artistic-2\.0|hpnd|upl-1\.0"
    r"|bsd-1-clause|bsd-2-clause(-patent|-views)?|bsd-3-clause(-clear|-lbnl)?|bsd-4-clause(-uc)?|blueoak-1\.0\.0"
    r"|apache-(1\.0|1\.1|2\.0)|ecl-2\.0|afl-.*|python-2\.0|psf-2\.0|(licenseref-)?openmdw-1\.[01]|licenseref-apple-ascl"
    r"|cc-by-[34]\.0.*|odc-by-1\.0|mpl-.*|epl-.*|cddl-.*|l?gpl-.*|agpl-.*|osl-.*|cc-by-sa-.*|odbl-1\.0|gfdl-.*"
    r"|cc-by-nc-.*|cc-by-nd-.*|licenseref-.*|ecos-2\.0|wxwindows",
    re.IGNORECASE,
)

_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-(\d+)\.(\d+)(-only|-or-later|\+|-with-.*|-(?:no-)?invariants-.*)?", re.IGNORECASE)
_LLVM = re.compile(r"llvm-exception|swift-exception", re.IGNORECASE)

_APACHE_LIKE = (3, 0)
_NO_GNU = (99, 0)
_LLAMA_CAP = "ask for a grant of your own above 700 million monthly users at the model's release"
_LLAMA_NAMING = "show 'Built with Llama' and begin the name of a model trained on its outputs with 'Llama'"
_LLAMA_EU = "multimodal models are not granted to persons or companies based in the EU"
_POLICY = "follow its use policy and pass on its terms with every copy"
_NOT_READ = f"not read in full, {READ_ON}"

_RECORDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "Apache-2.0": {"patent_retaliation": True, "refuses_gnu_below": _APACHE_LIKE},
        "ECL-2.0": {"patent_retaliation": True, "refuses_gnu_below": _APACHE_LIKE},
        "Apache-1.0": {"refuses_gnu_below": _NO_GNU},
        "Apache-1.1": {"refuses_gnu_below": _NO_GNU},
        "BSD-4-Clause": {"refuses_gnu_below": _NO_GNU},
        "BSD-4-Clause-UC": {"refuses_gnu_below": _NO_GNU},
        "MPL-2.0": {"patent_retaliation": True, "compatible_outbound": ("GPL", "LGPL", "AGPL")},
        "EPL-2.0": {"patent_retaliation": True},
        "CC-BY-SA-4.0": {"compatible_outbound": ("GPL-3.0-only", "GPL-3.0-or-later")},
        "CC-BY-SA-3.0": {"compatible_outbound": ("CC-BY-SA-4.0",)},
        "CC-BY-SA-2.5": {"compatible_outbound": ("CC-BY-SA-3.0", "CC-BY-SA-4.0")},
        "CC-BY-SA-2.0": {"compatible_outbound": ("CC-BY-SA-2.5", "CC-BY-SA-3.0", "CC-BY-SA-4.0")},
        "LicenseRef-llama2": {
            "commercial": "capped",
            "output_terms": OutputTerms.NO_COMPETING_TRAINING,
            "obligations": (_POLICY, _LLAMA_CAP),
        },
        "LicenseRef-llama3": {
            "commercial": "capped",
            "output_terms": OutputTerms.NO_COMPETING_TRAINING,
            "obligations": (_POLICY, _LLAMA_CAP),
            "source_note": _NOT_READ,
        },
        "LicenseRef-llama3.1": {
            "commercial": "capped",
            "output_terms": OutputTerms.NAMING,
            "obligations": (_POLICY, _LLAMA_NAMING, _LLAMA_CAP),
        },
        "LicenseRef-llama3.2": {
            "commercial": "capped",
            "output_terms": OutputTerms.NAMING,
            "obligations": (_POLICY, _LLAMA_NAMING, _LLAMA_CAP, _LLAMA_EU),
            "source_note": _NOT_READ,
        },
        "LicenseRef-llama3.3": {
            "commercial": "capped",
            "output_terms": OutputTerms.NAMING,
            "obligations": (_POLICY, _LLAMA_NAMING, _LLAMA_CAP),
        },
        "LicenseRef-llama4": {
            "commercial": "capped",
            "output_terms": OutputTerms.NAMING,
            "obligations": (_POLICY, _LLAMA_NAMING, _LLAMA_CAP, _LLAMA_EU),
        },
        "LicenseRef-gemma": {
            "output_terms": OutputTerms.COUNTS_AS_DERIVATIVE,
            "revocable_or_updatable": True,
            "obligations": (
                "make its use restrictions an enforceable term for everybody who gets a copy",
                "the vendor may restrict the use remotely",
            ),
        },
        "LicenseRef-tongyi-qianwen": {
            "commercial": "capped",
            "output_terms": OutputTerms.NO_COMPETING_TRAINING,
            "obligations": (_POLICY, "ask for a grant of your own above 100 million monthly users"),
        },
        "LicenseRef-qwen": {
            "commercial": "capped",
            "output_terms": OutputTerms.NAMING,
            "obligations": (
                _POLICY,
                "show 'Built with Qwen' or 'Improved using Qwen' on a model trained on its outputs",
                "ask for a grant of your own above 100 million monthly users",
            ),
        },
        "LicenseRef-qwen-research": {"source_note": _NOT_READ},
        "LicenseRef-deepseek": {"output_terms": OutputTerms.COUNTS_AS_DERIVATIVE},
        "LicenseRef-falcon-2": {
            "revocable_or_updatable": True,
            "obligations": (
                "follow its acceptable-use policy, which may change",
                "keep the line of credit it asks for",
            ),
        },
        "LicenseRef-falcon-180b": {
            "output_terms": OutputTerms.NOT_STATED,
            "obligations": (_POLICY, "ask for a license of its own before you host it for others"),
        },
        "LicenseRef-falcon-llm": {
            "output_terms": OutputTerms.NOT_STATED,
            "obligations": (_POLICY, "read the text: its royalty terms are disputed"),
            "source_note": _NOT_READ,
        },
        "LicenseRef-grok2-community": {"output_terms": OutputTerms.NOT_STATED, "source_note": _NOT_READ},
        "LicenseRef-nvidia-open-model-license": {
            "output_terms": OutputTerms.NOT_STATED,
            "patent_retaliation": True,
            "obligations": (
                "keep its notice file",
                "the grant ends with litigation or when guardrails are bypassed without a replacement",
                "indemnify the vendor",
                "versions of 2025 differ: read the one that came with the model",
            ),
        },
        "LicenseRef-apple-amlr": {"obligations": ("use it and what is made from it for research only",)},
        "LicenseRef-apple-ascl": {"obligations": ("keep its notices", "no patent is licensed")},
    }
)


@lru_cache(maxsize=1024)
def terms_of(atom: Atom) -> Terms:
    """The terms of one license with its exception.

    >>> terms_of(Atom("GPL-3.0-only")).copyleft_scope.value, terms_of(Atom("LicenseRef-llama2")).commercial
    ('work', 'capped')
    """
    if not _ASSESSED.fullmatch(atom.id):
        return Terms(atom, Category.UNKNOWN, source_note="not assessed")
    category = category_of(atom.id)
    is_responsible = category is Category.USE_RESTRICTED
    terms = Terms(
        atom,
        category,
        copyleft_scope=_SCOPES.get(category, Scope.NONE),
        commercial="no" if _forbids_commerce(atom.id, category) else "yes",
        derivatives="private_only" if category is Category.NO_DERIVATIVES else "yes",
        use_restrictions=is_responsible or category is Category.COMMUNITY,
        output_terms=OutputTerms.COUNTS_AS_DERIVATIVE if is_responsible else OutputTerms.NONE,
        obligations=_OBLIGATIONS.get(category, ()),
        refuses_gnu_below=_NO_GNU if atom.id.upper().startswith("AFL-") else (0, 0),
        gnu=_gnu_of(atom.id),
    )
    return _with_exception(replace(terms, **_RECORDS.get(atom.id, {})))


def _forbids_commerce(license_id: str, category: Category) -> bool:
    return category is Category.NON_COMMERCIAL or "-NC-" in license_id.upper()


def _gnu_of(license_id: str) -> Gnu | None:
    match = _GNU.fullmatch(license_id)
    if match is None:
        return None
    family, major, minor, suffix = match.groups()
    return Gnu(family.upper(), (int(major), int(minor)), or_later="later" in (suffix or "") or suffix == "+")


def _with_exception(terms: Terms) -> Terms:
    """Exceptions only add permissions, so one that is not known changes nothing."""
    exception = terms.atom.exception
    if allows_linking(terms.atom.id, exception):
        # The GNU text with leave to link is a library's license, whatever it was before.
        return replace(
            terms,
            category=Category.WEAK_LIBRARY,
            copyleft_scope=Scope.LIBRARY,
            obligations=_OBLIGATIONS[Category.WEAK_LIBRARY],
        )
    if exception is None:
        return terms
    if _LLVM.fullmatch(exception):
        return replace(terms, refuses_gnu_below=(0, 0))
    return replace(
        terms,
        atom=Atom(terms.atom.id),
        exception_note=f"the exception {exception[:60]} is not known and was left out; it can only add permissions",
    )
