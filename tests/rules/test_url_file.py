"""URL files: what a line names, and which datasets of earlier lines a card names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.errors import Malformed
from weighhouse.rules.url_file import Line, Unread, datasets_before, named_in, read_line, read_url_file

HUB = "https://huggingface.co"
MODEL = f"{HUB}/google-bert/bert-base-uncased"


@pytest.mark.parametrize(
    ("text", "code", "dataset", "model", "name"),
    [
        (MODEL, None, None, MODEL, "bert-base-uncased"),
        (f", , {MODEL}", None, None, MODEL, "bert-base-uncased"),
        (f",,{MODEL}", None, None, MODEL, "bert-base-uncased"),
        (f"\t{MODEL}/ \r", None, None, MODEL, "bert-base-uncased"),
        (f", , {MODEL}/tree/main/", None, None, f"{MODEL}/tree/main", "bert-base-uncased"),
        (
            f"https://github.com/a/b/tree/v1/src/ , {HUB}/datasets/x/y/ , {HUB}/gpt2",
            "https://github.com/a/b/tree/v1/src",
            f"{HUB}/datasets/x/y",
            f"{HUB}/gpt2",
            "gpt2",
        ),
        (f", x/y, {MODEL}", None, "x/y", MODEL, "bert-base-uncased"),
        (", , google-bert/bert-base-uncased", None, None, "google-bert/bert-base-uncased", "bert-base-uncased"),
        (f"/srv/code, , {MODEL}", "/srv/code", None, MODEL, "bert-base-uncased"),
        (f"git@github.com:a/b.git, , {MODEL}", "git@github.com:a/b.git", None, MODEL, "bert-base-uncased"),
        (f"file:///srv/code, , {MODEL}", "file:///srv/code", None, MODEL, "bert-base-uncased"),
        (", , http://localhost:8080/acme/tiny", None, None, "http://localhost:8080/acme/tiny", "tiny"),
        (", , https://example.org/models/tiny/", None, None, "https://example.org/models/tiny", "tiny"),
    ],
)
def test_a_line_names_code_dataset_and_model(
    text: str, code: str | None, dataset: str | None, model: str, name: str
) -> None:
    line = read_line(text, 7, endpoint="http://localhost:8080")
    assert line == Line(7, name, model, dataset, code)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{MODEL}, {MODEL}", "2 fields"),
        (f", , , {MODEL}", "4 fields"),
        (f"https://github.com/a/b, {HUB}/datasets/x/y, ", "model's address is missing"),
        ("hello", "no address of a model"),
        ("not an address at all", "no address of a model"),
        ("# a comment", "no address of a model"),
        (f"{HUB}/datasets/squad/squad", "no model"),
        (f"{HUB}/", "no model"),
        ("https://example.org", "names no model"),
        ("ftp://huggingface.co/a/b", "http"),
        ("https://user:secret@huggingface.co/a/b", "user name or password"),
        (f"git@github.com, , {MODEL}", "code_url"),
        (f"ext::sh -c id, , {MODEL}", "code_url"),
        (f"--upload-pack=x, , {MODEL}", "code_url"),
        (f", file:///etc/passwd, {MODEL}", "dataset_url"),
        (f", squad, {MODEL}", "dataset_url"),
    ],
)
def test_a_line_that_names_no_model_says_why(text: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read_line(text, endpoint=HUB)


def test_any_line_end_is_understood_and_blank_lines_are_left_out() -> None:
    text = f"\ufeff{MODEL}\r\n\r\n   \n,,{HUB}/gpt2\rbroken line\n\n"
    entries = read_url_file(text, endpoint=HUB)
    assert [(type(entry), entry.number) for entry in entries] == [(Line, 1), (Line, 4), (Unread, 5)]
    assert read_url_file("\n \r\n", endpoint=HUB) == []


@given(st.text(max_size=300))
def test_any_text_gives_an_entry_for_each_line_that_is_not_blank(text: str) -> None:
    entries = read_url_file(text, endpoint=HUB)
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert [entry.number for entry in entries] == [n for n, line in enumerate(lines, 1) if line.strip()]


def test_only_datasets_of_earlier_lines_count_each_once_and_without_those_outside_the_hub() -> None:
    text = f", {HUB}/datasets/x/squad, a/one\n, X/squad, a/two\n, https://example.org/data, a/three\n, y/imdb, a/four"
    lines = [entry for entry in read_url_file(text, endpoint=HUB) if isinstance(entry, Line)]
    assert [list(datasets_before(lines, line, endpoint=HUB)) for line in lines] == [
        [],
        ["x/squad"],
        ["x/squad"],
        ["x/squad"],
    ]


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ("It was tuned on SQuAD.", ["rajpurkar/squad"]),
        ("It was tuned on `rajpurkar/squad`", ["rajpurkar/squad"]),
        ("See https://huggingface.co/datasets/rajpurkar/squad for it", ["rajpurkar/squad"]),
        ("From (squad), and glue!", ["rajpurkar/squad", "nyu/glue"]),
        ("distilbert-base-cased-distilled-squad", []),
        ("squad_v2 is another", []),
        ("someone/squad is another", []),
        ("squad.py loads it", []),
        ("squads of people", []),
        ("a git repository", []),
        ("abc and ds", []),
        ("", []),
    ],
)
def test_a_card_names_a_dataset_where_its_id_or_last_part_stands_as_a_word(card: str, found: list[str]) -> None:
    assert named_in(card, ["rajpurkar/squad", "nyu/glue", "a/abc", "x/ds"]) == found


def test_a_last_part_that_two_datasets_share_names_neither_but_an_id_does() -> None:
    assert named_in("trained on imdb", ["a/imdb", "b/imdb"]) == []
    assert named_in("trained on b/imdb", ["a/imdb", "b/imdb"]) == ["b/imdb"]
