"""What the environment tells the batch command: hosts, tokens, a log, a cache (metrics specification, section 12)."""

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click
from dotenv import dotenv_values

from weighhouse.doors.cli.log_lines import JsonLines
from weighhouse.rules.code_urls import code_place
from weighhouse.rules.errors import Malformed
from weighhouse.rules.evidence import Missing
from weighhouse.rules.urls import check_url
from weighhouse.sources.budget import Budget
from weighhouse.sources.outbound import Outbound

PUBLIC_HUB = "https://huggingface.co"
PUBLIC_GITHUB_API = "https://api.github.com"

_PREFIX = "WEIGHHOUSE_"
_GITHUB_TOKEN = re.compile(r"gh[a-z]_[A-Za-z0-9_]+|github_pat_[A-Za-z0-9_]+|[0-9a-f]{40}")
# What can stand in a header of HTTP.
_SENDABLE = re.compile(r"[!-~]+")
_NOTHING = logging.CRITICAL + 1
_LEVELS = {"0": _NOTHING, "1": logging.INFO, "2": logging.DEBUG} | {
    name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
}
_CHECK_SECONDS = 5.0


class BadEnvironment(click.ClickException):
    """A variable of the environment cannot be used."""


@dataclass(frozen=True)
class Environment:
    """Where evidence comes from, and where log lines go."""

    hf_endpoint: str = PUBLIC_HUB
    hf_token: str | None = field(default=None, repr=False)
    github_api_url: str = PUBLIC_GITHUB_API
    github_token: str | None = field(default=None, repr=False)
    log_file: Path | None = None
    log_level: int = _NOTHING
    cache_dir: Path | None = None
    """`None` where there is no home to keep one in."""


def read_environment() -> Environment:
    """What the environment and `.env` say; of two names for one thing the prefixed one wins, and an empty one says nothing.

    Raises:
        BadEnvironment: A variable cannot be used, or one that `WEIGHHOUSE_STRICT_ENV` asks for is missing.
    """
    try:
        values = {**dotenv_values(".env", interpolate=False), **os.environ}
    except (OSError, UnicodeDecodeError) as error:
        raise BadEnvironment(f".env cannot be read: {error}") from error
    given = {name: value.strip() for name, value in values.items() if value is not None and value.strip()}
    github_api_url = _address(given, "GITHUB_API_URL", PUBLIC_GITHUB_API)
    environment = Environment(
        hf_endpoint=_address(given, "HF_ENDPOINT", PUBLIC_HUB),
        hf_token=_token(given, "HF_TOKEN", _SENDABLE),
        github_api_url=github_api_url,
        github_token=_token(given, "GITHUB_TOKEN", _GITHUB_TOKEN if _is_public(github_api_url) else _SENDABLE),
        log_file=_log_file(given),
        log_level=_log_level(given),
        cache_dir=_cache_dir(given),
    )
    if given.get(f"{_PREFIX}STRICT_ENV", "0").lower() not in {"0", "false", "no", "off"}:
        _require_all(environment)
    return environment


def require_valid_token(environment: Environment, code_urls: Iterable[str]) -> None:
    """Returns unless GitHub says that the token is not valid; that GitHub is away says nothing of it.

    Args:
        code_urls: Where the models' code is; the first one on GitHub is asked for where the rate says nothing.

    Raises:
        BadEnvironment: It answered 401.
    """
    if environment.github_token is None:
        return
    places = (code_place(url, api_url=environment.github_api_url) for url in code_urls)
    repository = next((place.repository.path for place in places if place), None)
    # The rate costs nothing of itself, and servers that know none answer 404 to everybody.
    paths = ["/rate_limit", *([repository] if repository else [])]
    budget = Budget(calls=len(paths), seconds=_CHECK_SECONDS)
    with Outbound(environment.github_api_url, token=environment.github_token) as github:
        for path in paths:
            try:
                status = github.ask(path, budget=budget).status
            except Missing:
                return
            if status == 401:
                raise BadEnvironment("GITHUB_TOKEN: GitHub answers 401, so it is not valid. Set another, or none.")
            if status == 200:
                return


def log_to_file(environment: Environment) -> None:
    """Log lines of this process go to LOG_FILE from LOG_LEVEL up, and nowhere without one; tokens are blacked out.

    Raises:
        BadEnvironment: LOG_FILE cannot be appended to.
    """
    target: logging.Handler = logging.NullHandler()
    if environment.log_file is not None:
        try:
            target = logging.FileHandler(environment.log_file, mode="a", encoding="utf-8")
        except OSError as error:
            raise BadEnvironment(
                f"LOG_FILE: {environment.log_file} cannot be appended to: {error.strerror}."
            ) from error
        target.setFormatter(_WithoutSecrets((environment.hf_token, environment.github_token)))
    target.setLevel(environment.log_level)
    # Libraries speak up from WARNING on: below that they tell of every step, and of what was sent.
    logging.basicConfig(level=max(environment.log_level, logging.WARNING), handlers=[target], force=True)
    logging.getLogger("weighhouse").setLevel(environment.log_level)


class _WithoutSecrets(JsonLines):
    """Log lines in which no token can be read, wherever it came from."""

    def __init__(self, secrets: tuple[str | None, ...]) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if secret]

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line


@contextlib.contextmanager
def cache_folder(environment: Environment) -> Iterator[Path]:
    """A folder of our own that can be written to; one that is gone afterwards where CACHE_DIR cannot be used."""
    if environment.cache_dir is not None and _can_be_written(environment.cache_dir):
        yield environment.cache_dir
        return
    folder = Path(tempfile.mkdtemp(prefix="weighhouse-cache-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _find(given: Mapping[str, str], name: str) -> str | None:
    return given.get(_PREFIX + name) or given.get(name)


def _address(given: Mapping[str, str], name: str, default: str) -> str:
    value = (_find(given, name) or default).rstrip("/")
    try:
        check_url(value, name)
    except Malformed as error:
        raise BadEnvironment(f"{name} must be an http or https address like {default}.") from error
    return value


def _token(given: Mapping[str, str], name: str, form: re.Pattern[str]) -> str | None:
    value = _find(given, name)
    if value is not None and not form.fullmatch(value):
        # The value is a secret, even one that is mistyped.
        forms = "like ghp_…, github_pat_… or 40 hexadecimal digits" if form is _GITHUB_TOKEN else "without spaces"
        raise BadEnvironment(f"{name} does not have the form of a token: it must be {forms}. Correct it or unset it.")
    return value


def _is_public(github_api_url: str) -> bool:
    return urlsplit(github_api_url).hostname == urlsplit(PUBLIC_GITHUB_API).hostname


def _log_file(given: Mapping[str, str]) -> Path | None:
    value = _find(given, "LOG_FILE")
    return Path(value) if value else None


def _log_level(given: Mapping[str, str]) -> int:
    value = _find(given, "LOG_LEVEL") or "0"
    if value.upper() not in _LEVELS:
        raise BadEnvironment(f"LOG_LEVEL must be one of {', '.join(_LEVELS)}; it is {value[:40]!r} now.")
    return int(_LEVELS[value.upper()])


def _cache_dir(given: Mapping[str, str]) -> Path | None:
    if named := given.get(f"{_PREFIX}CACHE_DIR"):
        return Path(named)
    home = given.get("HOME")
    return Path(home) / ".cache" / "weighhouse" if home else None


def _require_all(environment: Environment) -> None:
    named = {"GITHUB_TOKEN": environment.github_token, "LOG_FILE": environment.log_file}
    for name, value in named.items():
        if value is None:
            raise BadEnvironment(
                f"{name} is not set, and WEIGHHOUSE_STRICT_ENV asks for it. Set it or unset the latter."
            )
