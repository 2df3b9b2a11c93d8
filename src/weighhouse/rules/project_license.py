"""What a project's license files and package metadata grant together (license specification, section 8, steps 4 and 5)."""

import configparser
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from weighhouse.rules.compatibility_rules import Confidence
from weighhouse.rules.license_files import of_folder
from weighhouse.rules.license_matcher import Detected, detect
from weighhouse.rules.licenses import NONE, License, normalise, without_suffix

MAX_FILES = 10
MAX_FILE_BYTES = 128 * 1024
METADATA_FILES = ("pyproject.toml", "setup.cfg", "package.json", "Cargo.toml")

READ_THE_TEXT = "The license text has added terms; read it"
NOT_RECOGNISED = "The license text was not recognised; read it"
ALL_APPLY = "several license files; all are assumed to apply"

_LICENSE_FILE = re.compile(r"(licen[cs]e|copying|unlicense|copyright).*", re.IGNORECASE)
_NOTICE_FILE = re.compile(r"copyright.*", re.IGNORECASE)
_SPDX_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n\"']{1,300})", re.IGNORECASE)
_MIN_WORDS = 20
_LONGEST_NAME = 200

Source = Literal["github", "text", "metadata", "declared", "none"]


@dataclass(frozen=True)
class Stated:
    """A license with where it was found, and how sure that is.

    `match_score` is that of the weakest text that was matched; `files` are those that were read and say something.
    """

    license: License
    source: Source
    confidence: Confidence = Confidence.HIGH
    match_score: float | None = None
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def license_paths(root: Sequence[str], reuse: Sequence[str]) -> list[str]:
    """The license files to read, at most ten.

    Args:
        root: Names of the files in the root.
        reuse: Names of the files in `LICENSES`, where REUSE has one text for each license.

    >>> license_paths(["setup.py", "COPYING", "LICENSE-MIT"], ["MIT.txt"])
    ['COPYING', 'LICENSE-MIT', 'LICENSES/MIT.txt']
    """
    found = [name for name in sorted(root) if _LICENSE_FILE.fullmatch(name)]
    return [*found, *(f"LICENSES/{name}" for name in sorted(reuse))][:MAX_FILES]


def declared_license(path: str, text: str) -> License:
    """What one file of package metadata declares, or its SPDX tag; nothing when it cannot be read.

    >>> declared_license("package.json", '{"license": "(MIT OR GPL-3.0-or-later)"}').expression
    'MIT OR GPL-3.0-or-later'
    """
    stated = _declared(PurePosixPath(path).name.lower(), text)
    if isinstance(stated, str) and len(stated) > _LONGEST_NAME:
        return detect(stated).license or NONE
    named = normalise(stated)
    tag = _SPDX_TAG.search(text)
    return normalise(tag[1].strip(" */#->")) if named.state == "none" and tag else named


def put_together(texts: Mapping[str, str], declared: Mapping[str, License]) -> Stated:
    """The license of a project from its files.

    An expression in the metadata says how the texts belong together, so it wins; but not over a text that it does not name.

    Args:
        texts: License files by path.
        declared: What each file of metadata declares, by path.
    """
    named = {path: terms for path, terms in declared.items() if terms.state == "named"}
    detected = {path: detect(text) for path, text in texts.items()}
    # A few words that say nothing of a license are a heading or a name.
    spoken = {path: one for path, one in detected.items() if one.license or len(texts[path].split()) >= _MIN_WORDS}
    found = _from_texts(spoken)
    distinct = {terms.branches: terms for terms in named.values()}
    if not distinct:
        return found
    files = (*named, *(path for path in found.files if path not in named))
    if len(distinct) > 1:
        return _disagreement(named, files)
    terms = next(iter(distinct.values()))
    if found.license.state == "named":
        if not _ids(found.license) <= _ids(terms):
            return _disagreement(named | {found.files[0]: found.license}, files, found.warnings)
        return Stated(terms, "metadata", Confidence.HIGH, found.match_score, files)
    is_unread = found.license.state == "unknown"
    warnings = (NOT_RECOGNISED,) if is_unread else ()
    return Stated(terms, "metadata", Confidence.LOW if is_unread else Confidence.MEDIUM, None, files, warnings)


def unnamed(files: tuple[str, ...]) -> Stated:
    """Terms that are there and have no name."""
    return Stated(License("NOASSERTION", "unknown"), "text", Confidence.LOW, files=files)


def _from_texts(detected: Mapping[str, Detected]) -> Stated:
    known = {path: one for path, one in detected.items() if one.license is not None}
    pointers = {path for path, one in detected.items() if one.offers_choice}
    unread = [
        path
        for path, one in detected.items()
        if one.license is None and path not in pointers and not _NOTICE_FILE.fullmatch(PurePosixPath(path).name)
    ]
    if not known and not unread:
        return Stated(NONE, "none")
    if unread:
        # Whatever the others grant, this text may take it back.
        return unnamed((*known, *unread))
    scores = [one.score for one in known.values() if one.score is not None]
    terms = _joined(known, pointers)
    distinct = {one.license.branches for one in known.values() if one.license}
    warnings = [READ_THE_TEXT] if any(one.is_modified for one in known.values()) else []
    if len(distinct) > 1 and len(terms.branches) == 1 and len(terms.branches[0]) > 1:
        warnings.append(ALL_APPLY)
    confidence = min(one.confidence for one in known.values())
    return Stated(terms, "text", confidence, min(scores, default=None), tuple(known), tuple(warnings))


def _joined(known: Mapping[str, Detected], pointers: set[str]) -> License:
    """The licenses of several texts: a choice where their names or a pointer text say so, else all of them."""
    licenses = {path: one.license for path, one in known.items() if one.license is not None}
    for path in pointers & licenses.keys():
        others = {atom for other, terms in licenses.items() if other != path for atom in _ids(terms)}
        if others <= _ids(licenses[path]):
            return licenses[path]
    kept = {path: terms for path, terms in licenses.items() if path not in pointers} or licenses
    distinct = {terms.branches: (path, terms) for path, terms in reversed(kept.items())}
    ordered = dict(sorted((path, terms) for path, terms in distinct.values()))
    named: dict[str, License] = {}
    for path, terms in ordered.items():
        name = path.replace("/", "-").lower()
        # Names may differ in case only; no license may be lost for that.
        while name in named:
            name += "+"
        named[name] = terms
    if pointers and len(named) > 1:
        # Names of this form are what `of_folder` takes for a choice.
        named = {f"license-{name}": terms for name, terms in named.items()}
    return of_folder(named)


def _disagreement(named: Mapping[str, License], files: tuple[str, ...], warnings: tuple[str, ...] = ()) -> Stated:
    each = " but ".join(f"{path} says {terms.display}" for path, terms in named.items())
    told = (each[:300], *warnings)
    return Stated(License(each[:100], "unknown"), "metadata", Confidence.LOW, files=files, warnings=told)


def _ids(terms: License) -> frozenset[str]:
    return frozenset(without_suffix(atom.id) for branch in terms.branches for atom in branch)


def _declared(name: str, text: str) -> object:
    try:
        match name:
            case "pyproject.toml":
                return _of_pyproject(tomllib.loads(text))
            case "cargo.toml":
                return _at(tomllib.loads(text), "package", "license")
            case "package.json":
                return _of_package(json.loads(text))
            case "setup.cfg":
                parser = configparser.RawConfigParser(strict=False)
                parser.read_string(text)
                return parser.get("metadata", "license", fallback=None)
    except (ValueError, RecursionError, configparser.Error):
        # A file that its own tools could not read declares nothing.
        return None
    return None


def _of_pyproject(document: Mapping[str, Any]) -> object:
    for stated in (_at(document, "project", "license"), _at(document, "tool", "poetry", "license")):
        if stated is not None:
            return stated.get("text") if isinstance(stated, dict) else stated
    return None


def _of_package(document: object) -> object:
    stated = _at(document, "license")
    listed = _at(document, "licenses") if stated is None else stated
    several = listed if isinstance(listed, list) else [listed]
    names = [one.get("type") if isinstance(one, dict) else one for one in several]
    return names if isinstance(listed, list) else names[0]


def _at(document: object, *keys: str) -> Any:
    for key in keys:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document
