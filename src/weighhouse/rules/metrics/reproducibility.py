"""Does the demonstration code on the model card run? (metrics specification, section 9)

This is the static verdict, which every package gets. It never earns 1.00: that takes a run in a sandbox, whose verdict
replaces this one or, when the environment is at fault, leaves it standing.
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
    parse,
    repaired,
    runs_a_file,
    variables_of,
)

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
    """0.50 when the card's code could load this model, 0.00 when it could not.

    Raises:
        Missing: The card could not be read, or the linter is not there.
    """
    verdict = static_verdict(evidence)
    inputs = {
        "code_blocks": verdict.blocks,
        "parsing_blocks": verdict.parsing_blocks,
        "undefined_names": list(verdict.undefined),
        "static_score": verdict.score,
    }
    return ok(
        NAME, verdict.score, [verdict.why], inputs=inputs, method="static", sources=(Source("package", evidence.name),)
    )


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
