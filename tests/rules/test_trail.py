"""The chain of the audit trail: its form, and what no entry holds."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.trail import (
    BEGINNING,
    MAX_CHARACTERS,
    InvalidHead,
    Link,
    canonical,
    clean,
    next_link,
    parse_head,
)

_AT = datetime(2026, 11, 27, 19, 20, 1, 5, tzinfo=UTC)
_ENTRY = {"action": "delete package", "outcome": "done", "acted_at": _AT}


def test_a_link_is_the_hash_of_the_one_before_and_the_form() -> None:
    link, form = next_link(BEGINNING, _ENTRY)
    assert form == (
        b'{"acted_at":"2026-11-27T19:20:01.000005Z","action":"delete package","chain":1,"outcome":"done","seq":1}'
    )
    assert link == Link(1, 1, hashlib.sha256(bytes(32) + form).digest())


def test_one_instant_and_one_id_have_one_form() -> None:
    there = _AT.astimezone(timezone(timedelta(hours=-7)))
    assert canonical({"at": there, "id": UUID(int=1)}) == canonical({"at": _AT, "id": UUID(int=1)})
    with pytest.raises(TypeError, match="no place"):
        canonical({"bytes": b""})


@pytest.mark.parametrize(("outcome", "chain"), [("done", 2), ("refused", 1)])
def test_a_reset_that_was_done_begins_a_chain(outcome: str, chain: int) -> None:
    link, _ = next_link(BEGINNING, _ENTRY | {"action": "reset registry", "outcome": outcome})
    assert link.chain == chain


@pytest.mark.parametrize("text", ["", "0:" + "a" * 64, "1:" + "a" * 63, "1" * 19 + ":" + "a" * 64, "-1:" + "a" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(InvalidHead, match="is not a head"):
        parse_head(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("see https://ada:s3cret@example.org/x", "s3cret"),
        ("with hf_abcdefghijklmnopqrstuv", "hf_abc"),
        ("with github_pat_11ABCDEFG0abcdefghijkl", "11ABC"),
        ("with ghp_abcdefghijklmnopqrstuvwxyz", "ghp_"),
        ("X-Authorization: Bearer abcdef.ghijkl", "abcdef"),
        ("GET /a?X-Amz-Signature=deadbeef&b=1", "deadbeef"),
        ("GET /a?expires=1&signature=deadbeef", "deadbeef"),
        ("password=hunter2", "hunter2"),
    ],
)
def test_secrets_of_a_known_form_are_starred(text: str, secret: str) -> None:
    cleaned = clean({"why": [text]})["why"][0]
    assert secret not in cleaned
    assert "***" in cleaned


@given(st.text())
def test_no_text_steers_a_terminal_or_grows(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= MAX_CHARACTERS
    assert cleaned.isascii() or not set(cleaned) & set("\x85\x9b\u2028\u202e\u2066\ufeff")
    assert not any(ord(character) < 32 or ord(character) == 127 for character in cleaned)
    cleaned.encode()


def test_control_and_direction_characters_are_escaped() -> None:
    assert clean("a\r\nb\x1b[31m\u202ec") == "a\\u000d\\u000ab\\u001b[31m\\u202ec"
