"""Metric names, values, tables and result files as they are written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.cards import read_card
from weighhouse.rules.claims import difference, in_result_file, in_table, is_loss, metric_name, number, range_of, valid


def figures(markdown: str) -> list[tuple[str, str, str | None]]:
    return [(one.metric, one.value, one.dataset) for table in read_card(markdown).tables for one in in_table(table)]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("| Dataset | Accuracy |\n|-|-|\n| SST-2 | 93.2 |\n", [("accuracy", "93.2", "SST-2")]),
        ("| | SST-2 |\n|-|-|\n| Accuracy | **93.2** |\n", [("accuracy", "**93.2**", "SST-2")]),
        ("| Metric | Value |\n|-|-|\n| WER | 8.1% |\n", [("wer", "8.1%", None)]),
        ("| Task | Metric | Value |\n|-|-|-|\n| NER | F1 (macro) | 0.9 |\n", [("f1 macro", "0.9", "NER")]),
        ("| Model | SST-2 acc | loss |\n|-|-|-|\n| ours | 93.2 | 0.1 |\n", [("accuracy", "93.2", "sst-2")]),
        ("| Epoch | Accuracy |\n|-|-|\n| 1 | 0.9 |\n", []),
        ("| Training Loss | Accuracy |\n|-|-|\n| 1 | 0.9 |\n", []),
        ("| Dataset | Paper | Number |\n|-|-|-|\n| SNLI | paper | 12,000 |\n", []),
        ("```\n| Dataset | Accuracy |\n|-|-|\n| SST-2 | 93.2 |\n```\n", []),
        ("Accuracy is 93.2 on SST-2.", []),
    ],
)
def test_a_table_claims_what_a_known_metric_stands_by(
    markdown: str, expected: list[tuple[str, str, str | None]]
) -> None:
    assert figures(markdown) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"eval_accuracy": 0.9, "eval_loss": 0.1, "train_loss": 1, "epoch": 3}, [("accuracy", 0.9, None)]),
        ({"results": {"arc": {"acc,none": 0.5, "acc_stderr,none": 0.01, "alias": "arc"}}}, [("accuracy", 0.5, "arc")]),
        ({"log_history": [{"loss": 1}, {"eval_f1": 0.7}, {"eval_f1": 0.8}]}, [("f1", 0.7, None), ("f1", 0.8, None)]),
        ({"sst2": {"accuracy": 0.9}}, [("accuracy", 0.9, "sst2")]),
        ([1, 2], []),
        ({"results": [1], "log_history": {}, "accuracy": None}, []),
    ],
)
def test_a_result_file_says_what_was_measured(content: object, expected: list[tuple[str, float, str | None]]) -> None:
    found = in_result_file(json.dumps(content))
    assert [(one.metric, one.value, one.dataset) for one in found] == expected


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"accuracy": NaN}', '{"accuracy": 1' + "0" * 4_000 + "}"])
def test_a_broken_result_file_says_nothing(text: str) -> None:
    assert [one for one in in_result_file(text) if valid(one.metric, one.value) is not None] == []


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("accuracy", 0.93, 0.93),
        ("accuracy", 1, 1.0),
        ("accuracy", 100, 1.0),
        ("accuracy", 170, None),
        ("accuracy", -0.1, None),
        ("accuracy", "93.2%", 0.932),
        ("accuracy", "20.0 ± 1.2", 0.2),
        ("mean reward", "20.0 +/- 1.2", 20.0),
        ("mean reward", -5, -5.0),
        ("wer", 120, 120.0),
        ("cer", -1, None),
        ("perplexity", 0.9, None),
        ("perplexity", 12.5, 12.5),
        ("fame", 1, None),
        ("accuracy", float("nan"), None),
        ("accuracy", True, None),
        ("accuracy", None, None),
        ("accuracy", [0.9], None),
        ("mse", 10**400, None),
    ],
)
def test_only_possible_values_are_valid(metric: str, value: object, expected: float | None) -> None:
    assert valid(metric, value) == expected


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Accuracy", "accuracy"),
        ("eval_exact_match", "exact match"),
        ("EM", "exact match"),
        ("test_f1", "f1"),
        ("f1", "f1"),
    ],
)
def test_one_metric_has_one_spelling(written: str, name: str) -> None:
    assert metric_name(written) == name
    assert range_of(metric_name(written)) is not None


def test_a_loss_is_no_metric_of_a_claim() -> None:
    assert is_loss(metric_name("eval_loss"))
    assert is_loss("Training loss".lower())
    assert not is_loss("accuracy")


def test_error_rates_compare_in_percent_and_as_fractions() -> None:
    assert difference("wer", 8.5, 0.085) < 1e-9
    assert difference("accuracy", 0.93, 0.71) > 0.05


@given(st.text(max_size=300) | st.integers() | st.floats() | st.none() | st.booleans())
def test_any_value_is_a_number_or_none(value: object) -> None:
    figure = number(value)
    assert figure is None or isinstance(figure, float)
    told = valid("accuracy", value)
    assert told is None or 0 <= told <= 1
