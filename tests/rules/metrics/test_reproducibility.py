"""The static rows of the reproducibility table of the metrics specification."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import Missing, Reason
from weighhouse.rules.metrics import reproducibility
from weighhouse.rules.metrics.result import Result

LOADS = "from x import pipeline\np = pipeline('t', model='acme/tiny')\n"


def python(*blocks: str) -> str:
    return "# Tiny\n\n" + "\n".join(f"```python\n{block}\n```\n" for block in blocks)


def names_in_programs(*names: str) -> Callable[[str], Sequence[str]]:
    """Answers those of `names` that stand in a program and are not assigned in it."""
    return lambda program: [name for name in names if name in program and f"{name} =" not in program]


def measured(card: str, undefined: object = (), **facts: object) -> Result:
    evidence = PackageEvidence(
        {"README.md": card, "tiny.Q4.gguf": b"GGUF"},
        undefined_names=undefined,  # type: ignore[arg-type]  # names or a function to them
        **facts,  # type: ignore[arg-type]  # the caller's keywords
    )
    return reproducibility.measure(evidence, AS_OF)


@pytest.mark.parametrize(
    ("card", "undefined", "score", "reason"),
    [
        (python(LOADS), (), 0.50, "loads this model; it was not run"),
        (python(">>> !pip install x\n>>> p = load('acme/tiny')\n>>> p(image)\n[1]"), ("image",), 0.50, "not run"),
        (python("p = load('other/model')"), (), 0.00, "never loads this model"),
        (python("print('ok')"), (), 0.00, "never loads this model"),
        ("# Tiny\n\nNo code.\n", (), 0.00, "no code"),
        (python("p = load('acme/tiny'"), (), 0.00, "No Python block on the card parses"),
        (python("p = load('acme/tiny')\np(tokens)"), ("tokens",), 0.00, "never defines: tokens"),
        ("```bash\nllama-cli -m tiny.Q4.gguf\n```\n", (), 0.50, "names a file of this package"),
        ("```bash\nllama-cli -m other.gguf\n```\n", (), 0.00, "none names a file of this package"),
        ("```\np = load('acme/tiny')\n```\n", (), 0.50, "not run"),
        ('```json\n{"a": "acme/tiny"}\n```\n', (), 0.00, "no code"),
    ],
)
def test_each_static_example_of_the_specification(
    card: str, undefined: tuple[str, ...], score: float, reason: str
) -> None:
    result = measured(card, undefined)
    assert (result.score, result.method) == (score, "static")
    assert reason in result.reasons[0]
    assert measured(card, undefined) == result


def test_the_model_is_the_one_behind_the_address() -> None:
    card = python("p = load('hub-owner/tiny')")
    assert measured(card).score == 0
    assert measured(card, model_url="https://hub.example/hub-owner/tiny").score == 0.5


def test_blocks_before_the_loading_one_belong_to_the_program() -> None:
    card = python("import torch\nm = 'acme/tiny'", "x = (", "p = load(m)", "p(tokens)")
    verdict = reproducibility.static_verdict(
        PackageEvidence({"README.md": card}, undefined_names=names_in_programs("tokens"))
    )
    assert (verdict.score, verdict.program) == (0.5, "import torch\nm = 'acme/tiny'\n\n\np = load(m)\n")
    assert (verdict.blocks, verdict.parsing_blocks) == (4, 3)


def test_an_example_of_something_else_before_it_does_no_harm() -> None:
    card = python("other(tokens)", LOADS)
    verdict = reproducibility.static_verdict(
        PackageEvidence({"README.md": card}, undefined_names=names_in_programs("tokens"))
    )
    assert (verdict.score, verdict.program.strip()) == (0.5, LOADS.strip())


@pytest.mark.parametrize(
    "evidence",
    [
        PackageEvidence(card=Missing(Reason.UNREACHABLE, "The hub is away")),
        PackageEvidence({"README.md": python(LOADS)}, undefined_names=Missing(Reason.TOOL_MISSING, "No linter")),
    ],
)
def test_what_could_not_be_looked_at_is_no_zero(evidence: PackageEvidence) -> None:
    with pytest.raises(Missing):
        reproducibility.measure(evidence, AS_OF)


@given(st.text(max_size=300))
def test_reading_alone_never_earns_more_than_half(text: str) -> None:
    assert measured(python(text)).score in (0.0, 0.5)
