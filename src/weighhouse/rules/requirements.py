"""The dependencies a project declares, and how many of them have an upper bound."""

import ast
import configparser
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from weighhouse.rules.front_matter import load_metadata
from weighhouse.rules.programs import parsed

LOCK_FILES = frozenset(
    {"poetry.lock", "uv.lock", "pdm.lock", "pipfile.lock", "conda-lock.yml", "pixi.lock", "pylock.toml"}
)
_REQUIREMENTS = re.compile(r"(requirements|constraints|dependencies)([-_.].*)?\.(txt|in)|.*[-_.]requirements\.txt")
_CONDA = frozenset({"environment.yml", "environment.yaml", "conda.yml", "conda.yaml"})
_BOUNDING = frozenset({"==", "===", "~=", "<", "<="})
_MAX_REQUIREMENTS = 2_000
_MAX_CHARACTERS = 500


@dataclass(frozen=True)
class Declared:
    """What the files of a project say about its dependencies.

    `bounded` of `total` requirements exclude some later version; `is_declared` also holds for a manifest that needs nothing.
    """

    is_declared: bool
    has_lock: bool
    total: int
    bounded: int

    @property
    def share_bounded(self) -> float:
        """Bounded share of the requirements, 0 when there are none."""
        return self.bounded / self.total if self.total else 0.0


def is_requirements_file(path: str) -> bool:
    """Whether the file declares dependencies, by its name: requirement files, packaging and environment manifests, locks.

    >>> is_requirements_file("train/requirements-dev.txt"), is_requirements_file("notes.txt")
    (True, False)
    """
    name = PurePosixPath(path).name.lower()
    return (
        name in LOCK_FILES | _CONDA | {"pyproject.toml", "setup.cfg", "setup.py", "pipfile"}
        or _REQUIREMENTS.fullmatch(name) is not None
    )


def declared(paths: Iterable[str], texts: Mapping[str, str]) -> Declared:
    """The dependencies declared by `paths`, read from `texts` of those among them that could be read.

    A file that cannot be parsed declares nothing.
    """
    names = {path: PurePosixPath(path).name.lower() for path in paths}
    has_lock = any(name in LOCK_FILES for name in names.values())
    is_declared, specifiers = has_lock, list[str]()
    for path, name in names.items():
        found = _read(name, texts[path]) if path in texts else None
        if found is not None:
            is_declared = True
            specifiers += found[: _MAX_REQUIREMENTS - len(specifiers)]
    bounded = sum(_is_bounded(one) for one in specifiers)
    return Declared(is_declared, has_lock, len(specifiers), bounded)


def _read(name: str, text: str) -> list[str] | None:
    """The requirements in one file; `None` when it declares none."""
    if _REQUIREMENTS.fullmatch(name):
        return _lines(text) or None
    if name in {"pyproject.toml", "pipfile"}:
        return _from_toml(text)
    if name == "setup.cfg":
        return _from_ini(text)
    if name == "setup.py":
        return _from_setup(text)
    return _from_conda(text) if name in _CONDA else None


def _lines(text: str) -> list[str]:
    joined = text.replace("\\\r\n", " ").replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*|\s--hash=\S+", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def _from_toml(text: str) -> list[str] | None:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    project, poetry = _table(document, "project"), _table(document, "tool", "poetry")
    found: list[str] | None = None
    if isinstance(listed := project.get("dependencies"), list):
        found = [one for one in listed if isinstance(one, str)]
    for table in (_table(poetry, "dependencies"), _table(document, "packages")):
        if table:
            found = (found or []) + [_from_table(name, wanted) for name, wanted in table.items() if name != "python"]
    return found


def _table(document: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        inner = document.get(key)
        document = inner if isinstance(inner, dict) else {}
    return document


def _from_table(name: str, wanted: object) -> str:
    """A requirement of Poetry or Pipenv, where a caret, a tilde and a bare version all exclude the next major version."""
    version = wanted.get("version") if isinstance(wanted, dict) else wanted
    version = version.strip() if isinstance(version, str) else "*"
    if "*" in version or not version:
        return name
    return f"{name}{version}" if version[0] in "=<>!" or version[:2] == "~=" else f"{name}=={version.lstrip('^~ ')}"


def _from_ini(text: str) -> list[str] | None:
    document = configparser.ConfigParser(interpolation=None)
    try:
        document.read_string(text)
    except configparser.Error:
        return None
    listed = document.get("options", "install_requires", fallback=None)
    return None if listed is None else _lines(listed)


def _from_setup(text: str) -> list[str] | None:
    tree = parsed(text)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            items = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else []
            return [one.value for one in items if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return None


def _from_conda(text: str) -> list[str] | None:
    listed = load_metadata(text)[0].get("dependencies")
    if not isinstance(listed, list):
        return None
    nested = [entry.get("pip") for entry in listed if isinstance(entry, dict)]
    pip = [one for inner in nested if isinstance(inner, list) for one in inner if isinstance(one, str)]
    conda = [re.sub(r"(?<![=<>~!])=(?!=)", "==", one) for one in listed if isinstance(one, str)]
    return [one for one in conda if not re.match(r"(python|pip)\b", one)] + pip


def _is_bounded(specifier: str) -> bool:
    specifier = specifier[:_MAX_CHARACTERS]
    try:
        wanted = Requirement(specifier)
    except InvalidRequirement:
        # Conda writes `name=1.2=build`; a repository at a full commit id is as fixed as a version.
        return bool(re.match(r"[\w.-]+\s*==\s*\d", specifier)) or bool(re.search(r"@[0-9a-f]{40}\b", specifier))
    if wanted.url:
        return bool(re.search(r"@[0-9a-f]{40}\b|#sha256=", wanted.url))
    return any(one.operator in _BOUNDING for one in wanted.specifier)
