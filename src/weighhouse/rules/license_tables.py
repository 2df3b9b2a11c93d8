"""What licenses are called and what kind each is: aliases, families, categories, linking exceptions.

Data only; `licenses.py` reads it. Names outside SPDX are written `LicenseRef-` and the hub's identifier in lower case.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Category(StrEnum):
    """The kind of terms a license sets."""

    PUBLIC_DOMAIN = "public_domain"
    PERMISSIVE = "permissive"
    ATTRIBUTION = "attribution"
    WEAK_FILE = "weak_file"
    WEAK_LIBRARY = "weak_library"
    STRONG = "strong"
    NETWORK = "network"
    SHARE_ALIKE = "share_alike"
    NON_COMMERCIAL = "non_commercial"
    NO_DERIVATIVES = "no_derivatives"
    USE_RESTRICTED = "use_restricted"
    COMMUNITY = "community"
    PROPRIETARY = "proprietary"
    UNKNOWN = "unknown"


_SPELLINGS: Mapping[str, str] = {
    "Apache-2.0": "apache 2.0|apache2|apache-2|apache|asl 2.0|apache license 2.0|apache license, version 2.0"
    "|apache license version 2.0|apache software license",
    "MIT": "mit license|expat|the mit license",
    "BSD-3-Clause": "new bsd|modified bsd",
    "BSD-2-Clause": "simplified bsd|freebsd",
    "GPL-2.0-only": "gplv2",
    "GPL-2.0-or-later": "gplv2+",
    "GPL-3.0-only": "gplv3",
    "GPL-3.0-or-later": "gplv3+",
    "LGPL-2.1-only": "lgplv2.1",
    "LGPL-2.1-or-later": "lgplv2.1+",
    "LGPL-3.0-only": "lgplv3",
    "LGPL-3.0-or-later": "lgplv3+",
    "AGPL-3.0-only": "agplv3",
    "AGPL-3.0-or-later": "agplv3+",
    "MPL-2.0": "mpl 2.0",
    "CC0-1.0": "cc0",
    "CC-BY-4.0": "cc-by",
    "CC-BY-SA-4.0": "cc-by-sa",
    "LicenseRef-public-domain": "public domain",
    "Unlicense": "the unlicense",
    "C-UDA-1.0": "c-uda|c-uda-1.0",
    "ODC-By-1.0": "odc-by",
    "ODbL-1.0": "odbl",
    "PDDL-1.0": "pddl",
    "LGPLLR": "lgpl-lr",
    "OpenMDW-1.0": "openmdw-1.0",
    "etalab-2.0": "etalab-2.0",
    "LicenseRef-openrail-pp": "openrail++",
    "LicenseRef-proprietary": "proprietary|commercial|all rights reserved",
}

_HUB_NAMES = (
    "openrail",
    "creativeml-openrail-m",
    "bigscience-openrail-m",
    "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m",
    "llama2",
    "llama3",
    "llama3.1",
    "llama3.2",
    "llama3.3",
    "llama4",
    "gemma",
    "grok2-community",
    "tongyi-qianwen",
    "qwen",
    "qwen-research",
    "deepseek",
    "falcon-180b",
    "falcon-2",
    "falcon-llm",
    "nvidia-open-model-license",
    "mistral-research",
    "apple-amlr",
    "apple-ascl",
    "openmdw-1.1",
    "deepfloyd-if-license",
    "fair-noncommercial-research-license",
    "h-research",
    "intel-research",
)

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "LicenseRef-gpl": ("GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"),
        "LicenseRef-lgpl": ("LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
        "LicenseRef-bsd": ("BSD-2-Clause", "BSD-3-Clause", "0BSD"),
        "LicenseRef-cc": ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0"),
        "LicenseRef-openrail": (
            "LicenseRef-openrail-pp",
            "LicenseRef-creativeml-openrail-m",
            "LicenseRef-bigscience-openrail-m",
            "LicenseRef-bigcode-openrail-m",
        ),
        "LicenseRef-gfdl": ("GFDL-1.1-only", "GFDL-1.2-only", "GFDL-1.3-only"),
    }
)
"""Names that stand for a set of licenses: what holds for all members holds for the name, all else is unknown."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {alias: license_id for license_id, aliases in _SPELLINGS.items() for alias in aliases.split("|")}
    | {name: f"LicenseRef-{name}" for name in _HUB_NAMES}
    | {family.removeprefix("LicenseRef-"): family for family in FAMILIES}
)
"""Lower-case spelling to identifier. Asked before any parser: parsers reject `/` and do not know hub names."""

VERSION_ASSUMED = frozenset({"cc-by", "cc-by-sa"})
"""Aliases that name no version, where the newest is taken."""

NAMELESS = frozenset({"noassertion", "unknown", "other"})
"""What people write where the terms have no identifier."""

# The first pattern that matches the whole identifier decides, so the narrow ones stand first.
_PATTERNS: tuple[tuple[str, Category], ...] = tuple(
    (pattern, category)
    for category, patterns in (
        (
            Category.NON_COMMERCIAL,
            r"licenseref-.*(research|non-?commercial).*|licenseref-(apple-amlr|deepfloyd-if-license)|cc-by-nc(-sa)?-[\d.]+.*",
        ),
        (Category.NO_DERIVATIVES, r"cc-by-(nc-)?nd-[\d.]+.*"),
        (Category.SHARE_ALIKE, r"cc-by-sa-[\d.]+.*|odbl-.*|gfdl-.*|cdla-sharing-.*"),
        (Category.ATTRIBUTION, r"cc-by-[\d.]+.*|odc-by-.*|etalab-2\.0"),
        (Category.PUBLIC_DOMAIN, r"cc0-1\.0|unlicense|0bsd|mit-0|wtfpl|pddl-1\.0|cc-pddc|licenseref-public-domain"),
        (
            Category.PERMISSIVE,
            r"mit|mit-.*|bsd-.*|isc|apache-.*|artistic-2\.0|bsl-1\.0|zlib|postgresql|ncsa|openmdw-.*|licenseref-openmdw-.*"
            r"|cdla-permissive-.*|afl-.*|ecl-2\.0|licenseref-apple-ascl|python-2\.0|psf-2\.0|blueoak-1\.0\.0|upl-1\.0|hpnd",
        ),
        (Category.WEAK_FILE, r"mpl-.*|epl-.*|eupl-.*|cddl-.*|lppl-.*|ms-pl|ofl-.*"),
        (Category.WEAK_LIBRARY, r"lgpl-.*|lgpllr"),
        (Category.NETWORK, r"agpl-.*|osl-.*"),
        (Category.STRONG, r"gpl-.*"),
        (
            Category.USE_RESTRICTED,
            r"licenseref-(openrail|openrail-pp|creativeml-.*|bigscience-.*|bigcode-openrail-m|deepseek)|c-uda-1\.0",
        ),
        (
            Category.COMMUNITY,
            r"licenseref-(llama(2|3|3\.\d|4)|gemma|grok2-community|falcon-.*|tongyi-qianwen|qwen|nvidia-open-model-license)",
        ),
        (Category.PROPRIETARY, r"licenseref-proprietary"),
    )
    for pattern in (patterns,)
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), category) for pattern, category in _PATTERNS)

_LINKING = re.compile(
    r"classpath-exception.*|gcc-exception.*|.*linking.*exception.*|qt-(gpl|lgpl)-exception.*|gnat-exception|ecos-exception.*"
    r"|wxwindows-exception.*|freertos-exception.*|gnu-javamail-exception|fltk-exception",
    re.IGNORECASE,
)
_DEPRECATED_LINKING = re.compile(r"gpl-[\d.]+-with-(classpath|gcc)-exception|ecos-2\.0|wxwindows", re.IGNORECASE)


def category_of(license_id: str) -> Category:
    """The kind of terms behind one identifier, without its exception; `UNKNOWN` for what the tables do not list.

    >>> category_of("CC-BY-NC-4.0").value, category_of("LicenseRef-house-rules").value
    ('non_commercial', 'unknown')
    """
    if license_id in FAMILIES:
        kinds = {category_of(member) for member in FAMILIES[license_id]}
        # BSD and 0BSD differ in kind and not in what they permit.
        kinds = {Category.PERMISSIVE if kind is Category.PUBLIC_DOMAIN else kind for kind in kinds}
        return kinds.pop() if len(kinds) == 1 else Category.UNKNOWN
    return next((kind for pattern, kind in _COMPILED if pattern.fullmatch(license_id)), Category.UNKNOWN)


def allows_linking(license_id: str, exception: str | None) -> bool:
    """Whether a GNU license comes with leave to link other code to it."""
    return bool(exception and _LINKING.fullmatch(exception)) or bool(_DEPRECATED_LINKING.fullmatch(license_id))
