"""The gate: every example row of the specification, and what an operator can make stricter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.evidence import Reason
from weighhouse.rules.metrics.gate import FIXES, decide, gated_score
from weighhouse.rules.metrics.net import WEIGHTS
from weighhouse.rules.metrics.result import Result, Status, ok

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
C_DEVICES = {"raspberry_pi": 0.0, "jetson_nano": 0.0, "desktop_pc": 0.33, "aws_server": 1.0}


def results_of(scores: dict[str, float], *, has_parents: bool = False) -> dict[str, Result]:
    """All eleven results: those scored, a root model without parents, the rest inconclusive."""
    results: dict[str, Result] = {}
    for name in WEIGHTS:
        if name in scores:
            inputs = {"devices": C_DEVICES} if name == "size_score" and scores[name] == 0.47 else {}
            results[name] = ok(name, scores[name], ["seen"], inputs=inputs)
        elif name == "tree_score" and not has_parents:
            results[name] = Result(name, Status.NOT_APPLICABLE, None, ("none",), reason_code=Reason.NO_PARENTS)
        else:
            results[name] = Result(name, Status.INCONCLUSIVE, None, ("away",), reason_code=Reason.UNREACHABLE)
    return results


def test_example_a_passes() -> None:
    decision = decide(results_of(A))
    assert (decision.outcome, decision.net.score, decision.net.coverage) == ("pass", 0.89, 1.0)
    assert not decision.failing
    assert not decision.unknown


def test_example_b_is_let_in_with_reviewedness_not_known() -> None:
    scores = {name: score for name, score in A.items() if name not in ("tree_score", "reviewedness")}
    decision = decide(results_of(scores))
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
    results = results_of({"license": 0.90, "size_score": 1.0})
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
