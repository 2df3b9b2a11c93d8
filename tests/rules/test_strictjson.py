import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.strictjson import (
    MAX_DEPTH,
    MAX_STRING_BYTES,
    UnacceptableJson,
    UnacceptableText,
    check_text,
    find_bad_text,
    loads,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_every_json_value_comes_back_as_it_was(value: object, ascii_only: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": "\xff"}', "byte 7"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xc0\x80"', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        (b'{"a": 1, "\\u0061": 2}', "'a' stands twice"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e400", "range of a double"),
        (b"-1e400", "range of a double"),
        (b"[1,]", "line 1, column"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6"),
        (b"{'a': 1}", "not JSON"),
        (b"{} {}", "Extra data"),
        (b"01", "not JSON"),
        (b"tru", "not JSON"),
        (b'"a\nb"', "control character"),
        (b'"\\x"', "not JSON"),
        (b'"open', "not JSON"),
        ("[\u00a0]".encode(), "not JSON"),
        (b"\x00", "not JSON"),
        (b"1" * 1001, "1,000 digits"),
        (b"-" + b"1" * 1001, "1,000 digits"),
        (b"0." + b"1" * 1001, "1,000 digits"),
        (b"[" + b"9" * 5000 + b"]", "1,000 digits"),
        (b"1e" + b"0" * 1001 + b"1", "1,000 digits"),
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels"),
        (b"[" * 200_000, "64 levels"),
        (b"[" * 200_000 + b"]" * 200_000, "64 levels"),
        (b'{"a":' * 200_000, "64 levels"),
        (b'"' + b"a" * (MAX_STRING_BYTES + 1) + b'"', "body is over 65,536 bytes"),
        (b'{"t": ["' + "é".encode() * 40_000 + b'"]}', "t[0] is over"),
        (b'{"' + b"k" * 70_000 + b'": 1}', "is over 65,536"),
    ],
)
def test_what_is_not_acceptable_is_refused_with_the_reason(data: bytes, told: str) -> None:
    with pytest.raises(UnacceptableJson) as refusal:
        loads(data)
    assert told in refusal.value.detail
    assert len(refusal.value.detail) < 500
    refusal.value.detail.encode("utf-8")


def test_the_limits_themselves_are_allowed() -> None:
    assert loads(b"1" * 1000) == int("1" * 1000)
    assert loads(b"-" + b"1" * 1000) == -int("1" * 1000)
    assert loads(b"0." + b"3" * 999) == pytest.approx(1 / 3)
    assert loads(b'"' + b"a" * MAX_STRING_BYTES + b'"') == "a" * MAX_STRING_BYTES
    assert loads(json.dumps("é" * (MAX_STRING_BYTES // 2)).encode()) == "é" * (MAX_STRING_BYTES // 2)
    value = loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        assert isinstance(value, list)
        (value,) = value
    assert value == []


def test_a_longer_string_is_taken_where_the_caller_says_so() -> None:
    data = b'"' + b"a" * 100_000 + b'"'
    assert loads(data, max_string_bytes=None) == loads(data, max_string_bytes=100_000) == "a" * 100_000
    with pytest.raises(UnacceptableJson):
        loads(b'"abcd"', max_string_bytes=3)


def test_brackets_in_strings_are_not_depth() -> None:
    text = '[{"' * 100 + "\\" * 3
    assert loads(json.dumps([text, {text: 1}]).encode()) == [text, {text: 1}]
    assert loads(b"[" + b",".join([b"[{}]"] * 1000) + b"]") == [[{}]] * 1000


@pytest.mark.parametrize(
    "data",
    [
        b'"' + b'\\"' * 500_000,
        b'["' + b"\\" * 999_999,
        b"[" * 1_000_000,
        b"[]" * 500_000,
        b"[" + b"[]," * 300_000 + b"[]]",
        b'"' * 1_000_000,
        b'[["' * 300_000,
        b'{"":' * 250_000,
        b"]" * 500_000 + b"[" * 500_000,
    ],
)
def test_a_hostile_megabyte_is_answered_soon(data: bytes) -> None:
    begin = time.process_time()
    with contextlib.suppress(UnacceptableJson):
        loads(data)
    assert time.process_time() - begin < 20


@given(
    st.binary(max_size=200)
    | st.text('{}[]":,\\u0d8eE+-.129nulltrue \n', max_size=80).map(str.encode)
    | st.text(max_size=50).map(lambda text: json.dumps({text: text}).encode())
)
def test_any_bytes_give_a_value_or_a_refusal(data: bytes) -> None:
    try:
        value = loads(data)
    except UnacceptableJson:
        return
    # What was taken has one meaning: the usual parser agrees, and it can be written again as standard JSON.
    assert json.loads(data) == value
    assert json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "x\udc00"])
def test_text_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(UnacceptableText) as refusal:
        check_text(text, "description")
    assert refusal.value.field == "description"
    refusal.value.detail.encode("ascii")


@given(st.text())
def test_text_is_taken_exactly_when_a_database_can_keep_it(text: str) -> None:
    try:
        assert check_text(text, "q") == text
    except UnacceptableText:
        with pytest.raises(UnicodeEncodeError):
            text.replace("\x00", "\ud800").encode("utf-8")
    else:
        assert b"\x00" not in text.encode("utf-8")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (rb'"\u0000"', "body"),
        (rb'{"name": "\ud800"}', "name"),
        (rb'{"a": 1, "tags": ["x", {"note": "\udc00"}]}', "tags[1].note"),
        (rb'[[["\u0000"]]]', "[0][0][0]"),
        (rb'{"a": "\u0000", "b": "\u0000"}', "a"),
        (rb'{"a": {"b\u0000": 1}}', r"a.b\x00"),
        (rb'{"a": "\ud83d\ude00", "b": [1, null, true, "\n"]}', None),
        (b"{}", None),
        (b"1", None),
    ],
)
def test_the_first_bad_text_is_found_where_it_stands(data: bytes, place: str | None) -> None:
    assert find_bad_text(loads(data)) == place


def test_bad_text_is_found_at_any_depth() -> None:
    value: object = "\x00"
    for _ in range(100_000):
        value = [value]
    assert find_bad_text(value) == "[0]" * 100_000


@given(JSON)
def test_good_json_has_no_bad_text(value: object) -> None:
    assert (find_bad_text(value) is None) == (r"\u0000" not in json.dumps(value).replace("\\\\", ""))
