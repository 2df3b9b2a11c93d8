"""License texts recognised: whole, changed, cut, several at once, and with words added."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.license_corpus import IDS, text_of
from weighhouse.rules.compatibility_rules import Confidence
from weighhouse.rules.license_fingerprints import pack, unpack, words_of
from weighhouse.rules.license_matcher import MODIFIED, detect, matches_of
from weighhouse.rules.license_templates import TEMPLATES
from weighhouse.rules.licenses import MAX_TEXT_CHARACTERS


def _expression(text: str) -> str | None:
    found = detect(text).license
    return found.expression if found else None


def _holder_changed(text: str) -> str:
    return re.sub(r"(?i)copyright (\(c\)|\d)[^\n]*", "Copyright (c) 2031 A Company With A Long Name, Inc.", text)


@pytest.mark.parametrize("license_id", IDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        _holder_changed,
        lambda text: " ".join(text.split()),
        lambda text: "\n".join(f"> {line}" for line in text.splitlines()),
        lambda text: "\n".join(f"# {line}" for line in text.splitlines()),
        lambda text: text[: int(len(text) * 0.9)],
    ],
    ids=["as it is", "another holder", "one line", "quoted", "commented", "cut"],
)
def test_a_text_is_recognised_however_it_is_written(license_id: str, change: object) -> None:
    assert callable(change)
    assert _expression(change(text_of(license_id))) == license_id


def test_a_text_that_was_cut_in_half_is_told_with_low_confidence() -> None:
    text = text_of("Apache-2.0")
    found = detect(text[: int(len(text) * 0.6)])
    assert found.license is not None
    assert (found.license.expression, found.confidence) == ("Apache-2.0", Confidence.LOW)


@pytest.mark.parametrize("license_id", ["MIT", "Apache-2.0", "BSD-3-Clause", "MPL-2.0"])
@pytest.mark.parametrize(
    "rider",
    [
        '"Commons Clause" License Condition v1.0. The license does not grant to you the right to Sell the Software.',
        "The Software shall be used for Good, not Evil.",
        "This software may not be used for commercial purposes.",
        "Use is permitted for research purposes and nothing else.",
        "As a special exception you may link it with anything.",
    ],
)
def test_words_that_change_the_terms_make_them_unknown(license_id: str, rider: str) -> None:
    found = detect(f"{text_of(license_id)}\n\n{rider}\n")
    assert found.is_modified
    assert found.license is not None
    assert (found.license.expression, found.confidence) == (MODIFIED, Confidence.LOW)


def test_words_that_change_nothing_are_no_rider() -> None:
    assert _expression(f"This is the license of the fine program.\n\n{text_of('MIT')}") == "MIT"


def test_several_texts_in_one_file_hold_together() -> None:
    both = f"{text_of('Apache-2.0')}\n\n{text_of('MIT')}"
    assert _expression(both) == "Apache-2.0 AND MIT"


def test_several_texts_are_a_choice_when_the_file_says_so() -> None:
    both = f"Dual licensed under the terms below, at your option.\n\n{text_of('Apache-2.0')}\n\n{text_of('MIT')}"
    assert _expression(both) == "Apache-2.0 OR MIT"


def test_a_notice_beside_a_text_counts_too() -> None:
    notice = 'Older parts are licensed under the Apache License, Version 2.0 (the "License").'
    assert _expression(f"{notice}\n\n{text_of('BSD-3-Clause')}") == "BSD-3-Clause AND Apache-2.0"


@pytest.mark.parametrize(
    ("notice", "expression"),
    [
        (
            'Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except',
            "Apache-2.0",
        ),
        ("Licensed under either of Apache License, Version 2.0 or MIT license at your option.", "Apache-2.0 OR MIT"),
        (
            "redistribute it under the terms of the GNU General Public License as published by the FSF; either "
            "GNU General Public License version 3 of the License, or (at your option) any later version",
            "GPL-3.0-or-later",
        ),
        ("SPDX-License-Identifier: MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("Meta Llama 3 Community License Agreement, version of April 18, 2024", "LicenseRef-llama3"),
    ],
)
def test_a_short_notice_names_its_license_with_medium_confidence(notice: str, expression: str) -> None:
    found = detect(notice)
    assert found.license is not None
    assert (found.license.expression, found.confidence) == (expression, Confidence.MEDIUM)


def test_a_notice_with_conditions_of_its_own_is_no_plain_license() -> None:
    assert detect("MIT License, for non-commercial use only").is_modified


def test_the_title_of_a_known_license_over_other_words_is_not_that_license() -> None:
    words = " ".join(f"clause number{number} grants little" for number in range(120))
    assert detect(f"MIT License\n\n{words}").is_modified


def test_a_text_that_only_points_elsewhere_offers_a_choice() -> None:
    pointer = "This software is made available under the terms of *either* of the licenses found in the two files."
    found = detect(pointer)
    assert (found.license, found.offers_choice) == (None, True)


def test_gnu_texts_are_told_from_their_kin() -> None:
    best = {license_id: unpack(packed) for license_id, packed in TEMPLATES}
    assert best["AGPL-3.0-only"] != best["GPL-3.0-only"]
    assert [match.id for match in matches_of(text_of("LGPL-3.0-only"))] == ["LGPL-3.0-only"]


def test_no_license_text_is_kept_but_its_fingerprint() -> None:
    assert len({license_id for license_id, _ in TEMPLATES}) > 75
    assert all(" " not in packed for _, packed in TEMPLATES)


@given(st.lists(st.integers(min_value=0, max_value=2**24 - 1), max_size=50))
def test_packing_loses_nothing(pairs: list[int]) -> None:
    assert sorted(unpack(pack(pairs)).elements()) == sorted(pairs)


@given(st.text(max_size=400))
@settings(max_examples=200)
def test_no_text_raises(text: str) -> None:
    assert detect(text).confidence in Confidence
    assert all(word.isascii() for word in words_of(text))


@pytest.mark.parametrize("piece", ["copyright (c) 2024 ", "a " * 5, "\n# 1. (a) ", "not for or any ", "either "])
def test_a_text_made_to_cost_much_does_not(piece: str) -> None:
    started = time.monotonic()
    detect(piece * (MAX_TEXT_CHARACTERS // len(piece)))
    assert time.monotonic() - started < 30
