import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.lookalikes import MAX_KEY_EDITS, LookalikeKind, compare, lookalike_key, swapped_key

NAME = st.text("abmnrvilo015-_.", min_size=1, max_size=10)
MAYBE_SPACED = NAME | st.tuples(st.sampled_from(["google", "g00gle"]), NAME).map("/".join)
FOUND_BY_EQUAL_KEY = {LookalikeKind.CASE, LookalikeKind.DIGITS, LookalikeKind.OTHER_NAMESPACE}


@pytest.mark.parametrize(
    ("candidate", "existing", "kind"),
    [
        ("BERT-base", "bert-base", "case"),
        ("Google/bert", "google/BERT", "case"),
        ("bert_base", "bert-base", "separators"),
        ("bertbase", "bert.base", "separators"),
        ("google-bert", "google/bert", "separators"),
        ("evil/bert_base", "google/bert-base", "separators"),
        ("1lama", "llama", "digits"),
        ("Ilama", "llama", "digits"),
        ("r0berta", "roberta", "digits"),
        ("t5-small", "ts-small", "digits"),
        ("learning", "leaming", "digits"),
        ("wide", "vvide", "digits"),
        ("base-bert", "bert-base", "swapped_words"),
        ("evil/base_BERT", "google/bert-base", "swapped_words"),
        ("bertt", "bert", "one_edit"),
        ("brt-base", "bert-base", "one_edit"),
        ("bart", "bert", "one_edit"),
        ("bret", "bert", "one_edit"),
        ("ebrt", "bert", "one_edit"),
        ("bert-abse", "bert_base", "one_edit"),
        ("llama-2", "llama-3", "one_edit"),
        ("evil/bert", "google/bert", "other_namespace"),
        ("g00gle/bert", "google/bert", "other_namespace"),
        ("bert", "google/Bert", "other_namespace"),
    ],
)
def test_a_confusable_name_is_found_with_its_kind(candidate: str, existing: str, kind: str) -> None:
    for one, other in ((candidate, existing), (existing, candidate)):
        found = compare(one, other)
        assert found is not None
        assert found.kind == kind
        assert found.existing == other
        assert f"'{one}'" in found.reason
        assert f"'{other}'" in found.reason


@pytest.mark.parametrize(
    ("candidate", "existing"),
    [
        ("bert", "bert"),
        ("google/bert", "google/bert"),
        ("bert", "gpt2"),
        ("bert-base", "bert-large"),
        ("t5a", "t5b"),
        ("gpt", "gpt2"),
        ("bert", "tbre"),
        ("bertxx", "bert"),
        ("abcd", "badc"),
        ("google/bert", "google/llama"),
    ],
)
def test_names_of_their_own_are_not_reported(candidate: str, existing: str) -> None:
    assert compare(candidate, existing) is None


def distance(one: str, other: str) -> int:
    """Levenshtein, by the book."""
    row = list(range(len(other) + 1))
    for i, mine in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, theirs in enumerate(other, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (mine != theirs))
    return row[-1]


@given(MAYBE_SPACED, MAYBE_SPACED)
def test_the_keys_find_every_name_that_compare_reports(candidate: str, existing: str) -> None:
    found = compare(candidate, existing)
    one, other = lookalike_key(candidate), lookalike_key(existing)
    if found is None:
        return
    if found.kind in FOUND_BY_EQUAL_KEY:
        assert one == other
    elif found.kind is LookalikeKind.SWAPPED_WORDS:
        assert swapped_key(candidate) == swapped_key(existing)
    elif found.kind is LookalikeKind.ONE_EDIT:
        assert distance(one, other) <= MAX_KEY_EDITS


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str]:
    name = draw(st.text("abmnrvilo015", min_size=5, max_size=12))
    at = draw(st.integers(0, len(name) - 2))
    letter = draw(st.sampled_from("abrnv1"))
    edited = [
        name[:at] + letter + name[at:],
        name[:at] + name[at + 1 :],
        name[:at] + letter + name[at + 1 :],
        name[:at] + name[at + 1] + name[at] + name[at + 2 :],
    ]
    return name, draw(st.sampled_from(edited))


@given(edits())
def test_one_typing_error_is_always_reported_and_within_reach_of_the_key(pair: tuple[str, str]) -> None:
    name, edited = pair
    assert (compare(edited, name) is None) == (edited == name)
    assert distance(lookalike_key(edited), lookalike_key(name)) <= MAX_KEY_EDITS


@given(MAYBE_SPACED, MAYBE_SPACED)
def test_looking_alike_is_mutual(one: str, other: str) -> None:
    there, back = compare(one, other), compare(other, one)
    assert (there and there.kind) == (back and back.kind)


@given(MAYBE_SPACED)
def test_a_key_ignores_case_and_separators(name: str) -> None:
    assert lookalike_key(name) == lookalike_key(name.upper()) == lookalike_key(name.replace("_", "-"))
    assert not set(lookalike_key(name)) & set("-_./01i5")
