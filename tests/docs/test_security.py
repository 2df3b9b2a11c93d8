"""The page on security names a test for every promise, and each of them exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
THREATS = ROOT.parent / "shared" / "threats.md"

# The first and last row of each part of the threat model.
_PARTS = {
    "P": (1, 10),
    "U": (1, 21),
    "M": (1, 17),
    "I": (1, 12),
    "T": (1, 12),
    "S": (0, 7),
    "G": (1, 5),
    "W": (1, 11),
    "R": (1, 10),
    "C": (1, 14),
    "L": (1, 7),
}
ROWS = [f"{part}{number}" for part, (first, last) in _PARTS.items() for number in range(first, last + 1)]

_ROW = re.compile(r"^\| ([A-Z]\d+) \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)
_NAMED = re.compile(r"`([^`:]+\.py)::(\w+)`")
_OPEN = re.compile(r"\*Open: [^*]+\.\*")


def table() -> list[tuple[str, str, str]]:
    """Row, promise and proof, in the order of the page."""
    found = _ROW.findall(PAGE.read_text("utf-8"))
    return [(row, promise, proof) for row, promise, proof in found]


def names_in(file: Path) -> set[str]:
    """The names of the test functions of a file, without importing it."""
    tree = ast.parse(file.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_")}


def test_every_row_of_the_threat_model_has_its_line() -> None:
    assert [row for row, _, _ in table()] == ROWS


@pytest.mark.skipif(not THREATS.exists(), reason="the threat model is not beside this checkout")
def test_the_rows_are_those_of_the_threat_model() -> None:
    text = THREATS.read_text("utf-8")
    # Most rows are lines of a table; those of R and L, and S0, stand in running text.
    named = {*re.findall(r"^\| ([A-Z]\d+) \|", text, re.MULTILINE), *re.findall(r"\b([RL]\d+) ", text), "S0"}
    assert named == set(ROWS)


def test_every_named_test_exists() -> None:
    known: dict[str, set[str]] = {}
    for row, _, proof in table():
        for name, test in _NAMED.findall(proof):
            if name not in known:
                file = ROOT / "tests" / name
                assert file.is_file(), f"{row} names {name}, which is not there"
                known[name] = names_in(file)
            assert test in known[name], f"{row} names {name}::{test}, which is not there"


def test_a_row_is_proven_or_says_what_is_open() -> None:
    for row, _, proof in table():
        assert _NAMED.search(proof) or _OPEN.search(proof), row
        rest = _OPEN.sub("", _NAMED.sub("", proof))
        assert "`" not in rest, f"{row} names something that is no test"
        assert len(_OPEN.findall(proof)) == proof.count("*Open"), row
