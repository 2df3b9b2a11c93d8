import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.names import (
    RESERVED_FIRST_PARTS,
    InvalidName,
    InvalidUsername,
    check_name,
    check_username,
    name_key,
    namespace_of,
)

# fmt: off
VERBS = (
    "tree", "revision", "refs", "commit", "commits", "preupload", "paths-info", "branch", "tag", "settings",
    "discussions", "xet-read-token", "xet-write-token", "auth-check", "super-squash", "resolve",
)
# fmt: on

ALPHABET = set(string.ascii_letters + string.digits + "._-")


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "bert-base_uncased.v2",
        "google/bert",
        "_private_",
        "_/_",
        "1/2",
        "my.git.tool",
        "apis",
        "admin/model",
        "google/api",
        "google/users",
        "tree/model",
        "xet-token",
        "x" * 96,
        "n" * 47 + "/" + "m" * 48,
    ],
)
def test_a_good_name_is_taken_as_it_is_written(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "needs a name"),
        ("x" * 97, "at most 96"),
        ("n" * 48 + "/" + "m" * 48, "at most 96"),
        ("a/b/c", "one slash"),
        ("/a", "empty"),
        ("a/", "empty"),
        ("/", "empty"),
        (".", "begins or ends"),
        ("..", "begins or ends"),
        ("-a", "begins or ends"),
        ("a-", "begins or ends"),
        (".a", "begins or ends"),
        ("a.", "begins or ends"),
        ("a/-b", "begins or ends"),
        ("a-/b", "begins or ends"),
        ("a/../b", "one slash"),
        ("a--b", "'--'"),
        ("a..b", "'..'"),
        ("a/b..c", "'..'"),
        ("model.git", ".git"),
        ("ns/model.GIT", ".git"),
        ("a b", "' '"),
        ("a\n", r"'\n'"),
        ("a\x00b", r"'\x00'"),
        ("a\\b", "not"),
        ("a%2fb", "'%'"),
        ("bеrt", r"'\u0435'"),
        ("be\u200brt", r"'\u200b'"),
        ("be\ud800rt", r"'\ud800'"),
        ("model٣", r"'\u0663'"),
        ("\uff47oogle/bert", r"'\uff47'"),
    ],
)
def test_a_bad_name_is_refused_with_what_is_wrong(name: str, told: str) -> None:
    with pytest.raises(InvalidName) as refusal:
        check_name(name)
    assert told in refusal.value.detail
    assert refusal.value.field == "name"
    refusal.value.detail.encode("ascii")


@pytest.mark.parametrize("word", sorted(RESERVED_FIRST_PARTS))
def test_paths_of_the_server_are_no_first_parts(word: str) -> None:
    for name in (word, word.upper(), f"{word}/model"):
        with pytest.raises(InvalidName, match="path of the server"):
            check_name(name)
    assert check_name(f"google/{word}") == f"google/{word}"


def test_the_words_kept_for_the_server_are_those_of_the_contract() -> None:
    contract = (
        "api, audit, authenticate, datasets, docs, health, healthz, logs, metrics, openapi.json, package, packages, "
        "problems, readyz, redoc, reset, spaces, static, user, users"
    )
    assert set(contract.split(", ")) == RESERVED_FIRST_PARTS


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_of_the_hub_are_no_last_parts(verb: str) -> None:
    for name in (verb, verb.upper(), f"google/{verb}"):
        with pytest.raises(InvalidName, match="verb of the Hub"):
            check_name(name)
    assert check_name(f"{verb}/model") == f"{verb}/model"


@given(st.text(max_size=100) | st.text("ab.-_/", max_size=12))
def test_only_names_by_the_rules_get_through(name: str) -> None:
    try:
        check_name(name)
    except InvalidName:
        return
    parts = name.split("/")
    assert 1 <= len(parts) <= 2
    assert len(name) <= 96
    for part in parts:
        assert part
        assert set(part) <= ALPHABET
        assert part.strip("-.") == part
        assert "--" not in part
        assert ".." not in part


@pytest.mark.parametrize("name", ["admin", "ada", "ada.lovelace", "user_1", "_bot", "A", "tree", "x" * 64])
def test_a_good_user_name_is_taken(name: str) -> None:
    assert check_username(name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "a b", "a/b", "a\x00", "a\ud800", "ü", ".a", "a-", "a--b", "api", "Users", "a\x1b[0m"]
)
def test_a_bad_user_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidUsername) as refusal:
        check_username(name)
    assert refusal.value.field == "username"


@given(st.text(max_size=66) | st.text("ab.-_", max_size=8))
def test_every_user_can_have_packages_under_their_own_name(username: str) -> None:
    try:
        check_username(username)
    except InvalidUsername:
        return
    assert namespace_of(check_name(f"{username}/model")) == username


def test_letter_case_does_not_tell_names_apart() -> None:
    assert name_key("Google/BERT") == name_key("google/bert") != name_key("google/bart")
