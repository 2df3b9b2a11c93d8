"""The gate: every example row of the specification, and what an operator can make stricter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.metrics.examples import A, B, C, D, results_of
from weighhouse.rules.metrics.gate import FIXES, decide, gated_score
from weighhouse.rules.metrics.net import WEIGHTS
from weighhouse.rules.metrics.result import ok


def test_example_a_passes() -> None:
    decision = decide(results_of(A))
    assert (decision.outcome, decision.net.score, decision.net.coverage) == ("pass", 0.89, 1.0)
    assert not decision.failing
    assert not decision.unknown


def test_example_b_is_let_in_with_reviewedness_not_known() -> None:
    decision = decide(results_of(B))
    assert (decision.outcome, decision.net.score, decision.net.coverage) == ("hold", 0.90, 0.95)
    assert [one.metric for one in decision.unknown] == ["reviewedness"]


def test_example_c_is_refused_for_two_metrics_and_not_for_its_size() -> None:
    decision = decide(results_of(C))
    assert (decision.outcome, decision.net.score, decision.net.coverage) == ("refuse", 0.54, 0.63)
    assert [(one.metric, one.score) for one in decision.failing] == [
        ("dataset_and_code_score", 0.0),
        ("performance_claims", 0.48),
    ]
    assert all(one.fix for one in decision.failing)


def test_example_d_is_let_in_unless_a_coverage_is_asked_for() -> None:
    results = results_of(D)
    assert decide(results).outcome == "hold"
    assert decide(results).net.coverage == 0.21
    refused = decide(results, min_coverage=0.50)
    assert refused.outcome == "refuse"
    assert refused.why == ["Only 21% could be judged, and this registry asks for 50%."]
    assert not refused.failing


def test_operators_may_set_a_threshold_of_their_own() -> None:
    strict = decide(results_of(A), thresholds={"tree_score": 0.71})
    assert [one.metric for one in strict.failing] == ["tree_score"]
    assert decide(results_of(C), thresholds={"performance_claims": 0.4, "dataset_and_code_score": 0}).outcome == "hold"


def test_operators_may_refuse_what_is_not_known_and_nobody_lets_in_what_is_unsafe() -> None:
    scores = {name: score for name, score in A.items() if name != "reviewedness"}
    assert decide(results_of(scores), refuses_hold=True).outcome == "refuse"
    unsafe = decide(results_of(A), verdict="unsafe")
    assert unsafe.outcome == "refuse"
    assert unsafe.why


@pytest.mark.parametrize("score", [0.49, 0.5])
def test_the_rounded_figure_is_what_is_decided_on(score: float) -> None:
    shown = ok("license", score - 0.004, ["seen"]).score
    decision = decide(results_of(A | {"license": score - 0.004}))
    assert (decision.outcome == "refuse") == (shown is not None and shown < 0.5)


@given(st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1)), st.booleans())
def test_what_could_not_be_judged_never_refuses_by_itself(scores: dict[str, float], has_parents: bool) -> None:
    results = results_of(scores, has_parents=has_parents)
    decision = decide(results)
    bad = {name for name, result in results.items() if (shown := gated_score(result)) is not None and shown < 0.5}
    assert {one.metric for one in decision.failing} == bad
    assert (decision.outcome == "refuse") == bool(bad)


def test_every_metric_has_a_way_to_be_better() -> None:
    assert FIXES.keys() == WEIGHTS.keys()
