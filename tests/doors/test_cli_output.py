"""Text of a server is shown as text: it moves no cursor and hides nothing."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.doors.cli.output import Output, bar, cell, clean, moment, table


@given(st.text())
def test_nothing_that_controls_a_terminal_is_left(text: str) -> None:
    shown = clean(text)
    assert not any(unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") for character in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200f\ufeff")


def test_markup_of_a_stranger_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Output().show("[bold]a[/bold] :smile:", table(("x",), [["[red]b[/red]"]]), cell("[link=http://x]c[/link]"))
    shown = capsys.readouterr().out
    assert "[bold]a[/bold] :smile:" in shown
    assert "[red]b[/red]" in shown
    assert "[link=http://x]c[/link]" in shown
    assert "\x1b" not in shown


def test_a_pipe_gets_whole_rows_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    Output().show(table(("a", "b"), [["x" * 300, bar(0.5)]]))
    shown = capsys.readouterr().out
    assert "x" * 300 in shown
    assert "0.50" in shown
    assert "\x1b" not in shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_on_a_terminal_keeps_its_value_and_loses_its_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"a": "x\x1b\x9b\u202ey\ufeff"}, ensure_ascii=False)
    screen = _Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    Output().document(text)
    assert json.loads(screen.getvalue()) == json.loads(text)
    assert not set(screen.getvalue()) & set("\x1b\x9b\u202e\ufeff")


def test_json_in_a_pipe_is_the_servers_own(capsys: pytest.CaptureFixture[str]) -> None:
    Output().document('{"a" : "\x9b"}')
    assert capsys.readouterr().out == '{"a" : "\x9b"}\n'


def test_colour_is_only_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for no_colour, coloured in ((None, True), ("1", False)):
        if no_colour is None:
            monkeypatch.delenv("NO_COLOR", raising=False)
        else:
            monkeypatch.setenv("NO_COLOR", no_colour)
        screen = _Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        Output().show(bar(0.9))
        assert ("\x1b[32m" in screen.getvalue()) is coloured


@pytest.mark.parametrize("value", [None, 0, 0.0, 0.5, 1, 1.0, "x"])
def test_a_bar_has_one_length(value: object) -> None:
    assert len(bar(value).plain) == 15


def test_a_time_that_is_none_is_shown_as_it_is() -> None:
    assert moment("soon\x1b") == "soon"
    assert moment(None) == "–"
