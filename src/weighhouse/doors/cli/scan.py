"""The command that scans files of this machine as a registry would, before anything is uploaded or loaded."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weighhouse.doors.cli.output import clean
from weighhouse.rules.errors import Invalid

if TYPE_CHECKING:
    from weighhouse.rules.scan.verdict import Finding
    from weighhouse.sources.scanning import Scanned, Scanning

# What the command runs is imported when it runs: the others start in a fraction of the time without it.

_DOUBTFUL = 3


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
def scan(paths: tuple[Path, ...], as_json: bool) -> None:
    """Say what loading these files could do, without loading them; of a folder, all files in it.

    Needs no server. Exit code 0 when all are safe, 1 when one is unsafe, 3 when one is suspicious or unscanned.

    \b
    Examples:
      weighhouse scan pytorch_model.bin
      weighhouse scan ./my-model --json
    """
    from weighhouse.rules.scan.verdict import worst
    from weighhouse.sources.scanning import Scanning

    levels = []
    with closing(Scanning()) as scanning:
        for path in _files(paths):
            scanned = _scanned(scanning, path)
            levels.append(scanned.verdict.level)
            for line in [_object(path, scanned)] if as_json else _lines(path, scanned):
                click.echo(line)
    level = worst(levels)
    if not as_json:
        click.echo(f"{len(levels)} {'file' if len(levels) == 1 else 'files'}: {level}.")
    if level != "safe":
        raise SystemExit(1 if level == "unsafe" else _DOUBTFUL)


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        yield from (one for one in sorted(path.rglob("*")) if one.is_file()) if path.is_dir() else (path,)


def _scanned(scanning: "Scanning", path: Path) -> "Scanned":
    try:
        with path.open("rb") as file:

            def read(start: int, length: int) -> bytes:
                file.seek(start)
                return file.read(length)

            return scanning.scan(read, path.name, path.stat().st_size)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from error


def _object(path: Path, scanned: "Scanned") -> str:
    findings = [asdict(finding) for finding in scanned.verdict.findings]
    return json.dumps({"path": str(path), "verdict": scanned.verdict.level, "reasons": findings})


def _lines(path: Path, scanned: "Scanned") -> Iterator[str]:
    yield f"{scanned.verdict.level:10}  {clean(path)}"
    for finding in scanned.verdict.findings:
        yield f"            {finding.level}: {clean(finding.message)}{_where(finding)}"


def _where(finding: "Finding") -> str:
    parts = [clean(finding.inner_path)] if finding.inner_path else []
    parts += [f"byte {finding.position}"] if finding.position is not None else []
    return f" ({', '.join(parts)})" if parts else ""
