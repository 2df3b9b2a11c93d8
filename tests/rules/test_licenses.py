"""Licenses: identifiers in one form, texts recognised, values as the metrics specification has them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules import licenses
from weighhouse.rules.license_tables import ALIASES, FAMILIES, Category, category_of
from weighhouse.rules.licenses import MAX_BRANCHES, Atom, License, normalise, recognise, together, value

MIT_TEXT = """MIT License

Copyright (c) 2024 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software.
"""
BSD_TEXT = """Redistribution and use in source and binary forms are permitted provided that:
2. Redistributions in binary form must reproduce the above copyright notice in the documentation.
"""

names = st.sampled_from([*ALIASES, "MIT", "GPL-3.0-or-later", "CC-BY-NC-4.0", "LicenseRef-x", "AGPL-3.0", "made-up"])


@pytest.mark.parametrize(
    ("stated", "expression"),
    [
        ("apache-2.0", "Apache-2.0"),
        (" 'Apache License 2.0' ", "Apache-2.0"),
        ("GPLv3+", "GPL-3.0-or-later"),
        ("gpl-3.0", "GPL-3.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("cc-by", "CC-BY-4.0"),
        ("lgpl-lr", "LGPLLR"),
        ("odbl", "ODbL-1.0"),
        ("openrail++", "LicenseRef-openrail-pp"),
        ("Llama3.1", "LicenseRef-llama3.1"),
        ("LicenseRef-Llama3.1", "LicenseRef-llama3.1"),
        ("public domain", "LicenseRef-public-domain"),
        ("all rights reserved", "LicenseRef-proprietary"),
        ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        (["mit", "apache-2.0"], "MIT OR Apache-2.0"),
        (["mit"], "MIT"),
        ("MIT OR (Apache-2.0 AND gpl-3.0)", "MIT OR (Apache-2.0 AND GPL-3.0-only)"),
        ("MIT AND (GPL-2.0 OR llama3)", "(MIT AND GPL-2.0-only) OR (MIT AND LicenseRef-llama3)"),
        ("gpl-2.0-only with classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("house-rules", "LicenseRef-house-rules"),
        ("bsd", "LicenseRef-bsd"),
    ],
)
def test_every_spelling_has_one_form(stated: object, expression: str) -> None:
    assert normalise(stated).state == "named"
    assert normalise(stated).expression == expression


@pytest.mark.parametrize("stated", [None, "", "  ", "none", "None", [], [None, ""]])
def test_nothing_stated_is_no_license(stated: object) -> None:
    assert normalise(stated).state == "none"


@pytest.mark.parametrize(
    "stated",
    [
        *("unknown", "NOASSERTION", "other", "MIT AND (", "MIT, Apache", "NOT MIT", "https://example.org/license"),
        *("(" * 400, "x" * 1001, " AND ".join(f"(a{n} OR b{n})" for n in range(7))),
        *(True, 3, 1e400, {"mit": 1}, [["mit"]]),
    ],
)
def test_what_cannot_be_read_is_unknown(stated: object) -> None:
    assert normalise(stated).state == "unknown"


def test_a_list_that_holds_itself_is_no_trap() -> None:
    looped: list[object] = ["mit"]
    looped.append(looped)
    assert normalise(looped).expression == "MIT"


def test_other_is_looked_up_by_its_name() -> None:
    assert normalise("other", name="qwen-research").expression == "LicenseRef-qwen-research"
    assert normalise("other", name="unknown").state == "unknown"


def test_the_author_spelling_is_shown() -> None:
    assert normalise("GPL-3.0").display == "GPL-3.0"
    assert normalise("GPL-3.0-only").display == "GPL-3.0-only"
    assert normalise("openrail++").display == "openrail++"
    assert normalise("see the file").display == "see the file"


def test_an_assumed_version_and_an_assumed_choice_are_said() -> None:
    assert "no version" in normalise("cc-by").notes[0]
    assert "choice" in normalise(["mit", "isc"]).notes[0]


@given(st.text(max_size=60) | st.lists(st.text(max_size=20), max_size=5) | st.integers() | st.floats() | st.none())
def test_normalising_never_fails(stated: object) -> None:
    license_ = normalise(stated, name=stated)
    assert len(license_.branches) <= MAX_BRANCHES
    assert 0 <= value(license_, text_shipped=True) <= 1


@given(st.lists(names, min_size=1, max_size=4), st.sampled_from([" OR ", " AND "]))
def test_an_expression_is_worth_its_best_choice_and_its_worst_duty(atoms: list[str], operator: str) -> None:
    readable = [
        name
        for name in atoms
        if normalise(name).expression.count("LicenseRef") == 0 and " " not in name and "," not in name
    ]
    if not readable:
        return
    worth = [value(normalise(name), text_shipped=False) for name in readable]
    expected = max(worth) if operator == " OR " else min(worth)
    assert value(normalise(operator.join(readable)), text_shipped=False) == expected


@given(names)
def test_a_normal_form_stays_as_it_is(name: str) -> None:
    once = normalise(name)
    assert once.state != "named" or normalise(once.expression).expression == once.expression


@pytest.mark.parametrize(
    ("stated", "with_text", "without_text"),
    [
        (
            "mit bsd-3-clause isc bsl-1.0 zlib unlicense cc0-1.0 cc-by-4.0 pddl cdla-permissive-2.0 openmdw-1.1 afl-3.0 bsd 0bsd",
            1.0,
            1.0,
        ),
        ("lgpl-3.0 mpl-2.0 epl-2.0 eupl-1.2 cc-by-sa-4.0 odbl cdla-sharing-1.0 lgpl gfdl", 0.8, 0.8),
        ("openrail openrail++ bigscience-bloom-rail-1.0 creativeml-openrail-m bigcode-openrail-m deepseek", 0.6, 0.6),
        ("llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma grok2-community qwen falcon-180b", 0.5, 0.5),
        ("gpl-2.0 gpl-3.0 gpl", 0.4, 0.4),
        ("agpl-3.0 osl-3.0", 0.3, 0.3),
        ("cc", 0.3, 0.3),
        ("other unknown house-rules", 0.3, 0.1),
        (
            "cc-by-nc-4.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 mistral-research fair-noncommercial-research-license apple-amlr",
            0.2,
            0.2,
        ),
        ("intel-research h-research", 0.2, 0.2),
        ("cc-by-nc-nd-4.0 proprietary", 0.1, 0.1),
    ],
)
def test_each_class_has_its_value(stated: str, with_text: float, without_text: float) -> None:
    for name in stated.split():
        assert value(normalise(name), text_shipped=True) == with_text, name
        assert value(normalise(name), text_shipped=False) == without_text, name


def test_a_linking_exception_softens_the_gpl() -> None:
    assert value(normalise("GPL-2.0-only WITH Classpath-exception-2.0"), text_shipped=True) == 0.6
    assert Atom("GPL-2.0-only", "Classpath-exception-2.0").category is Category.WEAK_LIBRARY
    assert value(normalise("GPL-2.0-only WITH Bison-exception-2.2"), text_shipped=True) == 0.4


def test_the_operators_own_license_is_worth_all() -> None:
    own = frozenset({Atom("LGPL-2.1-only")})
    assert value(normalise("LGPL-2.1"), text_shipped=True, preferred=own) == 1.0
    assert value(normalise("LGPL-3.0"), text_shipped=True, preferred=own) == 0.8


def test_every_alias_leads_to_a_known_kind() -> None:
    unknown = {name for name in ALIASES.values() if category_of(name) is Category.UNKNOWN and name not in FAMILIES}
    assert unknown == set()


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (MIT_TEXT, "MIT"),
        (BSD_TEXT, "BSD-2-Clause"),
        (BSD_TEXT + "3. Neither the name of the holder nor its contributors", "BSD-3-Clause"),
        ("                  Apache License\n           Version 2.0, January 2004", "Apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007 ... GNU Affero General Public License", "GPL-3.0-only"),
        (
            "GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1 ... the ordinary GNU General Public License, version 2",
            "LGPL-2.1-only",
        ),
        ("Mozilla Public License Version 2.0 ... GNU Lesser General Public License, Version 2.1", "MPL-2.0"),
        ("# Attribution-NonCommercial-ShareAlike 4.0 International", "CC-BY-NC-SA-4.0"),
        ("Attribution-NoDerivatives 4.0 International", "CC-BY-ND-4.0"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "LicenseRef-llama3"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "LicenseRef-llama3.1"),
        ("CreativeML Open RAIL++-M License", "LicenseRef-openrail-pp"),
        ("CreativeML Open RAIL-M\ndated August 22, 2022", "LicenseRef-creativeml-openrail-m"),
        ("// SPDX-License-Identifier: MIT OR Apache-2.0\n", "MIT OR Apache-2.0"),
        ("# SPDX-License-Identifier: GPL-3.0-or-later\nGNU General Public License version 3", "GPL-3.0-or-later"),
        ("SPDX-License-Identifier: MIT\nGNU GENERAL PUBLIC LICENSE Version 3", "MIT AND GPL-3.0-only"),
        ('"Commons Clause" License Condition v1.0\nApache License Version 2.0', "LicenseRef-modified AND Apache-2.0"),
    ],
)
def test_a_text_is_known_by_its_tag_and_title(text: str, expression: str) -> None:
    found = recognise(text)
    assert found is not None
    assert found.expression == expression


@pytest.mark.parametrize("text", ["", "Do as you like.", "SPDX-License-Identifier: (((", "free of charge"])
def test_a_text_without_title_is_not_recognised(text: str) -> None:
    assert recognise(text) is None


@given(st.text(max_size=300))
def test_recognising_never_fails(text: str) -> None:
    found = recognise(text)
    assert found is None or found.state in ("named", "unknown")


@pytest.mark.parametrize(
    ("name", "expression"),
    [("GPL-3", "GPL-3.0-only"), ("LGPL-2.1", "LGPL-2.1-only"), ("MPL-2.0", "MPL-2.0"), ("Apache-2.0", "Apache-2.0")],
)
def test_whole_texts_name_one_license(name: str, expression: str) -> None:
    text = Path("/usr/share/common-licenses", name)
    if not text.exists():
        pytest.skip("this system ships no license texts")
    found = recognise(text.read_text(encoding="utf-8"))
    assert found is not None
    assert found.expression == expression


def test_too_many_alternatives_have_no_name() -> None:
    wide = License("wide", "named", tuple((Atom(f"LicenseRef-{number}"),) for number in range(9)))
    assert together([wide, wide]).state == "unknown"


def test_threads_that_ask_first_at_the_same_time_read_the_same() -> None:
    licenses._made_licensing.cache_clear()
    together_now = threading.Barrier(8)

    def read(number: int) -> str:
        together_now.wait()
        return normalise(("bsd-3-clause", "zlib AND MIT", "EPL-2.0", "wtfpl")[number % 4]).expression

    with ThreadPoolExecutor(8) as pool:
        read_by_all = list(pool.map(read, range(8)))
    assert read_by_all == ["BSD-3-Clause", "Zlib AND MIT", "EPL-2.0", "WTFPL"] * 2
