"""The record of the batch command: fields, order, and what stands where there is no score."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.batch_record import batch_record, explanation
from weighhouse.rules.evidence import Missing, Reason, Source
from weighhouse.rules.metrics.net import WEIGHTS, weigh
from weighhouse.rules.metrics.result import Result, inconclusive, not_applicable, ok

FIELDS = [
    "name",
    "category",
    "net_score",
    "net_score_latency",
    "ramp_up_time",
    "ramp_up_time_latency",
    "bus_factor",
    "bus_factor_latency",
    "performance_claims",
    "performance_claims_latency",
    "license",
    "license_latency",
    "size_score",
    "size_score_latency",
    "dataset_and_code_score",
    "dataset_and_code_score_latency",
    "dataset_quality",
    "dataset_quality_latency",
    "code_quality",
    "code_quality_latency",
    "reproducibility",
    "reproducibility_latency",
    "reviewedness",
    "reviewedness_latency",
    "tree_score",
    "tree_score_latency",
]
DEVICES = {"raspberry_pi": 0.0, "jetson_nano": 0.19, "desktop_pc": 1.0, "aws_server": 1.0}


def _results(**other: Result) -> dict[str, Result]:
    known = {name: ok(name, 0.5, ["a fact"], inputs={"n": 1}, sources=[Source("git", "x@1")]) for name in WEIGHTS}
    known["size_score"] = ok("size_score", 0.74, ["fits"], inputs={"devices": DEVICES})
    return known | other


def _unknown(name: str, reason: Reason = Reason.UNREACHABLE) -> Result:
    return inconclusive(name, Missing(reason, "not there"))


def _record(results: dict[str, Result], null: int | None = None) -> dict[str, Any]:
    return batch_record("tiny", results, weigh(results), dict.fromkeys(WEIGHTS, 3), 9, null=null)


def test_there_are_exactly_these_26_fields_in_this_order() -> None:
    record = _record(_results())
    assert list(record) == FIELDS
    assert len(FIELDS) == 26
    assert (record["name"], record["category"], record["net_score"]) == ("tiny", "MODEL", 0.51)
    assert record["size_score"] == DEVICES
    assert list(record["size_score"]) == ["raspberry_pi", "jetson_nano", "desktop_pc", "aws_server"]
    assert (record["net_score_latency"], record["tree_score_latency"]) == (9, 3)


@pytest.mark.parametrize("null", [None, -1])
def test_where_there_is_no_score_there_is_null_or_what_was_asked_for(null: int | None) -> None:
    record = _record({name: _unknown(name) for name in WEIGHTS}, null)
    assert {record[name] for name in ("net_score", *WEIGHTS) if name != "size_score"} == {null}
    assert record["size_score"] == dict.fromkeys(DEVICES, null)
    assert record["tree_score_latency"] == 3


def test_what_does_not_apply_is_null_too() -> None:
    record = _record(_results(tree_score=not_applicable("tree_score", Reason.NO_PARENTS, "no parent")))
    assert record["tree_score"] is None


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (Reason.NO_GITHUB_REPO, -1),
        (Reason.HOST_UNSUPPORTED, -1),
        (Reason.NO_TOKEN, None),
        (Reason.UNREACHABLE, None),
        (Reason.RATE_LIMITED, None),
    ],
)
def test_reviewedness_is_minus_one_only_where_there_is_no_github_repository(reason: Reason, shown: int | None) -> None:
    assert _record(_results(reviewedness=_unknown("reviewedness", reason)))["reviewedness"] == shown
    assert _record(_results(bus_factor=_unknown("bus_factor", reason)))["bus_factor"] is None


def test_an_explanation_adds_five_fields_and_no_score_of_its_own() -> None:
    results = _results(reviewedness=_unknown("reviewedness", Reason.NO_GITHUB_REPO))
    added = explanation(results, weigh(results), dict.fromkeys(WEIGHTS, 3))
    assert list(added) == ["metrics_version", "coverage", "net_low", "net_high", "evidence"]
    assert (added["coverage"], added["net_low"], added["net_high"]) == (0.95, 0.49, 0.54)
    assert list(added["evidence"]) == [name for name in FIELDS[4:] if not name.endswith("_latency")]
    assert added["evidence"]["reviewedness"]["score"] is None
    assert added["evidence"]["license"] == {
        "metric": "license",
        "version": "license/1",
        "status": "ok",
        "score": 0.5,
        "reason_code": None,
        "latency_ms": 3,
        "method": "static",
        "reasons": ["a fact"],
        "inputs": {"n": 1},
        "sources": [{"kind": "git", "ref": "x@1"}],
    }


@given(st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1)))
def test_a_score_has_at_most_two_decimals_as_json(scores: dict[str, float]) -> None:
    results = _results(**{n: ok(n, s, ["x"], inputs={"devices": DEVICES}) for n, s in scores.items()})
    read = json.loads(json.dumps(_record(results)))
    for name in WEIGHTS:
        shown = read[name].values() if name == "size_score" else [read[name]]
        assert all(isinstance(one, float) and round(one, 2) == one and 0 <= one <= 1 for one in shown)
