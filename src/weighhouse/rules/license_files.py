"""What the license files of a package say: which files they are, what they grant together, and tags in bundled code."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from weighhouse.rules.evidence import Evidence
from weighhouse.rules.licenses import MAX_TEXT_CHARACTERS, License, either, recognise, together
from weighhouse.rules.manifest import File

MAX_LICENSE_FILES = 10
MAX_TAGGED_PROGRAMS = 50
MIN_TEXT_WORDS = 20

_TEXT_FILE = re.compile(
    r"(un)?licen[cs]es?([-_.].*)?|copying([-_.].*)?|.*[-_.]licen[cs]e(\.(txt|md|rst))?", re.IGNORECASE
)
_NOTICE_FILE = re.compile(r"notice([-_.].*)?|use[-_]policy([-_.].*)?", re.IGNORECASE)
_PROGRAM_ENDS = frozenset({".py", ".json", ".yaml", ".yml", ".sh"})
_VENDORED = frozenset({"vendor", "third_party", "node_modules", "site-packages"})
_ALTERNATIVE = re.compile(r"licen[cs]e[-_.](?!md$|txt$|rst$).+", re.IGNORECASE)
_NOTICE_CHARACTERS = 2_000
_HEADER_BYTES = 2_048


@dataclass(frozen=True)
class LicenseFiles:
    """What was found: the license recognised, if any; whether a text is shipped at all; the files, those with a text first."""

    license: License | None
    has_text: bool
    paths: Sequence[str]


def read_license_files(evidence: Evidence, files: Sequence[File], *, linked: str | None = None) -> LicenseFiles:
    """The license files among `files`, nearest the root first, read and put together.

    Several in one folder are a choice when each is named for its license (`LICENSE-MIT`), and hold together otherwise.

    Args:
        linked: The file that the card names as the license's text, whatever its own name says.

    Raises:
        Missing: A file could not be read.
    """
    ordered = sorted(files, key=lambda file: (file.path.count("/"), file.path))
    ours = [file.path for file in ordered if _VENDORED.isdisjoint(PurePosixPath(file.path).parts[:-1])]
    found: dict[str, License] = {}
    with_text: list[str] = []
    for path in [path for path in ours if path == linked or is_license_text(path)][:MAX_LICENSE_FILES]:
        text = _head(evidence, path, MAX_TEXT_CHARACTERS)
        if terms := recognise(text):
            found[path] = terms
        if terms or len(text.split()) >= MIN_TEXT_WORDS:
            with_text.append(path)
    # A notice names its own license first and those of others further down.
    notices = [path for path in ours if _NOTICE_FILE.fullmatch(PurePosixPath(path).name)][:MAX_LICENSE_FILES]
    noted = [one for path in notices if (one := recognise(_head(evidence, path, _NOTICE_CHARACTERS)))]
    stated = [*_by_folder(found), *noted, *_tags(evidence, ours)]
    distinct = list({terms.branches: terms for terms in stated}.values())
    return LicenseFiles(
        together(distinct) if len(distinct) > 1 else next(iter(distinct), None), bool(with_text), with_text + notices
    )


def is_license_text(path: str) -> bool:
    """Whether a file's name says that it holds the text of a license.

    >>> is_license_text("LICENSE.txt"), is_license_text("license.py")
    (True, False)
    """
    at = PurePosixPath(path)
    return _TEXT_FILE.fullmatch(at.name) is not None and at.suffix.lower() not in _PROGRAM_ENDS


def _head(evidence: Evidence, path: str, size: int) -> str:
    # Old license files are often Latin-1; a name with an odd letter in it must not hide the rest.
    return evidence.read_at(path, 0, size).decode("utf-8", errors="replace")


def _by_folder(found: dict[str, License]) -> list[License]:
    folders: dict[str, dict[str, License]] = {}
    for path, terms in found.items():
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[name.lower()] = terms
    return [of_folder(named) for named in folders.values()]


def of_folder(named: Mapping[str, License]) -> License:
    """What the license files of one folder grant together.

    Args:
        named: The license of each file, by its name in lower case; at least one.
    """
    if len(named) == 1:
        return next(iter(named.values()))
    lesser = next((terms for name, terms in named.items() if name.startswith("copying.less")), None)
    if lesser and set(named) <= {"copying", "copying.lesser", "copying.less"}:
        # The LGPL-3.0 is written as additions to the GPL, so its users ship both.
        return lesser
    combine = either if all(_ALTERNATIVE.fullmatch(name) for name in named) else together
    return combine(list(named.values()))


def _tags(evidence: Evidence, paths: Sequence[str]) -> list[License]:
    """Licenses that bundled programs state in their first lines."""
    programs = [path for path in paths if path.endswith(".py")][:MAX_TAGGED_PROGRAMS]
    heads = (_head(evidence, path, _HEADER_BYTES) for path in programs)
    return [terms for head in heads if "SPDX-License-Identifier" in head and (terms := recognise(head))]
