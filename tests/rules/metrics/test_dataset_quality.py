"""Every row of the dataset table of the metrics specification."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import DatasetFacts, Missing, Reason
from weighhouse.rules.metrics import dataset_quality
from weighhouse.rules.metrics.dataset_quality import Counts, score_of
from weighhouse.rules.metrics.result import Result, r2

HEADINGS = [
    "Summary",
    "Data Fields",
    "Source Data",
    "Annotations",
    "Intended Use",
    "Limitations",
    "Privacy",
    "Citation",
]
METADATA = "license: mit\nlanguage: en\ntask_categories: [text-classification]\nsize_categories: [1K<n<10K]\n"
SCHEMA = "dataset_info:\n  features: [{name: text, dtype: string}]\n  splits: [{name: train}, {name: test}]\n"


def text(topics: int, metadata: str = "") -> str:
    bodies = "".join(
        f"## {heading}\nHere stands what a reader needs to know of subject number {number} and nothing else at all.\n"
        for number, heading in enumerate(HEADINGS[:topics])
    )
    return f"---\n{metadata}---\n{bodies}"


def dataset(card: str = "", *files: str, name: str = "acme/birds", state: Any = "public", **facts: Any) -> DatasetFacts:
    return DatasetFacts(name, "card", state, card, dict.fromkeys(files, 10), **facts)


FULL = dataset(text(6, METADATA + SCHEMA), "train.parquet", "test.parquet")
BARE = dataset("---\nlicense: mit\nsize_categories: [n<1K]\n---\n", "all.csv", name="acme/bare")
SCRIPTED = dataset(text(8, METADATA.replace("language: en\n", "") + SCHEMA), "birds.py", name="acme/scripted")


def weigh(*datasets: DatasetFacts) -> Result:
    return dataset_quality.measure(PackageEvidence(datasets=datasets), AS_OF)


@pytest.mark.parametrize(
    ("datasets", "score"),
    [([FULL], 0.90), ([BARE], 0.31), ([SCRIPTED], 0.81), ([FULL, BARE], 0.61), ([BARE, FULL], 0.61)],
)
def test_the_table_of_examples(datasets: list[DatasetFacts], score: float) -> None:
    assert weigh(*datasets).score == score


def test_a_fourth_dataset_does_not_count() -> None:
    others = [dataset("", "all.csv", name=f"a/{number}") for number in range(3)]
    assert weigh(*others, FULL).score == weigh(*others).score


def test_one_body_pasted_under_every_heading_fills_one_topic() -> None:
    body = "The same fifteen words stand under each heading, for nobody wanted to write any other ones here.\n"
    pasted = "".join(f"## {heading}\n{body}" for heading in HEADINGS)
    assert weigh(dataset(pasted)).inputs["datasets"]["acme/birds"]["topics"] == 1


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ([], Reason.NO_DATASET_NAMED),
        ([dataset(state="dead")], Reason.NO_DATASET_NAMED),
        ([dataset(state="page")], Reason.DATASET_HOST_UNSUPPORTED),
        ([dataset(state="gated")], Reason.FORBIDDEN),
        ([dataset(state="unknown", missing=Missing(Reason.RATE_LIMITED, "later"))], Reason.RATE_LIMITED),
    ],
)
def test_what_cannot_be_looked_into_is_not_a_verdict(facts: list[DatasetFacts], reason: Reason) -> None:
    with pytest.raises(Missing) as missing:
        weigh(*facts)
    assert missing.value.reason is reason


def test_a_dataset_out_of_reach_leaves_the_mean() -> None:
    away = dataset(state="unknown", missing=Missing(Reason.UNREACHABLE, "away"), name="a/away")
    result = weigh(FULL, away)
    assert result.score == 0.90
    assert "a/away" in result.reasons[-1]


def test_a_croissant_document_is_a_schema_and_a_description() -> None:
    croissant = {"recordSet": [{}], "license": "mit", "inLanguage": "en", "citeAs": "x", "description": "Birds. " * 20}
    counted = weigh(dataset("", "a.jsonl.gz", croissant=croissant)).inputs["datasets"]["acme/birds"]
    assert (counted["has_schema"], counted["topics"], counted["metadata"], counted["is_plain"]) == (True, 2, 2, True)


def test_split_names_are_read_from_files_where_metadata_has_none() -> None:
    assert weigh(dataset("", "data/validation-0001.parquet")).inputs["datasets"]["acme/birds"]["has_splits"]
    assert not weigh(dataset("", "data/train-0001.parquet")).inputs["datasets"]["acme/birds"]["has_splits"]
    assert not weigh(dataset("", "contest.csv", "trainer.csv")).inputs["datasets"]["acme/birds"]["has_splits"]


@pytest.mark.parametrize(
    "metadata", ["dataset_info: 3\nconfigs: x\n", "dataset_info: [1, {splits: 2}]\ntags: {a: 1}\n", "license: [\n"]
)
def test_odd_metadata_is_no_trap(metadata: str) -> None:
    assert weigh(dataset(f"---\n{metadata}---\n")).score is not None


@given(st.integers(0, 8), st.integers(0, 4), st.tuples(*[st.booleans()] * 5))
def test_any_counts_give_a_score_in_range(topics: int, metadata: int, flags: tuple[bool, ...]) -> None:
    assert 0 <= r2(score_of(Counts(topics, metadata, *flags))) <= 1
