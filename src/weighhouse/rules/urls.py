"""Addresses that users give: read into an identifier by a strict pattern, never fetched as they are."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from weighhouse.rules.errors import Malformed

MAX_URL_CHARACTERS = 2048

HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})

_PRINTABLE_ASCII = re.compile(r"[!-~]+")
_FORBIDDEN = re.compile(r"[\\<>\"^`{|}]")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]", re.IGNORECASE)
_HUB_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
# Pages of the hub that stand where an owner would.
_NOT_OWNERS = frozenset(["api", "datasets", "spaces", "docs", "models", "join", "login", "settings", "pricing"])


class BadUrl(Malformed):
    """This address cannot be used."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field} cannot be used: {why}. Give an address like https://huggingface.co/owner/name.")
        self.field = field


@dataclass(frozen=True)
class HubId:
    """A model or dataset of the hub, `owner/name` or an old one-part name, and the revision that the address names."""

    id: str
    revision: str | None = None


def check_url(url: str, field: str) -> SplitResult:
    """The parts of an http or https address without traps.

    Raises:
        BadUrl: Another scheme, credentials, control characters, a port out of range, or no plain host name.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise BadUrl(field, f"it has more than {MAX_URL_CHARACTERS} characters")
    if not _PRINTABLE_ASCII.fullmatch(url) or _FORBIDDEN.search(url):
        raise BadUrl(field, "it holds a space, a control character, a backslash or a letter outside ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl(field, "its host or port cannot be read") from None
    if parts.scheme not in {"http", "https"}:
        raise BadUrl(field, "only http and https addresses are taken")
    if "@" in parts.netloc or not parts.hostname or port == 0:
        raise BadUrl(field, "it needs a host, and no user name or password")
    if not _HOST.fullmatch(parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]"):
        raise BadUrl(field, "its host is no plain name")
    return parts


def hub_id(url: str, field: str, *, endpoint: str, kind: str = "models") -> HubId | None:
    """The hub's model or dataset behind an address or a bare `owner/name`; `None` when it lies on another host.

    Args:
        endpoint: The hub that this registry asks; its host counts beside the public ones.
        kind: `models` or `datasets`.

    Raises:
        BadUrl: The address is no address.

    >>> hub_id("https://huggingface.co/google/bert/tree/main", "model_url", endpoint="http://localhost:1")
    HubId(id='google/bert', revision='main')
    """
    if "://" not in url and (bare := _parts_id(url.split("/"))):
        return bare
    parts = check_url(url, field)
    hosts = HUB_HOSTS | {urlsplit(endpoint).netloc.lower(), urlsplit(endpoint).hostname or ""}
    if parts.netloc.lower() not in hosts and (parts.hostname or "") not in hosts:
        return None
    segments = [segment for segment in parts.path.split("/") if segment]
    if kind == "datasets":
        if segments[:1] != ["datasets"]:
            return None
        segments = segments[1:]
    return _parts_id(segments)


def _parts_id(segments: list[str]) -> HubId | None:
    revision = None
    for place in (1, 2):
        if len(segments) > place + 1 and segments[place] in {"tree", "blob", "resolve", "commit"}:
            revision = "/".join(segments[place + 1 :]) if segments[place] == "tree" else segments[place + 1]
            segments = segments[:place]
            break
    if not 1 <= len(segments) <= 2 or segments[0].lower() in _NOT_OWNERS:
        return None
    if not all(_HUB_PART.fullmatch(segment) for segment in segments):
        return None
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        return None
    return HubId("/".join(segments), revision)
