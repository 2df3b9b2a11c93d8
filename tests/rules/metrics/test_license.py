"""Every row of the license table of the metrics specification, and what may not change a verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from tests.rules.test_licenses import MIT_TEXT
from weighhouse.rules.evidence import HubModel, Missing, Parent, Reason
from weighhouse.rules.metrics import license  # noqa: A004 - the metric's name
from weighhouse.rules.metrics.result import Result, Status

APACHE = "Apache License\nVersion 2.0, January 2004\nhttp://www.apache.org/licenses/"
GPL3 = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007"
NC = "Attribution-NonCommercial 4.0 International"
HOUSE = "You may run this model on the premises of the buyer, on Tuesdays and with " + "care " * 20


def card(license_: str, more: str = "") -> str:
    return f"---\nlicense: {license_}\n{more}---\n# Tiny\n"


def weigh(files: dict[str, bytes | str] | Missing, **facts: object) -> Result:
    return license.measure(PackageEvidence(files, **facts), AS_OF)  # type: ignore[arg-type]  # the caller's keywords


def parent(license_: str | None, name: str = "meta/base", closes_cycle: bool = False) -> Parent:
    return Parent(name, "finetune", "README.md", license=license_, closes_cycle=closes_cycle)


@pytest.mark.parametrize(
    ("files", "score"),
    [
        ({"README.md": card("apache-2.0"), "LICENSE": APACHE}, 1.00),
        ({"README.md": card("mit")}, 0.90),
        ({"README.md": card("Apache-2.0 OR GPL-3.0-only")}, 0.90),
        ({"README.md": card("mit"), "LICENSE": GPL3}, 0.40),
        ({"README.md": card("cc-by-nc-4.0"), "LICENSE": NC}, 0.20),
        ({"README.md": "# Tiny\n"}, 0.00),
        ({}, 0.00),
        ({"LICENSE": MIT_TEXT}, 1.00),
        ({"README.md": card("other"), "LICENSE": HOUSE}, 0.30),
        ({"README.md": card("other")}, 0.10),
        ({"LICENSE.md": HOUSE}, 0.30),
        ({"README.md": card("mit"), "LICENSE": ""}, 0.90),
        ({"README.md": card("lgpl-3.0")}, 0.70),
        ({"README.md": card("llama3")}, 0.50),
    ],
)
def test_the_table_of_examples(files: dict[str, bytes | str], score: float) -> None:
    assert weigh(files).score == score


def test_a_contradicted_declaration_is_named_first() -> None:
    result = weigh({"README.md": card("mit"), "LICENSE": GPL3})
    assert result.reasons[0].startswith("declared and shipped licenses disagree")


def test_a_parent_with_narrower_terms_decides() -> None:
    result = weigh({"README.md": card("mit"), "LICENSE": MIT_TEXT}, parents=[parent("llama3")])
    assert result.score == 0.50
    assert "a parent has narrower terms" in result.reasons[0]
    assert (
        weigh({"README.md": card("mit"), "LICENSE": MIT_TEXT}, parents=[parent("llama3", closes_cycle=True)]).score
        == 1.0
    )


def test_a_parent_does_not_license_an_undeclared_model() -> None:
    assert weigh({"README.md": "# Tiny"}, parents=[parent("mit")]).score == 0.0


def test_an_unknown_parent_license_is_said_and_lowers_nothing() -> None:
    result = weigh({"README.md": card("mit"), "LICENSE": MIT_TEXT}, parents=[parent(None)])
    assert result.score == 1.0
    assert any("not known" in reason for reason in result.reasons)
    outage = Missing(Reason.UNREACHABLE, "away")
    assert weigh({"README.md": card("mit"), "LICENSE": MIT_TEXT}, parents=outage).score == 1.0


def test_other_means_the_shipped_text_unless_its_name_is_known() -> None:
    assert weigh({"README.md": card("other"), "LICENSE": MIT_TEXT}).score == 1.0
    assert weigh({"README.md": card("other", "license_name: house\n"), "LICENSE": MIT_TEXT}).score == 1.0
    assert weigh({"README.md": card("other", "license_name: qwen-research\n"), "LICENSE": MIT_TEXT}).score == 0.2


def test_the_less_favourable_of_card_and_hub_decides() -> None:
    hub = HubModel("acme/tiny", "0" * 40, license="cc-by-nc-4.0")
    assert weigh({"README.md": card("mit"), "LICENSE": MIT_TEXT}, hub=hub).score == 0.20
    assert weigh({"README.md": "# Tiny", "LICENSE": NC}, hub=HubModel("a/b", "0" * 40, license="mit")).score == 0.20
    assert weigh({"README.md": "# Tiny"}, hub=HubModel("a/b", "0" * 40, license="mit")).score == 0.90


def test_a_choice_of_texts_is_a_choice_and_lgpl_comes_in_two_files() -> None:
    both: dict[str, bytes | str] = {"LICENSE-MIT": MIT_TEXT, "LICENSE-GPL": GPL3}
    assert weigh(both).score == 1.0
    assert weigh({"LICENSE": MIT_TEXT, "code/COPYING": GPL3}).score == 0.40
    lesser = "GNU LESSER GENERAL PUBLIC LICENSE Version 3"
    assert weigh({"COPYING": GPL3, "COPYING.LESSER": lesser}).score == 0.80


def test_tags_in_bundled_code_count() -> None:
    code = "# SPDX-License-Identifier: AGPL-3.0-only\nimport os\n"
    assert weigh({"README.md": card("mit"), "LICENSE": MIT_TEXT, "modeling.py": code}).score == 0.30


def test_a_text_in_an_old_encoding_is_read() -> None:
    latin = MIT_TEXT.replace("Somebody", "Müller").encode("latin-1")
    assert weigh({"README.md": card("mit"), "LICENSE": latin}).score == 1.0


def test_a_program_named_license_is_no_text() -> None:
    assert weigh({"README.md": card("mit"), "license.py": "x = 1\n" * 30}).score == 0.9


def test_no_files_and_no_card_is_not_a_verdict() -> None:
    away = Missing(Reason.UNREACHABLE, "The hub did not answer")
    with pytest.raises(Missing) as missing:
        weigh(away, card=away)
    assert missing.value.reason is Reason.UNREACHABLE
    with pytest.raises(Missing):
        weigh({"model.bin": b""}, card=away)
    assert weigh({"LICENSE": MIT_TEXT}, card=away).score == 1.0
    assert weigh(away, card=card("mit")).score == 0.9


def test_a_policy_caps_code_under_terms_it_cannot_take() -> None:
    with_code = PackageEvidence({"README.md": card("apache-2.0"), "LICENSE": APACHE, "run.py": "pass"})
    assert license.measure(with_code, AS_OF).score == 1.0
    capped = license.measure(with_code, AS_OF, policy="LGPL-2.1-only")
    assert capped.score == 0.40
    assert "OSADL matrix says NO" in capped.reasons[0]
    without_code = PackageEvidence({"README.md": card("apache-2.0"), "LICENSE": APACHE})
    assert license.measure(without_code, AS_OF, policy="LGPL-2.1-only").score == 1.0
    unsure = PackageEvidence({"README.md": card("cc-by-4.0"), "run.py": "pass"})
    assert license.measure(unsure, AS_OF, policy="LGPL-2.1-only").score == 0.9


@given(
    st.sampled_from(["mit", "gpl-3.0", "llama3", "other", "x y z", "", "[mit, gpl-3.0]", "{a: 1}", "1.0", "true"]),
    st.sampled_from(["", MIT_TEXT, GPL3, HOUSE, NC]),
    st.lists(st.sampled_from(["mit", "agpl-3.0", None, "other"]), max_size=3),
)
def test_scores_stay_in_range_and_a_parent_never_helps(declared: str, text: str, parents: list[str | None]) -> None:
    files: dict[str, bytes | str] = {"README.md": card(declared), "LICENSE": text}
    alone = weigh(files)
    inherited = weigh(files, parents=[parent(one, f"a/{number}") for number, one in enumerate(parents)])
    assert alone.status is inherited.status is Status.OK
    assert alone.score is not None
    assert inherited.score is not None
    assert 0 <= inherited.score <= alone.score <= 1
    assert inherited == weigh(files, parents=[parent(one, f"a/{number}") for number, one in enumerate(parents)])
    assert 1 <= len(inherited.reasons) <= 5


LINKED = "license_link: TERMS.txt\n"


@pytest.mark.parametrize(
    ("files", "score"),
    [
        ({"README.md": card("other", LINKED), "TERMS.txt": MIT_TEXT}, 1.00),
        ({"README.md": card("mit", LINKED), "TERMS.txt": GPL3}, 0.40),
        ({"README.md": card("other", LINKED), "TERMS.txt": HOUSE}, 0.30),
        # What is not there is not read, and no license.
        ({"README.md": card("other", LINKED)}, 0.10),
        ({"README.md": card("other", "license_link: https://hub.example/acme/tiny/blob/main/TERMS.txt\n")}, 0.10),
        (
            {
                "README.md": card("other", "license_link: https://hub.example/acme/tiny/blob/main/TERMS.txt\n"),
                "TERMS.txt": MIT_TEXT,
            },
            1.00,
        ),
        # The file of another model says nothing of this one.
        (
            {
                "README.md": card("other", "license_link: https://hub.example/meta/base/blob/main/TERMS.txt\n"),
                "TERMS.txt": MIT_TEXT,
            },
            0.10,
        ),
        ({"README.md": card("other", "license_link: https://www.apache.org/licenses/LICENSE-2.0\n")}, 0.90),
        ({"README.md": "---\nlicense_link: https://opensource.org/license/mit\n---\n# T\n"}, 0.90),
        # A friendlier page beats neither the declared name nor the shipped text.
        ({"README.md": card("cc-by-nc-4.0", "license_link: https://opensource.org/license/mit\n")}, 0.20),
        ({"README.md": card("other", "license_link: https://spdx.org/licenses/MIT\n"), "LICENSE": GPL3}, 0.40),
        ({"README.md": card("other", "license_link: https://spdx.example/licenses/MIT\n")}, 0.10),
    ],
)
def test_the_link_of_the_card_names_a_file_or_a_known_page(files: dict[str, bytes | str], score: float) -> None:
    assert weigh(files).score == score


def test_the_evidence_of_a_verdict_is_named() -> None:
    facts = {"hub": HubModel("acme/tiny", "f" * 40, license="mit"), "parents": [parent("llama3")]}
    result = weigh({"README.md": card("mit"), "LICENSE": MIT_TEXT}, **facts)
    assert [(one.kind, one.ref) for one in result.sources] == [
        ("package", "acme/tiny"),
        ("hub", f"acme/tiny@{'f' * 40}"),
        ("hub", "meta/base license=llama3"),
    ]
