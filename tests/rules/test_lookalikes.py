import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.lookalike_probes import probes_of, whole_key
from weighhouse.rules.lookalikes import LookalikeKind, Severity, compare, lookalike_key, swapped_key, weigh

NAME = st.text("abmnrvilo015-_.", min_size=1, max_size=10)
MAYBE_SPACED = NAME | st.tuples(st.sampled_from(["google", "g00gle"]), NAME).map("/".join)


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
        ("bart", "bert", "bit_flip"),
        ("bret", "bert", "one_edit"),
        ("ebrt", "bert", "one_edit"),
        ("bert-abse", "bert_base", "one_edit"),
        ("llama-2", "llama-3", "number"),
        ("evil/bert", "google/bert", "other_namespace"),
        ("g00gle/bert", "google/bert", "like_namespace"),
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
        ("llama-7b", "llama-13b"),
        ("bert-base-squad", "bert-base"),
        ("bert-cased", "bert-base-cased"),
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


def is_probed(candidate: str, existing: str) -> bool:
    probes = probes_of(candidate)
    return (
        lookalike_key(existing) in probes.exact | probes.edited
        or whole_key(existing) in probes.whole_exact | probes.whole_edited
        or swapped_key(existing) == probes.swapped
    )


# A word that is left out is found among well-known names only; two words that repeat, or two affixes, are no usual trick.
UNPROBED = {LookalikeKind.OMITTED_WORD, LookalikeKind.REPEATED_WORDS, LookalikeKind.CLAIM, LookalikeKind.FORM}


@given(MAYBE_SPACED, MAYBE_SPACED)
def test_the_probes_find_every_name_that_compare_reports(candidate: str, existing: str) -> None:
    found = compare(candidate, existing)
    if found is not None and found.kind not in UNPROBED:
        assert is_probed(candidate, existing)


@pytest.mark.parametrize(
    ("candidate", "existing", "kind"),
    [
        ("bert-bert-base", "bert-base", "repeated_words"),
        ("bert-base", "bert-base-base", "repeated_words"),
        ("bert-base-official", "bert-base", "claim"),
        ("bert-base", "official-bert-base", "claim"),
        ("bertofficial", "bert", "claim"),
        ("llama-hf", "llama", "form"),
        ("llama", "llama-gguf", "form"),
        ("llame", "llamd", "bit_flip"),
        ("google-ai/bert", "google/bert", "like_namespace"),
        ("googel/bert", "google/bert", "like_namespace"),
        ("bеrt", "bert", "digits"),
    ],
)
def test_the_tricks_of_impostors_are_found_by_the_probes(candidate: str, existing: str, kind: str) -> None:
    found = compare(candidate, existing)
    assert found is not None
    assert found.kind == kind
    assert is_probed(candidate, existing)


def test_a_likeness_is_graver_the_more_the_other_is_used() -> None:
    for kind in LookalikeKind:
        weighed = [weigh(kind, downloads) for downloads in (0, 10, 1000)]
        assert weighed == sorted(weighed, key=list(Severity).index)
        assert weigh(kind, 0, is_well_known=True) == weighed[-1]
    assert weigh(LookalikeKind.SEPARATORS, 10) is Severity.HIGH
    assert weigh(LookalikeKind.NUMBER, 10**9) is Severity.LOW
    assert weigh(LookalikeKind.OTHER_NAMESPACE, 10**9) is Severity.MEDIUM
    assert weigh(LookalikeKind.OTHER_NAMESPACE, 10**9, is_own_namespace=True) is Severity.LOW


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
def test_one_typing_error_is_always_reported_and_probed(pair: tuple[str, str]) -> None:
    name, edited = pair
    assert (compare(edited, name) is None) == (edited == name)
    assert is_probed(edited, name)


@given(MAYBE_SPACED, MAYBE_SPACED)
def test_looking_alike_is_mutual(one: str, other: str) -> None:
    there, back = compare(one, other), compare(other, one)
    if LookalikeKind.OMITTED_WORD in {there and there.kind, back and back.kind}:
        return  # Leaving a word out is not adding one.
    assert (there and there.kind) == (back and back.kind)


@given(MAYBE_SPACED)
def test_a_key_ignores_case_and_separators(name: str) -> None:
    assert lookalike_key(name) == lookalike_key(name.upper()) == lookalike_key(name.replace("_", "-"))
    assert not set(lookalike_key(name)) & set("-_./01i5")
