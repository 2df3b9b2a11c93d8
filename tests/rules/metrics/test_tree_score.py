"""Every row of the lineage table of the metrics specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import Missing, Parent, Reason
from weighhouse.rules.metrics import tree_score
from weighhouse.rules.metrics.result import Result, Status


def parent(
    net_score: float | None, name: str = "a/b", *, in_registry: bool = True, closes_cycle: bool = False
) -> Parent:
    return Parent(name, "finetune", "config.json", in_registry, net_score, closes_cycle=closes_cycle)


def weigh(*parents: Parent) -> Result:
    return tree_score.measure(PackageEvidence(parents=parents), AS_OF)


def test_the_score_is_the_mean_of_the_parents() -> None:
    assert weigh(parent(0.80), parent(0.60, "c/d")).score == 0.70


def test_a_parent_without_score_leaves_the_mean() -> None:
    result = weigh(parent(0.80), parent(None, "c/d", in_registry=False))
    assert result.score == 0.80
    assert result.reasons[0] == "1 of 2 parents scored"


@pytest.mark.parametrize(("in_registry", "advice"), [(False, "not in this registry"), (True, "no net score yet")])
def test_named_parents_without_score_are_not_a_verdict(in_registry: bool, advice: str) -> None:
    with pytest.raises(Missing, match=advice) as missing:
        weigh(parent(None, in_registry=in_registry))
    assert missing.value.reason is Reason.PARENTS_NOT_SCORED


def test_no_parent_named_means_the_question_does_not_arise() -> None:
    result = weigh()
    assert (result.status, result.reason_code) == (Status.NOT_APPLICABLE, Reason.NO_PARENTS)


def test_an_edge_that_closes_a_cycle_is_ignored_with_a_reason() -> None:
    result = weigh(parent(0.80), parent(0.10, "c/d", closes_cycle=True))
    assert result.score == 0.80
    assert any("c/d is ignored" in reason for reason in result.reasons)
    assert weigh(parent(0.1, closes_cycle=True)).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("reason", [Reason.UNREACHABLE, Reason.MALFORMED])
def test_unreadable_files_are_not_a_verdict(reason: Reason) -> None:
    with pytest.raises(Missing):
        tree_score.measure(PackageEvidence(parents=Missing(reason, "away")), AS_OF)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_score_lies_between_its_parents(scores: list[float]) -> None:
    result = weigh(*(parent(score, f"a/{number}") for number, score in enumerate(scores)))
    assert result.score is not None
    assert min(scores) - 0.0051 <= result.score <= max(scores) + 0.0051
    assert len(result.reasons) <= 5
