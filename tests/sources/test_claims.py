"""Claims in machine-readable form: what is well shaped counts, what is not claims nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.cards import read_card
from weighhouse.rules.evidence import Claim
from weighhouse.sources.claims import card_claims, eval_file_claims

CARD = """---
model-index:
- name: tiny
  results:
  - task: {type: text-classification}
    dataset: {name: SST-2, type: glue, split: validation, config: sst2, revision: 0123456}
    metrics:
    - {type: accuracy, value: 0.93, verified: true}
    - {type: f1, value: "0.92"}
    source: {url: https://example.org/run, name: the run}
  - task: broken
  - dataset: {name: no task, type: x}
    metrics: [{type: f1, value: 1}]
---
"""


def test_a_model_index_is_read_entry_by_entry() -> None:
    found = card_claims(read_card(CARD).metadata)
    assert [(claim.metric, claim.value) for claim in found][:2] == [("accuracy", 0.93), ("f1", "0.92")]
    assert found[0] == Claim(
        metric="accuracy",
        value=0.93,
        dataset="SST-2",
        split="validation",
        config="sst2",
        revision=str(0o123456),
        task="text-classification",
        source_url="https://example.org/run",
        verified=False,
        origin="model-index",
    )


@pytest.mark.parametrize(
    "index", [None, 3, "x", [], [3], [{"results": 3}], [{"results": [3, {}, {"task": 1}]}], {"a": 1}]
)
def test_a_misshapen_index_claims_nothing(index: Any) -> None:
    assert card_claims({"model-index": index}) == []


def test_evaluation_files_are_read_entry_by_entry() -> None:
    text = """---
- dataset: {id: cais/hle, task_id: default, revision: abc}
  value: 20.9
  date: 2025-01-15
  source: {url: https://example.org/log}
- dataset: {id: open/asr, task_id: wer}
  value: 5.6
- value: 3
- dataset: 7
"""
    first, second = eval_file_claims([text])
    assert (first.metric, first.value, first.dataset, first.task) == ("accuracy", 20.9, "cais/hle", "default")
    assert (first.revision, first.date, first.source_url) == ("abc", "2025-01-15", "https://example.org/log")
    assert (first.verified, first.origin) == (False, "eval-results")
    assert second.metric == "wer"


@pytest.mark.parametrize("text", ["", "a: 1", "- 1", "- [", "---\n", "- &a [*a]\n", "\t- x"])
def test_a_misshapen_evaluation_file_claims_nothing(text: str) -> None:
    assert eval_file_claims([text]) == []


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["results", "task", "type", "dataset", "name", "metrics", "value", "source", "url"]), inner
        )
    ),
    max_leaves=20,
)


@given(json_like)
def test_any_index_is_read_without_failing(index: Any) -> None:
    assert all(claim.origin == "model-index" for claim in card_claims({"model-index": [{"results": [index]}]}))
