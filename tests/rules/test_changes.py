"""What changed from one evaluation to the next."""

from dataclasses import replace

from weighhouse.rules.changes import Judged, changes, difference
from weighhouse.rules.evidence import Source

OLD = Judged("license", "license/1", "ok", 0.9, ("The card declares MIT", "No text"), (Source("hub", "a/b@1"),))


def test_the_same_answers_from_the_same_evidence_are_no_change() -> None:
    assert changes({"license": OLD}, {"license": replace(OLD)}) == []


def test_a_change_names_the_reasons_and_the_evidence_that_came_and_went() -> None:
    new = replace(
        OLD,
        score=0.5,
        reasons=("A parent has narrower terms", "No text"),
        sources=(Source("hub", "a/b@1"), Source("registry", "p")),
    )
    (change,) = changes({"license": OLD}, {"license": new})
    assert change.score_change == -0.4
    assert change.reasons_gone == ["The card declares MIT"]
    assert change.reasons_new == ["A parent has narrower terms"]
    assert change.sources_gone == []
    assert change.sources_new == [Source("registry", "p")]


def test_a_score_that_could_not_be_had_gained_or_lost_nothing() -> None:
    away = replace(OLD, status="inconclusive", score=None, reasons=("The hub is away",))
    (change,) = changes({"license": OLD}, {"license": away})
    assert change.score_change is None
    assert (change.before, change.after) == (OLD, away)


def test_a_metric_that_came_or_went_is_a_change() -> None:
    came, went = changes({"old": OLD}, {"license": OLD})
    assert (came.metric, came.before, came.reasons_new) == ("license", None, list(OLD.reasons))
    assert (went.metric, went.after, went.sources_gone) == ("old", None, list(OLD.sources))


def test_another_version_of_the_method_is_a_change_even_when_the_score_stays() -> None:
    (change,) = changes({"license": OLD}, {"license": replace(OLD, version="license/2")})
    assert change.score_change == 0.0
    assert (change.reasons_new, change.sources_new) == ([], [])


def test_differences_are_of_two_decimals() -> None:
    assert difference(0.1, 0.3) == 0.2
