"""Parents: the union of what a card and configuration files name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.parents import MAX_PARENTS, RELATIONS, ParentRef, files_to_read, parent_references


def named(front_matter: dict[str, Any] | None = None, own: tuple[str, ...] = (), **texts: Any) -> list[ParentRef]:
    paths = {"adapter": "adapter_config.json", "config": "config.json", "merge": "mergekit_config.yml"}
    files = {paths[key]: text if isinstance(text, str) else json.dumps(text) for key, text in texts.items()}
    return list(parent_references(front_matter or {}, files, own_names=own))


def test_every_source_counts() -> None:
    found = named(
        {"base_model": "a/card"},
        adapter={"base_model_name_or_path": "b/adapted"},
        merge="models:\n  - model: c/one\n  - model: c/two+d/lora@main\nbase_model: c/base\n",
        config={"_name_or_path": "e/config"},
    )
    assert {(one.name, one.relation) for one in found} == {
        ("a/card", "finetune"),
        ("b/adapted", "adapter"),
        ("c/base", "merge"),
        ("c/one", "merge"),
        ("c/two", "merge"),
        ("d/lora", "merge"),
        ("e/config", "finetune"),
    }


def test_slices_of_a_merge_count() -> None:
    merge = (
        "slices:\n  - sources:\n      - model: a/x\n        layer_range: [0, 4]\n      - model: {model: {path: b/y}}\n"
    )
    assert [one.name for one in named(merge=merge)] == ["a/x", "b/y"]


def test_a_parent_named_twice_is_one_and_the_configuration_says_how() -> None:
    found = named({"base_model": "a/Base"}, adapter={"base_model_name_or_path": "A/base"})
    assert found == [ParentRef("a/Base", "adapter", "README.md")]


def test_the_relation_that_the_card_states_wins() -> None:
    card = {"base_model": ["a/b"], "base_model_relation": "quantized"}
    assert named(card, adapter={"base_model_name_or_path": "a/b"})[0].relation == "quantized"
    assert named({"base_model": ["a/b"], "base_model_relation": "cousin"})[0].relation == "finetune"


def test_several_bases_are_a_merge() -> None:
    assert {one.relation for one in named({"base_model": ["a/b", "c/d"]})} == {"merge"}


def test_a_quantized_configuration_says_so() -> None:
    assert named(config={"_name_or_path": "a/b", "quantization_config": {"bits": 4}})[0].relation == "quantized"


@pytest.mark.parametrize(
    "path", ["/home/me/run", "./out", "..", "../x/y", "C:\\models", "outputs/checkpoint-500", "", 7, None]
)
def test_a_local_path_is_no_parent(path: object) -> None:
    assert named(config={"_name_or_path": path}) == []


def test_a_bare_word_in_a_configuration_may_be_a_folder() -> None:
    assert named(config={"_name_or_path": "gpt2"}) == [
        ParentRef("gpt2", "finetune", "config.json", maybe_local_name=True)
    ]
    assert named({"base_model": "gpt2"}, config={"_name_or_path": "gpt2"})[0].maybe_local_name is False


@pytest.mark.parametrize("name", ["acme/tiny", "ACME/Tiny", "tiny"])
def test_the_model_itself_is_no_parent(name: str) -> None:
    assert named({"base_model": name}, own=("tiny", "acme/tiny"), config={"_name_or_path": name}) == []


def test_an_address_is_read_as_its_id() -> None:
    assert named({"base_model": "https://huggingface.co/a/b/tree/main"})[0].name == "a/b"


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 5000, '{"_name_or_path": {}}'])
def test_a_broken_configuration_names_nothing(text: str) -> None:
    assert named(config=text, adapter=text, merge=text) == []


def test_only_the_nearest_config_is_read_and_every_adapter() -> None:
    paths = [
        "m/config.json",
        "m/1_Pooling/config.json",
        "m/lora/adapter_config.json",
        "adapter_config.json",
        "m/weights.bin",
    ]
    assert files_to_read(paths) == ["adapter_config.json", "m/lora/adapter_config.json", "m/config.json"]


@given(
    st.lists(st.text(max_size=12) | st.sampled_from(["a/b", "gpt2", "x/y"]), max_size=60),
    st.dictionaries(
        st.sampled_from(["config.json", "adapter_config.json", "mergekit_config.yaml"]), st.text(max_size=40)
    ),
)
def test_any_input_gives_few_sane_names(bases: list[str], texts: dict[str, str]) -> None:
    found = parent_references({"base_model": bases}, texts)
    assert len(found) <= MAX_PARENTS
    assert len({one.name.lower() for one in found}) == len(found)
    assert all(one.name.isascii() and one.name.isprintable() and one.relation in RELATIONS for one in found)
