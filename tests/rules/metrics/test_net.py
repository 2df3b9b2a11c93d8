"""Every row of the net-score table of the metrics specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.rules.metrics.net import WEIGHTS, coverage, weigh
from weighhouse.rules.metrics.result import Result, inconclusive, not_applicable, ok

A = {
    "license": 1.0,
    "ramp_up_time": 0.85,
    "bus_factor": 0.77,
    "performance_claims": 0.68,
    "dataset_and_code_score": 1.0,
    "dataset_quality": 0.90,
    "code_quality": 0.89,
    "reproducibility": 1.0,
    "size_score": 1.0,
    "reviewedness": 0.82,
    "tree_score": 0.70,
}
C = {
    "license": 0.90,
    "ramp_up_time": 0.68,
    "performance_claims": 0.48,
    "dataset_and_code_score": 0.0,
    "reproducibility": 0.50,
    "size_score": 0.47,
}
NO_TREE = {"tree_score": not_applicable("tree_score", Reason.NO_PARENTS, "No parent is named")}


def results(scores: dict[str, float]) -> dict[str, Result]:
    """The results of all eleven metrics; those not scored are inconclusive."""
    missing = Missing(Reason.UNREACHABLE, "Could not be had")
    return {name: ok(name, scores[name], ["x"]) if name in scores else inconclusive(name, missing) for name in WEIGHTS}


def without(scores: dict[str, float], *names: str) -> dict[str, float]:
    return {name: score for name, score in scores.items() if name not in names}


@pytest.mark.parametrize(
    ("judged", "score", "covered", "low", "high"),
    [
        (results(A), 0.89, 1.00, 0.89, 0.89),
        (results(without(A, "reviewedness", "tree_score")) | NO_TREE, 0.90, 0.95, 0.85, 0.90),
        (results(C) | NO_TREE, 0.54, 0.63, 0.34, 0.71),
        (results({"license": 0.90, "size_score": 1.00}) | NO_TREE, None, 0.21, 0.19, 0.98),
    ],
    ids=["A", "B", "C", "D"],
)
def test_each_example_of_the_specification(
    judged: dict[str, Result], score: float | None, covered: float, low: float, high: float
) -> None:
    net = weigh(judged)
    assert (net.score, net.coverage, net.low, net.high) == (score, covered, low, high)


@given(st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1)))
def test_the_net_score_lies_between_its_bounds(scores: dict[str, float]) -> None:
    net = weigh(results(scores))
    assert 0 <= net.low <= net.high <= 1
    assert net.score is None or net.low <= net.score <= net.high
    assert (net.score is None) == (net.coverage < 0.5)


def test_the_weights_add_up_to_one() -> None:
    assert round(sum(WEIGHTS.values()), 12) == 1


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(KeyError):
        coverage({"fame": 1.0})
