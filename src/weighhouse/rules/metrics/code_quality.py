"""Would we be comfortable maintaining the code that comes with this model? (metrics specification, section 8.3)

Sources: *Curating GitHub for Engineered Software Projects* for the signals; ruff and McCabe complexity for the measures.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from weighhouse.rules.code_files import is_ci_file
from weighhouse.rules.evidence import CodeTree, Evidence, Finding, Missing, Reason
from weighhouse.rules.metrics.result import Result, ok
from weighhouse.rules.programs import Function, asserting_tests, code_lines, functions, is_test_path, parsed
from weighhouse.rules.requirements import declared

NAME = "code_quality"
METRIC_VERSION = "code_quality/1"

MIN_CODE_LINES = 50
WORST_FINDINGS_PER_1000 = 50
FULL_TEST_RATIO = 0.3
MIN_BOUNDED_SHARE = 0.8

_RUNS_TESTS = re.compile(
    r"\b(pytest|py\.test|unittest|tox|nox|nosetests|(make|just|hatch|pdm|poetry|uv|pixi|npm|invoke|run)( run)? (unit)?tests?)\b"
)
_LANGUAGES = {
    **dict.fromkeys(("c", "h"), "C"),
    **dict.fromkeys(("cc", "cpp", "cxx", "hpp", "cu"), "C++"),
    **dict.fromkeys(("js", "mjs", "ts", "tsx"), "JavaScript"),
    **{"java": "Java", "go": "Go", "rs": "Rust", "rb": "Ruby", "sh": "shell", "jl": "Julia", "r": "R", "cs": "C#"},
    **{"kt": "Kotlin", "swift": "Swift", "scala": "Scala", "lua": "Lua"},
}


@dataclass(frozen=True)
class Counts:
    """Every number of the formula. Tests are apart: all but the two test counts are of the other files.

    `plain_function_lines` lie in functions that are not too complex; `ci` and `dependencies` are 0, ½ or 1.
    """

    code_lines: int
    findings: int
    function_lines: int
    plain_function_lines: int
    test_lines: int
    asserting_tests: int
    ci: float
    public_functions: int
    annotated_functions: int
    dependencies: float


def score_of(counts: Counts) -> float:
    """0.30 lint + 0.20 complexity + 0.25 tests + 0.10 CI + 0.05 types + 0.10 dependencies, in [0, 1]."""
    per_1000 = 1000 * counts.findings / max(1, counts.code_lines)
    lint = max(0.0, 1 - per_1000 / WORST_FINDINGS_PER_1000)
    plain = counts.plain_function_lines / counts.function_lines if counts.function_lines else 1.0
    ratio = counts.test_lines / max(1, counts.code_lines)
    tests = 0.4 + 0.6 * min(1.0, ratio / FULL_TEST_RATIO) if counts.asserting_tests else 0.0
    types = counts.annotated_functions / counts.public_functions if counts.public_functions else 0.0
    return 0.30 * lint + 0.20 * plain + 0.25 * tests + 0.10 * counts.ci + 0.05 * types + 0.10 * counts.dependencies


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """How maintainable the code is that comes with the package.

    Raises:
        Missing: The repository could not be had (its own reason), or there are fewer than 50 lines of Python.
    """
    whole = evidence.code()
    tree = whole.part or whole
    lines = {path: code_lines(text) for path, text in tree.texts.items()}
    if sum(lines.values()) < MIN_CODE_LINES:
        raise Missing(Reason.TOO_LITTLE_CODE, _too_little(tree, sum(lines.values())))
    counts = count(tree)
    inputs = {**vars(counts), "skipped_newer_syntax": len(tree.skipped_newer_syntax), "files": len(tree.texts)}
    return ok(NAME, score_of(counts), _reasons(tree, counts), inputs=inputs, method=tree.origin, sources=(tree.source,))


def count(tree: CodeTree) -> Counts:
    """The numbers of the formula for one tree."""
    tests = {path: text for path, text in tree.texts.items() if is_test_path(path)}
    main = {path: text for path, text in tree.texts.items() if path not in tests}
    lint = [finding for finding in tree.findings if finding.path in main and finding.code != "C901"]
    shapes = {path: _functions(text) for path, text in main.items()}
    public = [function for shape in shapes.values() for function in shape if function.is_public]
    asserting = sum(asserting_tests(parsed_test) for text in tests.values() if (parsed_test := parsed(text)))
    needs = declared(tree.paths, {**tree.texts, **tree.extras})
    bounded = needs.has_lock or (needs.total > 0 and needs.share_bounded >= MIN_BOUNDED_SHARE)
    whole, plain = _function_lines(shapes, tree.findings)
    return Counts(
        code_lines=sum(map(code_lines, main.values())),
        findings=len(lint),
        function_lines=whole,
        plain_function_lines=plain,
        test_lines=sum(map(code_lines, tests.values())),
        asserting_tests=asserting,
        ci=_ci(tree, has_tests=asserting > 0),
        public_functions=len(public),
        annotated_functions=sum(function.is_annotated for function in public),
        dependencies=1.0 if bounded else 0.5 if needs.is_declared else 0.0,
    )


def _functions(text: str) -> Sequence[Function]:
    tree = parsed(text)
    return functions(tree) if tree else ()


def _function_lines(shapes: Mapping[str, Sequence[Function]], findings: Sequence[Finding]) -> tuple[int, int]:
    """Lines inside functions, and those of them that no too complex function holds."""
    complex_at = {(finding.path, finding.line) for finding in findings if finding.code == "C901"}
    whole = plain = 0
    for path, shape in shapes.items():
        within = [set(range(one.first_line, one.last_line + 1)) for one in shape]
        held = set().union(*within)
        tangled = (lines for one, lines in zip(shape, within, strict=True) if (path, one.first_line) in complex_at)
        whole += len(held)
        plain += len(held.difference(*tangled))
    return whole, plain


def _ci(tree: CodeTree, *, has_tests: bool) -> float:
    files = [path for path in tree.paths if is_ci_file(path)]
    ran = any(_RUNS_TESTS.search(re.sub(r"(?m)^[ \t]*#.*$", "", tree.extras.get(path, ""))) for path in files)
    return 1.0 if ran and has_tests else 0.5 if files else 0.0


def _too_little(tree: CodeTree, lines: int) -> str:
    ends = Counter(PurePosixPath(path).suffix[1:].lower() for path in tree.paths)
    others = sorted({language for end, language in _LANGUAGES.items() if ends[end]})
    seen = f"Only {lines} lines of Python" if lines else "No Python"
    also = f", besides {', '.join(others)}" if others else ""
    where = "in the code repository" if tree.origin == "repository" else "in the package and no code repository given"
    return f"{seen} {where}{also}; at least {MIN_CODE_LINES} lines are needed to judge it"


def _reasons(tree: CodeTree, counts: Counts) -> list[str]:
    worst = Counter(one.code for one in tree.findings if one.code != "C901" and not is_test_path(one.path)).most_common(
        1
    )
    often = f", most often {worst[0][0]}" if worst else ""
    main = counts.code_lines
    tangled = counts.function_lines - counts.plain_function_lines
    ci = {0.0: "no CI file", 0.5: "a CI file that runs no tests", 1.0: "a CI workflow that runs the tests"}[counts.ci]
    needs = {
        0.0: "declares no dependencies",
        0.5: "declares dependencies without upper bounds",
        1.0: "bounds its dependencies",
    }
    tested = (
        f"{counts.asserting_tests} test functions assert something, in {counts.test_lines:,} lines beside {main:,} of code"
        if counts.asserting_tests
        else "No test function that asserts anything"
    )
    reasons = [
        f"{counts.findings} lint findings in {main:,} code lines{often}",
        tested,
        f"{tangled:,} of {counts.function_lines:,} function lines lie in functions of complexity over 10",
        f"The project has {ci} and {needs[counts.dependencies]}",
        f"{counts.annotated_functions} of {counts.public_functions} public functions are fully annotated",
    ]
    return reasons
