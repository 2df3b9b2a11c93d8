"""Every row of the claims table of the metrics specification, and what may not help."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import Claim, Missing, Reason
from weighhouse.rules.metrics import performance_claims
from weighhouse.rules.metrics.result import Result

TRAINER = Claim("accuracy", 0.93, dataset="SST-2", split="validation", task="text-classification")
HUB = Claim(
    "accuracy", 0.93, dataset="SST-2", task="t1", source_url="https://e.org", verified=True, origin="eval-results"
)
TABLE = "# Tiny\n\n| Dataset | Accuracy |\n|---|---|\n| SST-2 | 93.2 |\n"


def sourced(metric: str, value: float) -> Claim:
    return Claim(metric, value, dataset="SST-2", split="test", source_url="https://example.org/results")


def measured(claims: Sequence[Claim] = (), files: dict[str, Any] | None = None, card: str = "# Tiny\n") -> Result:
    texts = {path: json.dumps(content) for path, content in (files or {}).items()}
    return performance_claims.measure(PackageEvidence({"README.md": card, **texts}, claims=claims), AS_OF)


@pytest.mark.parametrize(
    ("claims", "files", "card", "score", "reason"),
    [
        ((sourced("accuracy", 0.93), sourced("f1", 91)), {}, "", 0.77, "2 claims"),
        ((TRAINER,), {}, "", 0.56, "1 claim"),
        ((TRAINER,), {"all_results.json": {"eval_accuracy": 0.931}}, "", 0.68, "1 verified"),
        ((HUB,), {}, "", 0.80, "1 claim"),
        ((), {}, TABLE, 0.48, "1 claim"),
        ((sourced("accuracy", 170),), {}, "", 0.00, "170 is not a possible accuracy"),
        ((TRAINER,), {"eval_results.json": {"eval_accuracy": 0.71}}, "", 0.00, "contradicts the shipped result file"),
        ((), {}, "# Tiny\n\nA model with accuracy 93.2 on SST-2.\n", 0.00, "claim no figure"),
    ],
)
def test_each_example_of_the_specification(
    claims: Sequence[Claim], files: dict[str, Any], card: str, score: float, reason: str
) -> None:
    result = measured(claims, files, card)
    assert result.score == score
    assert any(reason in text for text in result.reasons)
    assert measured(claims, files, card) == result


def test_more_than_three_claims_do_not_help() -> None:
    names = ("accuracy", "f1", "precision", "recall", "auc", "bleu")
    scores = [measured([sourced(name, 0.9) for name in names[:count]]).score for count in range(1, 7)]
    assert scores == [0.68, 0.77, 0.85, 0.85, 0.85, 0.85]


def test_the_same_claim_counts_once() -> None:
    assert measured([TRAINER, TRAINER]).score == measured([TRAINER]).score
    assert measured([TRAINER], card=TABLE).score == measured([TRAINER]).score
    assert measured([Claim("acc", 93, dataset="sst2"), TRAINER]).score == measured([TRAINER]).score


def test_the_log_of_a_training_run_is_no_claim() -> None:
    log = "\n| Training Loss | Epoch | Accuracy |\n|---|---|---|\n| 0.1 | 1 | 0.9 |\n| 0.1 | 2 | 0.91 |\n"
    assert measured([TRAINER], card=log).score == 0.56
    assert measured([sourced("loss", 0.1)]).score == 0


def test_a_contradicted_claim_caps_the_others() -> None:
    claims = [TRAINER, *(sourced(name, 0.9) for name in ("f1", "precision", "recall"))]
    assert measured(claims, {"all_results.json": {"eval_accuracy": 0.5}}).score == 0.30


def test_a_file_that_names_no_dataset_contradicts_nothing_when_there_are_several() -> None:
    claims = [TRAINER, Claim("accuracy", 0.84, dataset="MNLI", split="test")]
    result = measured(claims, {"all_results.json": {"eval_accuracy": 0.93}})
    assert (result.inputs["contradicted"], result.inputs["best_qualities"]) == (0, [0.85, 0.70])


def test_a_file_does_not_confirm_itself() -> None:
    assert measured(files={"all_results.json": {"eval_accuracy": 0.93}}).inputs["best_qualities"] == [0.4]


def test_a_checkpoint_and_a_file_that_is_no_text_are_left_out() -> None:
    files: dict[str, bytes | str] = {
        "checkpoint-10/all_results.json": json.dumps({"eval_accuracy": 0.5}),
        "eval_results.json": b"\xff",
    }
    result = performance_claims.measure(PackageEvidence({"README.md": "#", **files}, claims=[TRAINER]), AS_OF)
    assert (result.score, result.inputs["shipped_figures"]) == (0.56, 0)


AWAY = Missing(Reason.UNREACHABLE, "The hub is away")


@pytest.mark.parametrize(
    "evidence", [PackageEvidence(card=AWAY), PackageEvidence(card=AWAY, claims=AWAY), PackageEvidence(claims=AWAY)]
)
def test_what_could_not_be_looked_at_is_no_zero(evidence: PackageEvidence) -> None:
    with pytest.raises(Missing) as caught:
        performance_claims.measure(evidence, AS_OF)
    assert caught.value.reason is Reason.UNREACHABLE


def test_a_claim_counts_without_the_rest() -> None:
    assert performance_claims.measure(PackageEvidence(card=AWAY, claims=[TRAINER]), AS_OF).score == 0.56


@given(
    st.lists(
        st.builds(
            Claim,
            st.sampled_from(["accuracy", "wer", "fame", "loss"]),
            st.floats() | st.text(max_size=5),
            dataset=st.none() | st.text(max_size=3),
        ),
        max_size=8,
    )
)
def test_every_score_is_in_range(claims: list[Claim]) -> None:
    score = measured(claims).score
    assert score is not None
    assert 0 <= score <= 1
