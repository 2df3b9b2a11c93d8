"""Cards as people, templates and attackers write them."""

import re
import time
from pathlib import Path

import huggingface_hub
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.card_text import Link
from weighhouse.rules.cards import MAX_BODY_CHARACTERS, filled_topics, read_card
from weighhouse.rules.front_matter import load_metadata

FILLER = (
    "The model was made for classifying short English reviews of films and should be used for little else, please. "
)
TOPICS = {"use": ("intended", "uses"), "limits": ("limitation", "bias")}
TEMPLATES = Path(huggingface_hub.__file__).parent / "templates"


def template(name: str) -> str:
    """The card that the hub's client makes of its template when nobody fills it in."""
    text = (TEMPLATES / f"{name}_template.md").read_text("utf-8").replace("{{ card_data }}", "license: mit")
    return re.sub(r'\{\{[^{}]*default\("([^"]*)"[^{}]*\}\}', r"\1", text)


@pytest.mark.parametrize("name", ["modelcard", "datasetcard"])
def test_an_unfilled_template_says_nothing(name: str) -> None:
    unfilled = template(name)
    for text in (unfilled, unfilled.replace("<!--", "").replace("-->", "")):
        card = read_card(text)
        assert (dict(card.metadata), card.word_count, list(card.links)) == ({"license": "mit"}, 0, [])
        assert filled_topics(card, TOPICS) == frozenset()


def test_what_is_filled_into_a_template_counts() -> None:
    text = template("modelcard").replace("### Direct Use\n", f"### Direct Use\n\n{FILLER}\n")
    card = read_card(text)
    assert list(card.lines) == [FILLER.strip()]
    assert filled_topics(card, {"use": ("direct use",)}) == {"use"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("<!-- a hidden word -->shown", "shown"),
        ("shown<!-- never closed", "shown"),
        ("![badge](https://x/y.svg) shown", "shown"),
        ("[![badge](https://x/y.svg)](https://ci)shown", "shown"),
        ("see [the paper](https://arxiv.org/abs/1) now", "see the paper now"),
        ("see <https://example.org> now", "see now"),
        ("see https://example.org/a?b=c now", "see now"),
        ('<p align="center">shown</p>', "shown"),
        ("[More Information Needed]", ""),
        ("{{ summary }} shown", "shown"),
        ("[1]: https://example.org", ""),
        ("<script>alert(1)</script>", ""),
    ],
)
def test_only_the_words_of_the_author_are_left(written: str, said: str) -> None:
    assert " ".join(read_card(f"{written}\n").lines) == said


def test_words_count_in_scripts_without_spaces() -> None:
    assert read_card("这个模型用于对短文本进行分类。").word_count == 7
    assert read_card("a 384-dimensional vector, it's small").word_count == 5


def test_links_are_found_with_their_texts() -> None:
    card = read_card(
        '[paper](https://a "t") <https://b> https://c\n\n[ref]: https://d\n\n| x |\n|-|\n| [e](https://e) |\n'
    )
    assert card.links[0] == Link("paper", "https://a")
    assert [link.target for link in card.links] == [f"https://{letter}" for letter in "abcde"]


def test_code_and_tables_are_kept_apart_from_words() -> None:
    card = read_card(
        "# T\n```Python title=x\na = 1\n```\n\n    b = 2\n\n| a | b |\n|---|---|\n| **1** | [2](u) |\n| 3 |\n"
    )
    assert [(block.language, block.text, block.fenced) for block in card.code_blocks] == [
        ("python", "a = 1\n", True),
        ("", "b = 2\n", False),
    ]
    assert (list(card.tables[0].header), [list(row) for row in card.tables[0].rows]) == (
        ["a", "b"],
        [["**1**", "2"], ["3", ""]],
    )


@pytest.mark.parametrize(
    ("body", "filled"),
    [
        (f"## Intended uses\n{FILLER}", {"use"}),
        ("## Intended uses\nFor films.", set()),
        ("## Intended uses\n```\nrun\n```", {"use"}),
        ("## Uses\n| a |\n|---|\n| 1 |\n| 2 |\n", {"use"}),
        ("## Uses\n| a |\n|---|\n| 1 |\n", set()),
        (f"## Uses\n### Films\n{FILLER}", {"use"}),
        (f"## Uses\n## Films\n{FILLER}", set()),
        (f"## Intended uses and limitations\n{FILLER}", {"use"}),
        (f"## Intended uses and limitations\n{FILLER}\n### Limitations\nOther. {FILLER}", {"use", "limits"}),
        (f"## Uses\n{FILLER}\n## Limitations\n{FILLER}", {"use"}),
        (f"## Uses and bias\n{FILLER}\n## Uses\n{FILLER} More.", {"use", "limits"}),
        (f"## Uses\n{FILLER} More.\n## Uses and bias\n{FILLER}", {"use", "limits"}),
        (f"## Accuses\n{FILLER}", set()),
    ],
)
def test_one_body_fills_one_topic(body: str, filled: set[str]) -> None:
    assert len(filled_topics(read_card(body), TOPICS)) == len(filled)
    assert filled_topics(read_card(body), TOPICS) <= filled


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("a: 1\nb: [x, y]", {"a": 1, "b": ["x", "y"]}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("", {}),
    ],
)
def test_plain_yaml_is_read(text: str, metadata: dict[str, object]) -> None:
    assert load_metadata(text) == (metadata, None)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        MERGE_BOMB,
        "a: &a [*a]",
        "a: *nothing",
        "{a: " * 5_000,
        "- " * 5_000,
        "[" * 5_000,
        "x" * ((1 << 20) + 1),
        "- a\n" * 200_000,
        "just a text",
        "[1, 2]",
        "a: [",
        "a: !!python/object/apply:os.system ['true']",
        "a: !!timestamp x",
        "a: !!bool x",
        "a: !!int x",
        "a: 2020-99-99",
        "{[1]: 2}",
        "a: \x00",
        "a: " + "9" * 5_000 + "!!int",
        "\ud800: 1",
    ],
)
def test_hostile_yaml_is_no_metadata(text: str) -> None:
    metadata, note = load_metadata(text)
    assert note is not None or metadata == {"a": "9" * 5_000 + "!!int"}


def test_a_number_of_a_megabyte_takes_no_time() -> None:
    started = time.monotonic()
    metadata, note = load_metadata("a: 1" + ":1" * 400_000)
    assert (isinstance(metadata["a"], str), note) == (True, None)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    "piece",
    [
        "# uses\n",
        "[",
        "![a",
        "[a](",
        "<a",
        "<!--",
        "{{",
        "a-",
        "http://",
        'href="',
        "[a]: ",
        "| a |\n|-|\n",
        "> ",
        "- ",
        "```\n",
        "_a*",
    ],
)
def test_a_hostile_card_is_read_in_linear_time(piece: str) -> None:
    text = piece * (MAX_BODY_CHARACTERS // len(piece))
    started = time.process_time()
    card = read_card(text)
    filled_topics(card, TOPICS)
    assert card.word_count <= len(text)
    assert time.process_time() - started < 40


def test_what_is_not_read_is_noted() -> None:
    assert read_card("word " * MAX_BODY_CHARACTERS).note == "only the first 262,144 characters of the card were read"


@given(st.text())
def test_any_text_is_a_card(text: str) -> None:
    card = read_card("---\n" + text)
    assert card == read_card("---\n" + text)
    assert card.opening_word_count <= card.word_count
