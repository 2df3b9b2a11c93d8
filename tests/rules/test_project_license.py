"""A project's files put together: which texts hold, which are a choice, and when nothing may be concluded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.license_corpus import text_of
from weighhouse.rules.compatibility_rules import Confidence
from weighhouse.rules.licenses import NONE, License, normalise
from weighhouse.rules.project_license import (
    ALL_APPLY,
    METADATA_FILES,
    NOT_RECOGNISED,
    READ_THE_TEXT,
    declared_license,
    license_paths,
    put_together,
)

MIT, APACHE, BSD, LGPL = (text_of(name) for name in ("MIT", "Apache-2.0", "BSD-3-Clause", "LGPL-3.0-only"))
GPL_NOTICE = "This program is under the GNU General Public License version 3 of the License; see the file."
STRANGE = "You may look at this program on Sundays. " * 10


@pytest.mark.parametrize(
    ("texts", "expression"),
    [
        ({"LICENSE": MIT}, "MIT"),
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "Apache-2.0 OR MIT"),
        ({"LICENSE.MIT": MIT, "LICENSE.APACHE2": APACHE}, "Apache-2.0 OR MIT"),
        ({"LICENSE": MIT, "LICENSE-APACHE": APACHE}, "MIT AND Apache-2.0"),
        ({"LICENSE": MIT, "COPYING": BSD}, "BSD-3-Clause AND MIT"),
        ({"COPYING": GPL_NOTICE, "COPYING.LESSER": LGPL}, "LGPL-3.0-only"),
        ({"LICENSE": MIT, "LICENSE.txt": MIT}, "MIT"),
        ({"LICENSES/MIT.txt": MIT, "LICENSES/Apache-2.0.txt": APACHE}, "Apache-2.0 AND MIT"),
        (
            {
                "LICENSE": "Use it under the terms of either of the licenses in the two files, at your option. " * 2,
                "COPYING.MIT": MIT,
                "COPYING.APACHE": APACHE,
            },
            "Apache-2.0 OR MIT",
        ),
        (
            {
                "LICENSE": "Licensed under either of Apache License, Version 2.0 or MIT license at your option.",
                "LICENSE-MIT": MIT,
                "LICENSE-APACHE": APACHE,
            },
            "Apache-2.0 OR MIT",
        ),
        (
            {"LICENSE": MIT, "COPYRIGHT": "Copyright is held by the many people who wrote parts of this program. " * 3},
            "MIT",
        ),
        ({"LICENSE": "MIT", "COPYING": BSD}, "BSD-3-Clause"),
    ],
)
def test_texts_without_metadata(texts: dict[str, str], expression: str) -> None:
    assert put_together(texts, {}).license.expression == expression


def test_no_license_is_lost_where_names_are_alike() -> None:
    alike = {"LICENSE": MIT, "License": BSD, "license": APACHE, "LICENSES/LICENSE": LGPL}
    found = put_together(alike, {}).license
    assert {atom.id for branch in found.branches for atom in branch} == {
        *("MIT", "BSD-3-Clause", "Apache-2.0", "LGPL-3.0-only")
    }
    assert len(found.branches) == 1


def test_several_licenses_that_all_hold_are_warned_of() -> None:
    assert put_together({"LICENSE": MIT, "COPYING": BSD}, {}).warnings == (ALL_APPLY,)
    assert put_together({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, {}).warnings == ()


def test_a_text_that_nobody_knows_beside_one_that_is_known_leaves_all_unknown() -> None:
    found = put_together({"LICENSE": MIT, "LICENSE-models": STRANGE}, {})
    assert (found.license.state, found.files) == ("unknown", ("LICENSE", "LICENSE-models"))


def test_a_changed_text_is_unknown_and_warned_of() -> None:
    found = put_together({"LICENSE": f"{MIT}\nThe Software may not be used for commercial purposes."}, {})
    assert (found.license.expression, found.warnings) == ("LicenseRef-modified", (READ_THE_TEXT,))


def test_metadata_says_how_the_texts_belong_together() -> None:
    texts = {"LICENSE": MIT, "COPYING": APACHE}
    found = put_together(texts, {"Cargo.toml": normalise("MIT OR Apache-2.0")})
    assert (found.license.expression, found.source, found.confidence) == (
        "MIT OR Apache-2.0",
        "metadata",
        Confidence.HIGH,
    )
    assert found.files == ("Cargo.toml", "LICENSE", "COPYING")


def test_metadata_tells_what_a_gnu_text_cannot() -> None:
    found = put_together({"LICENSE": LGPL}, {"setup.cfg": normalise("LGPL-3.0-or-later")})
    assert found.license.expression == "LGPL-3.0-or-later"


@pytest.mark.parametrize(
    ("texts", "declared"),
    [
        ({"LICENSE": APACHE}, {"package.json": normalise("MIT")}),
        ({"LICENSE": f"{APACHE}\nCommons Clause License Condition"}, {"package.json": normalise("Apache-2.0")}),
        ({"LICENSE": MIT, "COPYING": APACHE}, {"package.json": normalise("MIT")}),
        ({"LICENSE": MIT}, {"package.json": normalise("MIT"), "Cargo.toml": normalise("Apache-2.0")}),
    ],
)
def test_files_that_disagree_are_unknown_and_both_are_told(texts: dict[str, str], declared: dict[str, License]) -> None:
    found = put_together(texts, declared)
    assert found.license.state == "unknown"
    assert "package.json says" in found.warnings[0]
    assert " but " in found.warnings[0]


def test_metadata_over_a_text_that_nobody_knows_is_told_with_low_confidence() -> None:
    found = put_together({"LICENSE": STRANGE}, {"package.json": normalise("MIT")})
    assert (found.license.expression, found.confidence, found.warnings) == ("MIT", Confidence.LOW, (NOT_RECOGNISED,))


def test_no_files_are_no_license() -> None:
    assert put_together({}, {}).license == NONE
    assert put_together({}, {"package.json": NONE}).source == "none"


@pytest.mark.parametrize(
    ("path", "text", "expression"),
    [
        ("pyproject.toml", '[project]\nlicense = "MIT OR Apache-2.0"', "MIT OR Apache-2.0"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD-3-Clause"}', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}', ""),
        ("pyproject.toml", '[tool.poetry]\nlicense = "MIT"', "MIT"),
        ("pyproject.toml", "[project\n", ""),
        ("pyproject.toml", "# SPDX-License-Identifier: ISC\n[project]\nname = 'x'", "ISC"),
        ("setup.cfg", "[metadata]\nname = x\nlicense = Apache License 2.0", "Apache-2.0"),
        ("setup.cfg", "no section\n", ""),
        ("package.json", '{"license": "ISC"}', "ISC"),
        ("package.json", '{"license": {"type": "MIT"}}', "MIT"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "ISC"}]}', "MIT OR ISC"),
        ("package.json", '["MIT"]', ""),
        ("package.json", "[" * 100_000, ""),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"', "MIT OR Apache-2.0"),
        ("Cargo.toml", 'package = "MIT"', ""),
    ],
)
def test_what_metadata_declares(path: str, text: str, expression: str) -> None:
    assert declared_license(path, text).expression == expression


def test_a_text_in_the_metadata_is_recognised() -> None:
    quoted = MIT.replace('"', "'")
    assert declared_license("pyproject.toml", f'[project]\nlicense = {{text = """{quoted}"""}}').expression == "MIT"


def test_only_license_files_are_read_and_no_more_than_ten() -> None:
    root = ["README.md", "LICENCE", "UNLICENSE", "copying.txt", "COPYRIGHT", "my-license.txt"]
    assert license_paths(root, []) == ["COPYRIGHT", "LICENCE", "UNLICENSE", "copying.txt"]
    assert len(license_paths([f"LICENSE-{number}" for number in range(30)], ["MIT.txt"])) == 10


@given(st.sampled_from(METADATA_FILES), st.text(max_size=200))
def test_no_metadata_raises(path: str, text: str) -> None:
    assert declared_license(path, text).state in {"named", "unknown", "none"}
