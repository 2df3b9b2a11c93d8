"""Every row of the ramp-up table of the metrics specification, as cards and packages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from tests.rules.test_cards import FILLER, template
from weighhouse.rules.evidence import HubModel, Missing, Reason
from weighhouse.rules.metrics import ramp_up_time
from weighhouse.rules.metrics.result import Result

FRONT = "---\npipeline_tag: text-classification\nlibrary_name: transformers\n---\n"
FILES: dict[str, bytes | str] = {
    "config.json": json.dumps({"model_type": "bert"}),
    "model.safetensors": b"x",
    "tokenizer.json": "{}",
}
FULL = f"""{FRONT}
# Tiny

{FILLER * 3}

## How to use

```python
from transformers import pipeline
classify = pipeline(model="acme/tiny")
```

## Inputs and outputs

It takes one review of a film in English and says whether that review is good, bad or neither of the two.

## Installation

```bash
pip install transformers
```

## Intended uses

{FILLER}

## Limitations

It has never seen a review of a book, and it is wrong about irony more often than a person would be.

## Needs

It runs in 2 GB of memory. The [paper](https://arxiv.org/abs/1) has more.
"""
GGUF = """---
pipeline_tag: text-generation
library_name: llama.cpp
---
# Tiny

Tiny is a small language model that answers questions about birds and their songs. It was trained on public texts only and \
is made for old computers without a network, first.

## Run

```bash
brew install llama.cpp
llama-cli -m tiny.Q4_K_M.gguf -p "Which bird is that?"
```

| File | RAM |
|---|---|
| tiny.Q4_K_M.gguf | 2 GB RAM |
"""


def measured(card: str | None, files: dict[str, bytes | str] | None = None, **facts: object) -> Result:
    contents = {**(FILES if files is None else files), **({} if card is None else {"README.md": card})}
    return ramp_up_time.measure(PackageEvidence(contents, **facts), AS_OF)  # type: ignore[arg-type]  # keywords by name


@pytest.mark.parametrize(
    ("card", "files", "score"),
    [
        (FULL, FILES, 1.00),
        (FRONT + "# Tiny\n", FILES, 0.38),
        (template("modelcard").replace("license: mit", FRONT.strip("-\n")), FILES, 0.38),
        (GGUF, {"tiny.Q4_K_M.gguf": b"GGUF"}, 0.68),
        (None, FILES, 0.10),
    ],
    ids=["full", "title only", "unfilled template", "GGUF", "no README"],
)
def test_each_example_of_the_specification(card: str | None, files: dict[str, bytes | str], score: float) -> None:
    result = measured(card, files)
    assert (result.score, measured(card, files)) == (score, result)


def grades(card: str | None, files: dict[str, bytes | str] | None = None, **facts: object) -> dict[str, float]:
    return dict(measured(card, files, **facts).inputs["grades"])


@pytest.mark.parametrize(
    ("block", "grade"),
    [
        ('```python\nload("acme/tiny")\n```', 1.0),
        ("```\nvllm serve acme/tiny\n```", 1.0),
        ('```python\nload("other/model")\n```', 0.5),
        ('```python\nload("acme/tiny"\n```', 0.5),
        ('```js\nload("acme/tiny")\n```', 0.5),
        ("```bibtex\n@article{acme/tiny}\n```", 0.0),
        ('```json\n{"model": "acme/tiny"}\n```', 0.0),
        ("```\nacme/tiny\n```", 0.0),
        ("load('acme/tiny')", 0.0),
    ],
)
def test_a_snippet_parses_and_names_this_model(block: str, grade: float) -> None:
    assert grades(block)["usage_snippet"] == grade


def test_the_hub_fills_in_what_the_card_leaves_out() -> None:
    hub = HubModel("acme/tiny", "a1", pipeline_tag="x", library_name="y", has_widget_examples=True)
    got = grades("# Tiny\n", hub=hub)
    assert (got["usage_snippet"], got["task_and_io"], got["installation"]) == (0.5, 1.0, 0.5)
    assert grades("# Tiny\n", hub=Missing(Reason.UNREACHABLE, "away"))["task_and_io"] == 0


@pytest.mark.parametrize(
    ("labels", "grade"), [({"0": "LABEL_0", "1": "LABEL_1"}, 0.0), ({"0": "good", "1": "bad"}, 0.5), ("x", 0.0)]
)
def test_only_labels_with_names_describe_the_output(labels: object, grade: float) -> None:
    files: dict[str, bytes | str] = {**FILES, "config.json": json.dumps({"id2label": labels})}
    assert grades("# Tiny\n", files)["task_and_io"] == grade


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Needs 16 GB of VRAM.", 1.0),
        ("Runs on one GPU with 8 GB.", 1.0),
        ("We used 7 GPUs.", 1.0),
        ("Loads in bf16.", 1.0),
        ("A context length of 4096 tokens.", 1.0),
        ("Text longer than 256 word pieces is cut.", 1.0),
        ("Needs a GPU.", 0.0),
        ("Trained on 16 GB of text.", 0.0),
        ("It has a long context.", 0.0),
    ],
)
def test_run_needs_come_with_a_figure(text: str, grade: float) -> None:
    assert grades(text)["run_needs"] == grade


@pytest.mark.parametrize(
    ("files", "grade"),
    [
        ({"config.json": '{"model_type": "x"}', "model.safetensors": b"x"}, 2 / 3),
        ({"model.onnx": b"x"}, 0.5),
        ({"model.onnx": b"x", "config.yaml": ""}, 1.0),
        ({"a-00001-of-00002.gguf": b"x"}, 0.0),
        ({"a.gguf": b""}, 0.0),
        ({"README.md": "x"}, 0.0),
    ],
)
def test_a_loadable_layout_is_complete(files: dict[str, bytes | str], grade: float) -> None:
    assert grades(None, files)["loadable_layout"] == pytest.approx(grade)


def test_a_badge_is_no_pointer() -> None:
    assert grades("![docs](https://docs.example.org/badge.svg)")["pointers"] == 0
    assert grades("[docs](https://example.org)")["pointers"] == 1


def test_a_card_that_could_not_be_read_is_no_zero() -> None:
    with pytest.raises(Missing):
        ramp_up_time.measure(PackageEvidence(FILES, card=Missing(Reason.UNREACHABLE, "The hub is away")), AS_OF)


@given(st.text(max_size=300))
def test_more_of_a_card_never_scores_worse(text: str) -> None:
    score = measured("# Tiny\n\n" + text.replace("```", "")).score
    empty = measured("").score
    assert score is not None
    assert empty is not None
    assert 0 <= empty <= score <= 1
