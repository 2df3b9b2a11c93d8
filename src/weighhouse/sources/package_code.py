"""The Python that a package bundles, as a tree of code."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, overload

from weighhouse.rules.code_files import is_ci_file, programs_to_read
from weighhouse.rules.evidence import CodeTree, Finding, Missing, Source
from weighhouse.rules.programs import parsed
from weighhouse.rules.requirements import is_requirements_file
from weighhouse.sources.files import PackageFiles
from weighhouse.sources.lint import Lint, lint
from weighhouse.sources.once import Once

_MAX_EXTRAS = 100
_MAX_EXTRA_BYTES = 200_000


class LazyFindings(Sequence[Finding]):
    """The linter's findings, computed when first looked at: metrics that do not lint neither wait for it nor fail with it."""

    def __init__(self, sources: Mapping[str, str], once: Once) -> None:
        self._sources = sources
        self._once = once

    @property
    def result(self) -> Lint:
        """All that the linter said.

        Raises:
            Missing: As for `lint`.
        """
        return self._once.get("lint", lambda: lint(self._sources))

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | Sequence[Finding]:
        return self.result.findings[index]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.result.findings)

    def __len__(self) -> int:
        return len(self.result.findings)


def package_code(files: PackageFiles, source: Source) -> CodeTree:
    """The code in a package's own files; without any, a tree without texts.

    Raises:
        Missing: A file needs the linter to tell broken syntax from newer syntax, and the linter could not be had.
    """
    sizes = {file.path: file.size_bytes for file in files.all}
    return code_tree(
        "package", source, sizes, _readable(files, programs_to_read(sizes)), _readable(files, extras_to_read(sizes))
    )


def code_tree(
    origin: Literal["repository", "package"],
    source: Source,
    paths: Mapping[str, int],
    programs: Mapping[str, str],
    extras: Mapping[str, str],
) -> CodeTree:
    """A tree from the texts of its programs: notebooks reduced to their code, files for a newer Python set aside.

    Raises:
        Missing: As for `package_code`.
    """
    texts = {
        path: code_of_notebook(text) if path.lower().endswith(".ipynb") else text for path, text in programs.items()
    }
    findings = LazyFindings(texts, Once())
    newer: Sequence[str] = ()
    if any(parsed(text) is None for text in texts.values()):
        newer = findings.result.skipped_newer_syntax
    kept = {path: text for path, text in texts.items() if path not in newer}
    return CodeTree(origin, source, tuple(paths), kept, extras, findings, tuple(newer))


def code_of_notebook(text: str) -> str:
    """The code cells of a notebook, joined by blank lines and without the notebook's own commands; `""` for what is none.

    >>> code_of_notebook('{"cells": [{"cell_type": "code", "source": ["%time\\\\n", "x = 1\\\\n"]}]}')
    'pass\\nx = 1'
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    cells = document.get("cells") if isinstance(document, dict) else None
    listed = cells if isinstance(cells, list) else []
    return "\n\n".join(code for cell in listed if isinstance(cell, dict) and (code := _code_of_cell(cell)))


def _code_of_cell(cell: Mapping[str, object]) -> str:
    source = cell.get("source")
    text = "".join(line for line in source if isinstance(line, str)) if isinstance(source, list) else source
    if cell.get("cell_type") != "code" or not isinstance(text, str):
        return ""
    lines = text.strip("\n").splitlines()
    if lines and lines[0].startswith("%%"):
        # Timing magics wrap Python; all others hand the cell to another language.
        return "\n".join(map(_without_magic, lines[1:])) if lines[0].startswith(("%%time", "%%capture")) else ""
    return "\n".join(map(_without_magic, lines))


def _without_magic(line: str) -> str:
    code = line.lstrip()
    # `pass` keeps a block alive that held nothing but the command.
    return line[: len(line) - len(code)] + "pass" if code.startswith(("%", "!", "?")) or code.endswith("?") else line


def _readable(files: PackageFiles, paths: Sequence[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in paths:
        try:
            texts[path] = files.text(path)
        except Missing:
            # Not UTF-8, so not a program that Python 3 runs as it stands.
            continue
    return texts


def extras_to_read(sizes: Mapping[str, int]) -> Sequence[str]:
    """The small files beside the programs that metrics read: what declares dependencies or says what is run, the highest up first.

    Args:
        sizes: Bytes of every file by path.
    """
    wanted = [
        path
        for path, size in sizes.items()
        if size <= _MAX_EXTRA_BYTES and not path.endswith(".py") and (is_ci_file(path) or is_requirements_file(path))
    ]
    return sorted(wanted, key=lambda path: (path.count("/"), path))[:_MAX_EXTRAS]
