"""Addresses of GitHub repositories: read into owner and name by a strict pattern, never fetched as they are."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from weighhouse.rules.errors import Invalid, Malformed
from weighhouse.rules.urls import BadUrl, check_url

GITHUB_HOSTS = frozenset({"github.com", "www.github.com"})

_OWNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?")
_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_SCP = re.compile(r"git@(github\.com):([A-Za-z0-9_-]+)/([A-Za-z0-9._-]+?)/?")


class BadRepositoryUrl(Malformed):
    """This address of a repository cannot be used."""

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} is no plain http or https address. Give an address like https://github.com/owner/name."
        )
        self.field = field


class NoRepository(Invalid):
    """This address is not that of a repository on GitHub."""

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} does not lead to a repository on GitHub. Give an address like https://github.com/owner/name.",
            field=field,
        )


@dataclass(frozen=True)
class Repository:
    """A repository of GitHub. Both parts are safe in the path of an address."""

    owner: str
    name: str

    @property
    def path(self) -> str:
        """Its path below the API's address."""
        return f"/repos/{self.owner}/{self.name}"


def github_repository(url: str, field: str, *, api_url: str) -> Repository | None:
    """The repository behind an address; `None` when the address lies on another host or names no repository.

    Args:
        api_url: The API that this registry asks; the host of an own GitHub server counts beside the public one.

    Raises:
        BadRepositoryUrl: Another scheme, credentials, control characters, or no address at all.

    >>> github_repository("https://github.com/acme/tool.git", "code_url", api_url="https://api.github.com")
    Repository(owner='acme', name='tool')
    """
    if match := _SCP.fullmatch(url):
        return _repository(match[2], match[3])
    try:
        parts = check_url(url, field)
    except BadUrl:
        raise BadRepositoryUrl(field) from None
    hosts = GITHUB_HOSTS | {urlsplit(api_url).netloc.lower().removeprefix("api.")}
    if parts.netloc.lower() not in hosts:
        return None
    segments = [segment for segment in parts.path.split("/") if segment]
    return _repository(*segments[:2]) if len(segments) >= 2 else None


def require_repository(url: str, field: str, *, api_url: str) -> Repository:
    """The repository behind an address.

    Raises:
        BadRepositoryUrl: It is no address that may be used.
        NoRepository: It lies on another host, or names no repository.
    """
    repository = github_repository(url, field, api_url=api_url)
    if repository is None:
        raise NoRepository(field)
    return repository


def _repository(owner: str, name: str) -> Repository | None:
    name = name.removesuffix(".git")
    return Repository(owner, name) if _OWNER.fullmatch(owner) and _NAME.fullmatch(name) else None
