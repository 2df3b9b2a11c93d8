"""Does the demonstration code on the model card run? (metrics specification, section 9)

Every package gets the static verdict, which never earns 1.00. Where the operator has a sandbox, the verdict of a run
replaces it; when the environment is at fault, the static one stands.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from weighhouse.rules.cards import CodeBlock, read_card
from weighhouse.rules.evidence import Evidence, Missing, Source
from weighhouse.rules.metrics.result import Result, ok
from weighhouse.rules.snippets import (
    PLACEHOLDERS,
    Kind,
    Names,
    kind_of,
    loads,
    mended,
    parse,
    repaired,
    runs_a_file,
    variables_of,
)
from weighhouse.rules.trial import PACKAGE_PATH, Ending

NAME = "reproducibility"
METRIC_VERSION = "reproducibility/1"

PLAUSIBLE = 0.5


@dataclass(frozen=True)
class StaticVerdict:
    """What reading the card's code says, and the program that a sandbox would run.

    `written` is the program as it stands on the card, `program` after the static repairs; both are empty when there is none.
    """

    score: float
    why: str
    written: str = ""
    program: str = ""
    undefined: Sequence[str] = ()
    blocks: int = 0
    parsing_blocks: int = 0


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """1.00 when the card's code ran in the sandbox, 0.50 when it could load this model, 0.00 when it could not.

    Raises:
        Missing: The card could not be read, or the linter is not there.
    """
    verdict = static_verdict(evidence)
    score, reasons, method = _run_verdict(evidence, verdict)
    inputs = {
        "code_blocks": verdict.blocks,
        "parsing_blocks": verdict.parsing_blocks,
        "undefined_names": list(verdict.undefined),
        "static_score": verdict.score,
    }
    return ok(NAME, score, reasons, inputs=inputs, method=method, sources=(Source("package", evidence.name),))


def _run_verdict(evidence: Evidence, verdict: StaticVerdict) -> tuple[float, Sequence[str], str]:
    """Score, reasons and method after a run, or those of the static verdict where nothing was run or could be told."""
    if verdict.score < PLAUSIBLE or not verdict.program:
        return verdict.score, [verdict.why], "static"
    trial = evidence.try_out(verdict.written)
    if trial is None:
        return verdict.score, [verdict.why], "static"
    if trial.ending is Ending.PASSED:
        return 1.0, ["The card's code ran in the sandbox to its end"], "run"
    first = trial
    if trial.can_be_mended:
        trial = evidence.try_out(_mended(evidence, verdict.program)) or trial
    if trial.ending is Ending.PASSED:
        return PLAUSIBLE, ["The card's code ran after mechanical repairs", f"As written, {first.why}"], "run"
    if trial.ending is Ending.PREVENTED:
        return (
            verdict.score,
            ["The card's code parses and loads this model", f"It could not be run: {trial.why}"],
            "static",
        )
    return 0.0, [f"The card's code does not run: {trial.why}"], "run"


def _mended(evidence: Evidence, program: str) -> str:
    undefined = evidence.undefined_names(program)
    return mended(program, model_id=evidence.model_id, package_path=PACKAGE_PATH, undefined=undefined)


def static_verdict(evidence: Evidence) -> StaticVerdict:
    """The verdict that needs no sandbox.

    Raises:
        Missing: The card could not be read, or the linter is not there.
    """
    names = Names(evidence.model_id, _paths(evidence))
    blocks = [(block, kind_of(block)) for block in read_card(evidence.card()).code_blocks]
    python = [block for block, kind in blocks if kind is Kind.PYTHON]
    parsing = [snippet for snippet in map(_read, python) if snippet is not None]
    verdict = _python_verdict(parsing, names, evidence.undefined_names)
    if verdict.score < PLAUSIBLE and any(runs_a_file(block, names) for block, _ in blocks):
        verdict = StaticVerdict(PLAUSIBLE, "A command on the card names a file of this package; it was not run")
    elif not parsing and python:
        verdict = StaticVerdict(0.0, "No Python block on the card parses, not even after repairs")
    elif not parsing and any(kind is Kind.SHELL for _, kind in blocks):
        verdict = StaticVerdict(0.0, "The card has commands, but none names a file of this package")
    return replace(verdict, blocks=len(blocks), parsing_blocks=len(parsing))


def _paths(evidence: Evidence) -> Sequence[str]:
    """Paths of the package, and of the model on the hub, whose weights a package may leave there."""
    paths = [file.path for file in evidence.files()]
    try:
        return [*paths, *evidence.hub().file_sizes]
    except Missing:
        # The id alone suffices for most snippets.
        return paths


@dataclass(frozen=True)
class _Snippet:
    """A Python block that parses: as written, and after the repairs it needed."""

    written: str
    program: str
    tree: ast.Module


def _read(block: CodeBlock) -> _Snippet | None:
    program = repaired(block.text)
    tree = parse(program)
    return None if tree is None else _Snippet(block.text, program, tree)


def _python_verdict(
    parsing: Sequence[_Snippet], names: Names, undefined_names: Callable[[str], Sequence[str]]
) -> StaticVerdict:
    if not parsing:
        return StaticVerdict(0.0, "The card has no code that could be run")
    first = _first_loading(parsing, names)
    if first is None:
        return StaticVerdict(0.0, "The card's code never loads this model", *_joined(parsing))
    together = parsing[: first + 1]
    undefined = _open_names(undefined_names(_joined(together)[1]))
    if undefined and first > 0:
        # What stands before may belong to another example; the block that loads the model is judged alone.
        together = parsing[first : first + 1]
        undefined = _open_names(undefined_names(_joined(together)[1]))
    if undefined:
        why = f"The card's code uses names that it never defines: {', '.join(undefined)}"
        return StaticVerdict(0.0, why, *_joined(together), undefined)
    return StaticVerdict(PLAUSIBLE, "The card's code parses and loads this model; it was not run", *_joined(together))


def _first_loading(parsing: Sequence[_Snippet], names: Names) -> int | None:
    """The first block that loads this model, by a string of its own or one that an earlier block has put into a variable."""
    variables: set[str] = set()
    for number, snippet in enumerate(parsing):
        variables |= variables_of(snippet.tree, names)
        if loads(snippet.tree, names, variables):
            return number
    return None


def _joined(snippets: Sequence[_Snippet]) -> tuple[str, str]:
    """The program of several blocks, as written and as repaired."""
    return "\n\n".join(s.written for s in snippets), "\n\n".join(s.program for s in snippets)


def _open_names(undefined: Sequence[str]) -> Sequence[str]:
    """Names that neither the program nor the table of placeholders binds."""
    return [name for name in undefined if name not in PLACEHOLDERS]
