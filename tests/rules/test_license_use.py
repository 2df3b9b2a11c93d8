"""What may be done with a model, operation by operation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.license_tables import ALIASES
from weighhouse.rules.license_use import OPERATIONS, derivative_license, model_use
from weighhouse.rules.licenses import NONE, normalise

MIT = normalise("MIT")


@pytest.mark.parametrize(
    ("model", "permissions"),
    [
        ("CC0-1.0", "allowed allowed allowed allowed allowed allowed"),
        ("MIT", "allowed allowed conditional conditional allowed allowed"),
        ("CC-BY-4.0", "allowed allowed conditional conditional allowed allowed"),
        ("GPL-3.0", "allowed allowed conditional conditional allowed allowed"),
        ("LGPL-2.1", "allowed allowed conditional conditional allowed allowed"),
        ("AGPL-3.0", "conditional allowed conditional conditional allowed allowed"),
        ("CC-BY-NC-4.0", "conditional conditional conditional conditional forbidden unknown"),
        ("CC-BY-ND-4.0", "allowed allowed conditional forbidden allowed unknown"),
        ("CC-BY-NC-ND-4.0", "conditional conditional conditional forbidden forbidden unknown"),
        ("deepseek", "conditional conditional conditional conditional conditional conditional"),
        ("gemma", "conditional conditional conditional conditional conditional conditional"),
        ("llama2", "conditional conditional conditional conditional conditional forbidden"),
        ("llama3.1", "conditional conditional conditional conditional conditional conditional"),
        ("tongyi-qianwen", "conditional conditional conditional conditional conditional forbidden"),
        ("falcon-180b", "conditional conditional conditional conditional conditional unknown"),
        ("proprietary", "forbidden forbidden forbidden forbidden forbidden forbidden"),
        (None, "forbidden forbidden forbidden forbidden forbidden forbidden"),
        ("house-rules", "unknown unknown unknown unknown unknown unknown"),
        ("other", "unknown unknown unknown unknown unknown unknown"),
        ("MIT OR llama2", "allowed allowed conditional conditional allowed allowed"),
        ("MIT AND llama2", "conditional conditional conditional conditional conditional forbidden"),
        ("cc", "unknown unknown unknown unknown unknown unknown"),
        ("bsd", "allowed allowed unknown unknown allowed allowed"),
    ],
)
def test_every_category_has_its_row(model: str | None, permissions: str) -> None:
    uses = model_use(normalise(model), MIT)
    assert " ".join(uses[operation].leave.word for operation in OPERATIONS) == permissions


def test_the_vendors_facts_stand_with_the_operation() -> None:
    uses = model_use(normalise("llama3.2"), MIT)
    duties = " ".join(uses["distribute_model"].obligations)
    assert "Built with Llama" in duties
    assert "700 million" in duties
    assert "EU" in duties
    assert uses["run"].notes == ("llama3.2: not read in full, 2026-08",)


@pytest.mark.parametrize(
    ("project", "model", "is_apart"),
    [
        ("GPL-3.0", "llama3.1", True),
        ("AGPL-3.0", "CC-BY-NC-4.0", True),
        ("CC-BY-SA-4.0", "gemma", True),
        ("MIT", "llama3.1", False),
        ("GPL-3.0", "MIT", False),
        ("MIT OR GPL-3.0", "llama3.1", False),
        (None, "llama3.1", False),
    ],
)
def test_a_copyleft_project_ships_apart_from_a_model_that_restricts_use(
    project: str | None, model: str, is_apart: bool
) -> None:
    uses = model_use(normalise(model), normalise(project))
    assert ("distribute_together" in uses) == is_apart
    if is_apart:
        assert uses["distribute_together"].leave.word == "conditional"


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("MIT", "any"),
        ("GPL-3.0", "same"),
        ("CC-BY-SA-4.0", "same"),
        ("CC-BY-NC-SA-4.0", "same"),
        ("CC-BY-NC-4.0", "same_restrictions"),
        ("llama3.1", "same_restrictions"),
        ("CC-BY-ND-4.0", "none"),
        ("proprietary", "none"),
        (None, "none"),
        ("other", None),
        ("MIT AND LicenseRef-x", None),
        ("MIT OR LicenseRef-x", "any"),
        ("MIT AND GPL-3.0", "same"),
    ],
)
def test_what_a_derivative_may_be_under(model: str | None, answer: str | None) -> None:
    assert derivative_license(normalise(model)) == answer


@given(st.one_of(st.text(max_size=40), st.sampled_from(sorted(ALIASES))), st.one_of(st.text(max_size=40), st.none()))
def test_nothing_that_is_stated_raises(model: str, project: str | None) -> None:
    uses = model_use(normalise(model), normalise(project))
    assert set(OPERATIONS) <= set(uses)
    assert model_use(NONE, NONE)["run"].leave.word == "forbidden"
