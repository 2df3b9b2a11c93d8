"""What the linter says of Python sources. They are data: no name, setting or comment of theirs steers it."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from weighhouse.rules.evidence import Finding, Missing, Reason
from weighhouse.rules.programs import parsed

TIMEOUT_SECONDS = 60.0
RULES = "E9,F,B,PLE,S102,S301,S307,S602,S605,C901"

_COMPLEXITY = "C901"
_SYNTAX = "invalid-syntax"
_NEWER = re.compile(r"syntax was added in Python")
_UNDEFINED = re.compile(r"Undefined name `(.+)`")
_BATCH_CHARACTERS = 256 * 1024
# A notebook shows the last expression of a cell and may wait at its top level.
_FINE_IN_NOTEBOOKS = frozenset({"B018", "F704", "PLE1142"})
_OPTIONS = ("--isolated", "--no-cache", "--ignore-noqa", "--exit-zero", "--target-version", "py313")
# One finding a line, so that a file made of mistakes is never held as one document.
_FORMAT = ("--output-format", "json-lines")


@dataclass(frozen=True)
class Lint:
    """Findings in order of path and line, and the files that only a newer Python can parse, which have none."""

    findings: Sequence[Finding]
    skipped_newer_syntax: Sequence[str]


def lint(sources: Mapping[str, str]) -> Lint:
    """The findings of the metric's rules in Python `sources` by path; a path ending in `.ipynb` holds a notebook's code.

    Past one finding in twenty lines, where the metric is 0 anyway, only complexity is reported further.

    Raises:
        Missing: The linter is not installed (`tool_missing`) or took over 60 s (`timeout`).
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    most = 1_000 + sum(text.count("\n") + 1 for text in sources.values()) // 20
    reports: list[tuple[str, dict[str, Any]]] = []
    mistakes = 0
    for batch in _batches(sources):
        rules = RULES if mistakes < most else f"E9,{_COMPLEXITY}"
        for path, report in _reports(batch, rules, deadline):
            code = report["code"]
            if path.endswith(".ipynb") and code in _FINE_IN_NOTEBOOKS:
                continue
            mistakes += code != _COMPLEXITY
            if mistakes < most or code in (_COMPLEXITY, _SYNTAX):
                reports.append((path, report))
    newer = _newer(sources, reports)
    found = [Finding(report["code"], path, report["row"]) for path, report in reports if path not in newer]
    return Lint(tuple(sorted(found, key=lambda one: (one.path, one.line, one.code))), tuple(sorted(newer)))


def undefined_names(program: str) -> Sequence[str]:
    """Names that a program uses and never binds, each once, in order of appearance.

    Raises:
        Missing: As for `lint`.
    """
    arguments = ["check", *_OPTIONS, *_FORMAT, "--select", "F821", "-"]
    reports = list(_run(arguments, time.monotonic() + TIMEOUT_SECONDS, program=program))
    ordered = sorted(reports, key=lambda report: (report["row"], report["column"]))
    names = (match[1] for report in ordered if (match := _UNDEFINED.fullmatch(report["message"])))
    return tuple(dict.fromkeys(names))


def _newer(sources: Mapping[str, str], reports: Iterable[tuple[str, dict[str, Any]]]) -> frozenset[str]:
    broken: dict[str, bool] = {}
    for path, report in reports:
        if report["code"] == _SYNTAX:
            broken[path] = broken.get(path, True) and _NEWER.search(report["message"]) is not None
    newer = {path for path, only_newer in broken.items() if only_newer}
    # The linter knows more syntax than the Python that runs us.
    return frozenset(newer | {path for path, text in sources.items() if path not in broken and parsed(text) is None})


def _batches(sources: Mapping[str, str]) -> Iterator[dict[str, str]]:
    batch: dict[str, str] = {}
    size = 0
    for path in sorted(sources):
        if batch and size + len(sources[path]) > _BATCH_CHARACTERS:
            yield batch
            batch, size = {}, 0
        batch[path] = sources[path]
        size += len(sources[path])
    if batch:
        yield batch


def _reports(sources: Mapping[str, str], rules: str, deadline: float) -> Iterator[tuple[str, dict[str, Any]]]:
    with tempfile.TemporaryDirectory(prefix="lint-") as folder:
        # Paths of a package never reach the file system: they may climb out of it or collide in it.
        names = {f"f{number:05}.py": path for number, path in enumerate(sources)}
        for name, path in names.items():
            Path(folder, name).write_text(sources[path], encoding="utf-8", errors="replace", newline="")
        options = ("--select", rules, "--config", "lint.mccabe.max-complexity=10")
        for report in _run(["check", *_OPTIONS, *_FORMAT, *options, "."], deadline, cwd=folder):
            linted = names.get(Path(report["filename"]).name)
            if linted is not None:
                yield linted, report


def _run(
    arguments: Sequence[str], deadline: float, *, cwd: str | None = None, program: str = ""
) -> Iterator[dict[str, Any]]:
    """The reports of one run, as they come.

    Raises:
        Missing: The linter is not installed, failed, or passed the deadline.
    """
    # Only what it needs to start: settings in the environment would steer it as a file does.
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    try:
        process = subprocess.Popen(
            [_ruff(), *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise Missing(
            Reason.TOOL_MISSING, "The linter ruff could not be started; install it beside this server"
        ) from error
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), process.kill)
    timer.start()
    try:
        with process:
            yield from _answers(process, program)
    finally:
        # A caller that stops early must not leave the linter writing into a full pipe.
        process.kill()
        timer.cancel()
    if process.returncode != 0:
        if time.monotonic() >= deadline:
            raise Missing(
                Reason.TIMEOUT, f"The linter took more than {TIMEOUT_SECONDS:.0f} s; split the code or shorten it"
            )
        raise Missing(Reason.TOOL_MISSING, "The linter ruff failed; see that its version is the one this server names")


def _answers(process: "subprocess.Popen[str]", program: str) -> Iterator[dict[str, Any]]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(program)
        process.stdin.close()
    except BrokenPipeError:
        # It ended before it read all; its exit status says why.
        return
    for line in process.stdout:
        if report := _report(line):
            yield report


def _report(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
        start = document["location"]
        return {
            "code": document["code"] or _SYNTAX,
            "filename": document["filename"],
            "message": document["message"],
            "row": start["row"],
            "column": start["column"],
        }
    except (ValueError, KeyError, TypeError):
        # A run that is killed ends in the middle of a line.
        return None


@cache
def _ruff() -> str:
    """Path of the linter that is installed with this server.

    Raises:
        Missing: There is none.
    """
    name = "ruff.exe" if os.name == "nt" else "ruff"
    beside = (Path(sys.executable).with_name(name), Path(sysconfig.get_path("scripts"), name))
    found = next((str(path) for path in beside if path.is_file()), None) or shutil.which(name)
    if found is None:
        raise Missing(Reason.TOOL_MISSING, "The linter ruff is not installed; install it beside this server")
    return found
