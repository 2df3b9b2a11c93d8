"""What the environment tells the batch command, and what of it is refused."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weighhouse.doors.cli.batch_environment import (
    BadEnvironment,
    Environment,
    cache_folder,
    log_to_file,
    read_environment,
)

CLASSIC = "0123456789abcdef0123456789abcdef01234567"
NAMES = (
    *("GITHUB_TOKEN", "GITHUB_API_URL", "HF_TOKEN", "HF_ENDPOINT", "LOG_FILE", "LOG_LEVEL"),
    *("CACHE_DIR", "STRICT_ENV"),
)

Given = Callable[..., Environment]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Given:
    """What is read where nothing but these variables is set."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"WEIGHHOUSE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)

    def read(**variables: str) -> Environment:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return read_environment()

    return read


@pytest.fixture
def logging_kept() -> Iterator[None]:
    """Logging as it was, afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("weighhouse")
    before = (root.level, root.handlers[:], ours.level)
    yield
    for handler in set(root.handlers) - set(before[1]):
        handler.close()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    ours.setLevel(before[2])


def test_without_any_variable_the_public_hosts_are_asked_and_nothing_is_logged(given: Given) -> None:
    environment = given(HOME="/home/somebody")
    assert (environment.hf_endpoint, environment.github_api_url) == ("https://huggingface.co", "https://api.github.com")
    assert (environment.github_token, environment.hf_token, environment.log_file) == (None, None, None)
    assert environment.log_level > logging.CRITICAL
    assert environment.cache_dir == Path("/home/somebody/.cache/weighhouse")


def test_the_prefixed_name_wins_wherever_it_stands_and_an_empty_one_says_nothing(given: Given) -> None:
    Path(".env").write_text("WEIGHHOUSE_HF_ENDPOINT=http://from-file/\nGITHUB_TOKEN=ghp_file\n")
    environment = given(
        HF_ENDPOINT="http://plain", WEIGHHOUSE_GITHUB_TOKEN="ghp_prefixed", GITHUB_TOKEN="ghp_plain", LOG_LEVEL=""
    )
    assert environment.hf_endpoint == "http://from-file"
    assert environment.github_token == "ghp_prefixed"
    assert given(WEIGHHOUSE_GITHUB_TOKEN=" ", GITHUB_TOKEN="ghp_plain").github_token == "ghp_plain"


@pytest.mark.parametrize("token", ["ghp_abc", "gho_abc", "ghs_a1_b2", "github_pat_11A_b", CLASSIC])
def test_a_token_of_github_s_forms_is_taken(given: Given, token: str) -> None:
    assert given(GITHUB_TOKEN=token).github_token == token


@pytest.mark.parametrize("token", ["hello", "ghp_-", "ghp_a b", CLASSIC[:-1], f"{CLASSIC}0", "Bearer ghp_abc", "ghp_ä"])
def test_a_token_of_another_form_is_refused_unshown(given: Given, token: str) -> None:
    with pytest.raises(BadEnvironment, match="GITHUB_TOKEN does not have the form") as refused:
        given(GITHUB_TOKEN=token)
    assert token not in refused.value.format_message()
    assert refused.value.exit_code == 1


def test_a_server_of_one_s_own_may_have_tokens_of_its_own_form(given: Given) -> None:
    assert given(GITHUB_API_URL="http://localhost:1/api/v3", GITHUB_TOKEN="secret-1").github_token == "secret-1"
    with pytest.raises(BadEnvironment):
        given(GITHUB_API_URL="http://localhost:1", GITHUB_TOKEN="two words")
    with pytest.raises(BadEnvironment):
        given(GITHUB_API_URL="https://api.github.com/", GITHUB_TOKEN="secret-1")


@pytest.mark.parametrize(
    ("level", "read"),
    [("0", 51), ("1", 20), ("2", 10), ("info", 20), ("DEBUG", 10), ("Warning", 30), ("ERROR", 40), ("critical", 50)],
)
def test_a_log_level_is_a_number_or_a_name(given: Given, level: str, read: int) -> None:
    assert given(LOG_LEVEL=level).log_level == read


@pytest.mark.parametrize("level", ["3", "-1", "verbose", "1.0"])
def test_any_other_log_level_is_refused(given: Given, level: str) -> None:
    with pytest.raises(BadEnvironment, match="LOG_LEVEL"):
        given(LOG_LEVEL=level)


@pytest.mark.parametrize("address", ["localhost", "ftp://x", "file:///etc", "http://user:pw@x"])
def test_a_host_that_is_no_web_address_is_refused(given: Given, address: str) -> None:
    with pytest.raises(BadEnvironment, match="HF_ENDPOINT"):
        given(HF_ENDPOINT=address)


def test_a_strict_environment_misses_what_others_leave_out(given: Given) -> None:
    with pytest.raises(BadEnvironment, match="GITHUB_TOKEN is not set"):
        given(WEIGHHOUSE_STRICT_ENV="1", LOG_FILE="log")
    with pytest.raises(BadEnvironment, match="LOG_FILE is not set"):
        given(WEIGHHOUSE_STRICT_ENV="1", GITHUB_TOKEN="ghp_a")
    assert given(WEIGHHOUSE_STRICT_ENV="1", GITHUB_TOKEN="ghp_a", LOG_FILE="log").log_file == Path("log")
    assert given(WEIGHHOUSE_STRICT_ENV="0").github_token is None


@pytest.mark.usefixtures("logging_kept")
def test_a_log_is_appended_to_and_holds_no_token(given: Given) -> None:
    Path("log").write_text("before\n")
    log_to_file(given(LOG_FILE="log", LOG_LEVEL="1", GITHUB_TOKEN="ghp_secret", HF_TOKEN="hf_secret"))
    logging.getLogger("weighhouse.x").info("asked with %s and %s", "ghp_secret", "hf_secret")
    logging.getLogger("weighhouse.x").debug("unheard")
    logging.getLogger("some.library").info("chatter")
    first, second = Path("log").read_text().splitlines()
    assert first == "before"
    assert "asked with *** and ***" in second


@pytest.mark.usefixtures("logging_kept")
def test_at_level_0_the_log_is_made_and_stays_empty(given: Given) -> None:
    log_to_file(given(LOG_FILE="log"))
    logging.getLogger("weighhouse.x").critical("unheard")
    assert Path("log").read_text() == ""


@pytest.mark.parametrize("place", [".", "no/such/folder/log"])
def test_a_log_that_cannot_be_appended_to_is_refused(given: Given, place: str) -> None:
    with pytest.raises(BadEnvironment, match="LOG_FILE") as refused:
        log_to_file(given(LOG_FILE=place))
    assert refused.value.exit_code == 1


def test_answers_are_kept_where_they_can_be_and_else_for_this_run(given: Given) -> None:
    with cache_folder(given(WEIGHHOUSE_CACHE_DIR="kept/here")) as folder:
        assert folder == Path("kept/here")
    assert folder.stat().st_mode & 0o077 == 0
    Path("a-file").touch()
    for unusable in (given(WEIGHHOUSE_CACHE_DIR="a-file/below"), given(HOME=""), given(HOME=os.devnull)):
        with cache_folder(unusable) as folder:
            assert folder.is_dir()
        assert not folder.exists()
