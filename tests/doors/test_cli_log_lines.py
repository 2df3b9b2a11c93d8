"""Log lines hold whatever came in, and stay one line."""

import json
import logging

from weighhouse.doors.cli.log_lines import MAX_CHARACTERS, JsonLines, PlainLines


def line_of(message: str, **context: str) -> logging.LogRecord:
    record = logging.LogRecord("weighhouse.requests", logging.WARNING, __file__, 1, message, (), None)
    vars(record).update(context)
    return record


def test_hostile_text_stays_on_its_line() -> None:
    shown = PlainLines().format(line_of("GET /a\r\n2026 INFO forged \x1b[31m", request_id="abc"))
    assert shown.count("\n") == 0
    assert "\x1b" not in shown
    assert shown.endswith("request_id=abc")


def test_a_line_off_the_terminal_is_one_json_object_with_the_request_id() -> None:
    shown = JsonLines().format(line_of('a "quoted"\nmessage', request_id="abc", username="mia"))
    assert json.loads(shown)["request_id"] == "abc"
    assert json.loads(shown)["username"] == "mia"
    assert "\n" not in shown


def test_long_text_is_cut() -> None:
    assert len(json.loads(JsonLines().format(line_of("x" * 100_000)))["message"]) == MAX_CHARACTERS
