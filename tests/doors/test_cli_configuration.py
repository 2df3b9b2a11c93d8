"""The settings of a command, and what is said about those that cannot be used."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from weighhouse.doors.cli.configuration import BadSettings, configure_logging, read_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loggers() -> Iterator[None]:
    root, ours, uvicorn = logging.getLogger(), logging.getLogger("weighhouse"), logging.getLogger("uvicorn.error")
    handlers, levels = root.handlers[:], (root.level, ours.level, uvicorn.level)
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    for logger, level in zip((root, ours, uvicorn), levels, strict=True):
        logger.setLevel(level)


def test_an_option_goes_before_the_environment_and_that_before_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("WEIGHHOUSE_PORT=1001\nWEIGHHOUSE_HOST=localhost\nWEIGHHOUSE_TOKEN_DAYS=7\n")
    monkeypatch.setenv("WEIGHHOUSE_PORT", "1002")
    monkeypatch.setenv("WEIGHHOUSE_HOST", "127.0.0.2")
    settings = read_settings(port=1003, host=None)
    assert (settings.port, settings.host, settings.token_days) == (1003, "127.0.0.2", 7)


def test_an_empty_variable_is_one_that_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHHOUSE_ADMIN_PASSWORD", "")
    monkeypatch.setenv("WEIGHHOUSE_DATABASE_URL", "")
    settings = read_settings()
    assert settings.admin_password is None
    assert settings.database_url is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "70000", "less than or equal to 65535"),
        ("WORKERS", "0", "greater than 0"),
        ("GATE_THRESHOLDS", "charm=1", "charm is not a metric"),
        ("TRUSTED_PROXIES", "everybody", "everybody"),
        ("DATABASE_URL", "mysql://user:hidden@host/x", "postgresql://"),
        ("DATABASE_URL", "postgresql://user:hidden@host:port/x", "postgresql://"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_its_variable(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WEIGHHOUSE_{name}", value)
    with pytest.raises(BadSettings, match=f"WEIGHHOUSE_{name}: ") as refused:
        read_settings()
    assert said in refused.value.message
    assert "hidden" not in refused.value.message
    assert refused.value.exit_code == 2


def test_a_file_that_cannot_be_read_is_told(folder: Path) -> None:
    (folder / ".env").write_bytes(b"WEIGHHOUSE_HOST=\xff\n")
    with pytest.raises(BadSettings, match=r"\.env cannot be read"):
        read_settings()


@pytest.mark.usefixtures("loggers")
def test_our_lines_are_kept_from_their_level_on_and_those_of_libraries_from_warning(folder: Path) -> None:
    configure_logging(read_settings(log_file=folder / "log"))
    logging.getLogger("weighhouse.somewhere").info("ours")
    logging.getLogger("alembic").info("a library's step")
    logging.getLogger("alembic").warning("a library's warning")
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert [line["message"] for line in lines] == ["ours", "a library's warning"]
    assert lines[0]["time"].endswith("Z")


def test_a_log_file_that_cannot_be_opened_is_told(folder: Path) -> None:
    with pytest.raises(BadSettings, match="WEIGHHOUSE_LOG_FILE"):
        configure_logging(read_settings(log_file=folder / "no" / "log"))
