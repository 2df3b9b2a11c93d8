"""Every row of the net-score table of the metrics specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.metrics.examples import A, B, C, D, results_of
from weighhouse.rules.metrics.net import WEIGHTS, coverage, weigh


@pytest.mark.parametrize(
    ("scores", "score", "covered", "low", "high"),
    [
        (A, 0.89, 1.00, 0.89, 0.89),
        (B, 0.90, 0.95, 0.85, 0.90),
        (C, 0.54, 0.63, 0.34, 0.71),
        (D, None, 0.21, 0.19, 0.98),
    ],
    ids=["A", "B", "C", "D"],
)
def test_each_example_of_the_specification(
    scores: dict[str, float], score: float | None, covered: float, low: float, high: float
) -> None:
    net = weigh(results_of(scores))
    assert (net.score, net.coverage, net.low, net.high) == (score, covered, low, high)


@given(st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1)))
def test_the_net_score_lies_between_its_bounds(scores: dict[str, float]) -> None:
    net = weigh(results_of(scores, has_parents=True))
    assert 0 <= net.low <= net.high <= 1
    assert net.score is None or net.low <= net.score <= net.high
    assert (net.score is None) == (net.coverage < 0.5)


def test_the_weights_add_up_to_one() -> None:
    assert round(sum(WEIGHTS.values()), 12) == 1


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(KeyError):
        coverage({"fame": 1.0})
