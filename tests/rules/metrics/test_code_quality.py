"""Every row of the code table of the metrics specification, and what counts as a test, a type and a bound."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import CodeTree, Finding, Missing, Reason, Source
from weighhouse.rules.metrics import code_quality
from weighhouse.rules.metrics.code_quality import Counts, count, score_of
from weighhouse.rules.metrics.result import Result, Status, r2

WORKFLOW = ".github/workflows/tests.yml"


def counts(**numbers: float) -> Counts:
    given_ = {name: numbers.get(name, 0) for name in Counts.__dataclass_fields__}
    return Counts(**given_)  # type: ignore[arg-type]  # whole numbers where the fields are


def tree(
    texts: Mapping[str, str],
    *,
    extras: Mapping[str, str] | None = None,
    findings: Sequence[Finding] = (),
    paths: Sequence[str] = (),
) -> CodeTree:
    extras = extras or {}
    return CodeTree("repository", Source("git", "x@1"), [*texts, *extras, *paths], texts, extras, findings)


def weigh(code: CodeTree | Missing) -> Result:
    return code_quality.measure(PackageEvidence(code=code), AS_OF)


EXAMPLES = [
    (
        counts(
            code_lines=4000,
            findings=4,
            function_lines=1000,
            plain_function_lines=930,
            test_lines=2200,
            asserting_tests=86,
            ci=1,
            public_functions=100,
            annotated_functions=19,
            dependencies=0.5,
        ),
        0.89,
    ),
    (
        counts(
            code_lines=3967,
            findings=3,
            function_lines=1000,
            plain_function_lines=700,
            test_lines=345,
            asserting_tests=11,
            public_functions=10,
            dependencies=1,
        ),
        0.68,
    ),
    (
        counts(
            code_lines=528,
            findings=30,
            function_lines=300,
            plain_function_lines=300,
            public_functions=9,
            dependencies=1,
        ),
        0.30,
    ),
]


@pytest.mark.parametrize(("numbers", "score"), EXAMPLES)
def test_the_table_of_examples(numbers: Counts, score: float) -> None:
    assert r2(score_of(numbers)) == score


def test_thirty_lines_are_too_little_to_judge() -> None:
    with pytest.raises(Missing, match="Only 30 lines") as missing:
        weigh(tree({"a.py": "x = 1\n" * 30}))
    assert missing.value.reason is Reason.TOO_LITTLE_CODE


def test_other_languages_are_listed_where_there_is_no_python() -> None:
    with pytest.raises(Missing, match=r"No Python .*, besides C\+\+, Go"):
        weigh(tree({}, paths=["main.go", "kernel.cu"]))


def test_a_repository_that_could_not_be_had_is_not_a_verdict() -> None:
    with pytest.raises(Missing) as missing:
        weigh(Missing(Reason.TIMEOUT, "the clone took too long"))
    assert missing.value.reason is Reason.TIMEOUT


def test_tests_are_apart_and_only_those_that_assert_count() -> None:
    tests = (
        "def test_empty():\n    pass\ndef test_constant():\n    assert True\ndef test_real():\n    assert 1 + 1 == x\n"
    )
    numbers = count(
        tree({"a.py": "x = 1\n", "tests/test_a.py": tests}, findings=[Finding("F821", "tests/test_a.py", 6)])
    )
    assert (numbers.code_lines, numbers.test_lines, numbers.asserting_tests, numbers.findings) == (1, 6, 1, 0)


@pytest.mark.parametrize(
    ("body", "asserts"),
    [
        ("self.assertEqual(1, f())", 1),
        ("with pytest.raises(ValueError): f()", 1),
        ("np.testing.assert_allclose(a, b)", 1),
        ("f()", 0),
    ],
)
def test_a_test_asserts_in_many_ways(body: str, asserts: int) -> None:
    assert count(tree({"test_a.py": f"class TestX:\n  def test_x(self):\n    {body}\n"})).asserting_tests == asserts


@pytest.mark.parametrize(
    ("extras", "has_tests", "ci"),
    [
        ({WORKFLOW: "run: python -m pytest"}, True, 1.0),
        ({WORKFLOW: "run: python -m pytest"}, False, 0.5),
        ({WORKFLOW: "# run: pytest\nrun: make docs"}, True, 0.5),
        ({".travis.yml": "script: tox"}, True, 1.0),
        ({"docs/ci.yml": "run: pytest"}, True, 0.0),
    ],
)
def test_ci_counts_in_full_when_it_runs_tests(extras: dict[str, str], has_tests: bool, ci: float) -> None:
    texts = {"test_a.py": "def test_a():\n    assert f()\n"} if has_tests else {"a.py": "x = 1\n"}
    assert count(tree(texts, extras=extras)).ci == ci


@pytest.mark.parametrize(
    ("name", "text", "level"),
    [
        ("requirements.txt", "numpy==1.26\ntorch~=2.1\nrich<14\npillow<=10\nclick>=8\n", 1.0),
        ("requirements.txt", "numpy==1.26\ntorch>=2\nrich>=13\n", 0.5),
        ("requirements.txt", "# nothing\n-r other.txt\n", 0.0),
        ("poetry.lock", "", 1.0),
        ("pyproject.toml", '[project]\ndependencies = ["numpy>=1", "torch"]', 0.5),
        ("pyproject.toml", '[project]\ndependencies = ["numpy<2"]', 1.0),
        ("pyproject.toml", "[project]\ndependencies = []", 0.5),
        (
            "pyproject.toml",
            '[tool.poetry.dependencies]\npython = "^3.11"\nnumpy = "^1.2"\ntorch = {version = "~2.1"}',
            1.0,
        ),
        ("pyproject.toml", "[tool.black]", 0.0),
        ("pyproject.toml", "[broken", 0.0),
        ("setup.cfg", "[options]\ninstall_requires =\n  numpy\n  torch==2.1\n", 0.5),
        ("environment.yml", "dependencies:\n  - python=3.11\n  - numpy=1.26\n  - pip:\n    - torch==2.1\n", 1.0),
        ("environment.yml", "dependencies: [numpy, torch]", 0.5),
        ("Pipfile", '[packages]\nnumpy = "*"\n', 0.5),
        ("notes.txt", "numpy==1.0", 0.0),
    ],
)
def test_dependencies_are_declared_or_bounded(name: str, text: str, level: float) -> None:
    assert count(tree({"a.py": "x = 1\n"}, extras={name: text})).dependencies == level


def test_install_requires_of_a_setup_script_counts() -> None:
    setup = "from setuptools import setup\nsetup(install_requires=['numpy==1.26'])\n"
    assert count(tree({"setup.py": setup})).dependencies == 1.0


def test_a_too_complex_function_taints_its_own_lines_only() -> None:
    text = "def outer():\n    def inner():\n        return 1\n    return inner\n\ndef other():\n    return 2\n"
    numbers = count(tree({"a.py": text}, findings=[Finding("C901", "a.py", 2)]))
    assert (numbers.function_lines, numbers.plain_function_lines, numbers.findings) == (6, 4, 0)


def test_public_functions_are_counted_with_all_their_annotations() -> None:
    text = """
class Net:
    def forward(self, x: int, *rest: int) -> int: ...
    def half(self, x) -> int: ...
    @staticmethod
    def bare(x) -> int: ...
    def _hidden(self, x): ...
def free(*, key) -> None:
    def local(x): ...
"""
    numbers = count(tree({"a.py": text}))
    assert (numbers.public_functions, numbers.annotated_functions) == (4, 1)


def test_hostile_sources_do_not_break_the_measure() -> None:
    texts = {"a.py": "x = 1\n" * 60, "b.py": "(" * 5000, "c.py": "\0", "d.py": "x = '\\d'\n", "e.py": "-" * 20000 + "1"}
    assert weigh(tree(texts)).status is Status.OK


@given(st.lists(st.integers(0, 5000), min_size=10, max_size=10))
def test_any_counts_give_a_score_in_range(numbers: list[int]) -> None:
    code, findings, inside, plain, tests, asserting, ci, public, annotated, dependencies = numbers
    made = Counts(
        code,
        findings,
        inside,
        min(plain, inside),
        tests,
        asserting,
        ci % 3 / 2,
        public,
        min(annotated, public),
        dependencies % 3 / 2,
    )
    assert 0 <= score_of(made) <= 1 + 1e-9
