"""The settings of a command, with mistakes told in plain sentences, and where its log lines go."""

import logging
import sys
from typing import Any
from urllib.parse import urlsplit

import click
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from weighhouse.doors.cli.log_lines import JsonLines, PlainLines
from weighhouse.settings import Settings

_PREFIX = "WEIGHHOUSE_"
_UNSHOWN = {"admin_password", "hf_token", "github_token", "database_url"}
_UNPREFIXED = ("AWS_", "WEIGHHOUSE_", "S3_")


class BadSettings(click.ClickException):
    """A setting cannot be used."""

    exit_code = 2


def read_settings(**options: Any) -> Settings:
    """The settings from the environment and `.env`; options that were given, not `None`, go first.

    Raises:
        BadSettings: A value cannot be used, or `.env` cannot be read.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise BadSettings("\n".join(_sentence(mistake) for mistake in error.errors())) from error
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        raise BadSettings(f".env cannot be read: {error}") from error
    if settings.database_url is not None and not _names_a_database(settings.database_url):
        raise BadSettings(f"{_PREFIX}DATABASE_URL: must be like postgresql://user:password@host:5432/database.")
    return settings


def _names_a_database(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme.partition("+")[0] in {"postgres", "postgresql"} and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _sentence(mistake: Any) -> str:
    name = str(mistake["loc"][0]) if mistake["loc"] else "settings"
    value = mistake.get("input")
    shown = "" if name in _UNSHOWN or isinstance(value, SecretStr) else f" It is {str(value)!r} now."
    variable = name if name.startswith(_UNPREFIXED) else f"{_PREFIX}{name.upper()}"
    return f"{variable}: {mistake['msg'].removeprefix('Value error, ')}.{shown}"


def configure_logging(settings: Settings) -> None:
    """Log lines of this process go to LOG_FILE, or to standard error, from LOG_LEVEL up.

    Raises:
        BadSettings: LOG_FILE cannot be opened.
    """
    try:
        target = logging.FileHandler(settings.log_file) if settings.log_file else logging.StreamHandler()
    except OSError as error:
        raise BadSettings(f"{_PREFIX}LOG_FILE: {settings.log_file} cannot be opened: {error.strerror}.") from error
    is_read_by_people = settings.log_file is None and sys.stderr.isatty()
    target.setFormatter(PlainLines() if is_read_by_people else JsonLines())
    # Libraries speak up from WARNING on; at INFO they tell of every step.
    level = logging.getLevelNamesMapping()[settings.log_level]
    logging.basicConfig(
        level=level if level <= logging.DEBUG else max(level, logging.WARNING), handlers=[target], force=True
    )
    logging.getLogger("weighhouse").setLevel(level)
    # At DEBUG it tells every header, session tokens and signatures among them.
    logging.getLogger("botocore").setLevel(logging.WARNING)
