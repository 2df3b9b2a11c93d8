"""GitHub's API, asked within bounds: seconds, bytes, tries, redirects, calls at once.

A user's address never gets here: paths are built from parts that `rules.repositories` checked, and every request goes to the
address that the operator set. What does not exist is an answer; what could not be learned raises `Missing`.
"""

import hashlib
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources.cache import Cache, NoCache

JSON = "application/vnd.github+json"
RAW = "application/vnd.github.raw+json"

CALL_SECONDS = 10.0
"""Wall time of one request, its answer included."""
RETRIES = 2
LONGEST_PAUSE_SECONDS = 10.0
ALL_TRIES_SECONDS = 25.0
MAX_ANSWER_BYTES = 50 * 1024 * 1024
MAX_REDIRECTS = 3
CALLS_AT_ONCE = 8
"""In one process: a GitHub that is slow must not hold every thread that answers requests."""

_API_VERSION = "2022-11-28"
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
_NOT_SERVED = frozenset({404, 405, 410, 501})
_REDIRECTS = frozenset({301, 302, 307, 308})


class GitHubMissing(Missing):
    """What GitHub would not, or could not say.

    Args:
        retry_after_seconds: When it may be asked again, where it said so.
    """

    def __init__(self, reason: Reason, advice: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(reason, advice)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class GitHub:
    """GitHub, or an own server of it, behind one address.

    Args:
        api_url: The REST address; GraphQL is beside it.
        token: Sent to that address only.
        store: Where answers are kept; each is asked for again with the ETag it came with.
        pause: Waits so many seconds between two tries.
    """

    def __init__(
        self,
        api_url: str,
        token: str | None = None,
        *,
        store: Cache | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._token = token or None
        self._store: Cache = store or NoCache()
        self._pause = pause
        parts = urlsplit(self._api_url)
        self._origin = (parts.scheme, parts.netloc.lower())
        self._http = httpx.Client(
            verify=_tls() if parts.scheme == "https" else False,
            trust_env=not _is_loopback(parts.hostname or ""),
            timeout=httpx.Timeout(CALL_SECONDS, connect=5.0),
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
        self._http.close()

    @property
    def has_token(self) -> bool:
        """Whether questions are asked in somebody's name; GraphQL answers nobody else."""
        return self._token is not None

    def get(self, path: str, *, accept: str = JSON) -> bytes | None:
        """What is at a path below the API's address; `None` when nothing is.

        Args:
            path: Quoted already, with its query; starts with a slash.
            accept: The media type asked for, such as `RAW` for a file's bytes.

        Raises:
            GitHubMissing: `unreachable`, `rate_limited`, `forbidden`, `no_token`, `timeout` or `too_large`.
        """
        key = self._key(path, accept)
        kept = self._store.get(key)
        conditions = {"If-None-Match": kept[0]} if kept and kept[0] else {}
        answer = self._ask("GET", self._api_url + path, {"Accept": accept, **conditions})
        if answer.status == 304 and kept:
            return kept[1]
        if answer.status in {404, 410}:
            return None
        if answer.status != 200:
            raise self._refusal(answer)
        if etag := answer.headers.get("etag"):
            self._store.put(key, etag, answer.body)
        return answer.body

    def get_json(self, path: str) -> Any | None:
        """The JSON document at a path; `None` when nothing is there.

        Raises:
            GitHubMissing: As `get`, and `malformed` when it is not JSON.
        """
        body = self.get(path)
        return None if body is None else _parsed(body)

    def post(self, document: Mapping[str, Any]) -> Any | None:
        """The answer to a GraphQL question; `None` where GraphQL is not served.

        Raises:
            GitHubMissing: As `get_json`; `no_token` at once when there is none, for GraphQL needs one.
        """
        if not self.has_token:
            raise GitHubMissing(Reason.NO_TOKEN, "GitHub's GraphQL needs a token; set WEIGHHOUSE_GITHUB_TOKEN")
        headers = {"Accept": JSON, "Content-Type": "application/json"}
        answer = self._ask("POST", self.graphql_url, headers, json.dumps(document).encode())
        if answer.status in _NOT_SERVED:
            return None
        if answer.status != 200:
            raise self._refusal(answer)
        return _parsed(answer.body)

    @property
    def graphql_url(self) -> str:
        """Where GraphQL is: beside the REST address."""
        if self._api_url.endswith("/api/v3"):
            return self._api_url.removesuffix("/v3") + "/graphql"
        return f"{self._api_url}/graphql"

    def _key(self, path: str, accept: str) -> str:
        # What one token sees another may not: the token is part of the question, as a digest.
        who = hashlib.sha256((self._token or "").encode()).hexdigest()[:12] if self._token else "nobody"
        return f"github {who} {accept} {self._api_url}{path}"

    def _ask(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> _Answer:
        """The answer after at most two further tries, redirects followed."""
        give_up_at = time.monotonic() + ALL_TRIES_SECONDS
        for left in range(RETRIES, -1, -1):
            answer = self._follow(method, url, headers, content)
            seconds = _pause_seconds(answer.headers, default=2.0 ** (RETRIES - left) / 2)
            is_used_up = answer.headers.get("x-ratelimit-remaining") == "0"
            if not left or answer.status not in _TRY_AGAIN or (is_used_up and "retry-after" not in answer.headers):
                break
            if seconds > LONGEST_PAUSE_SECONDS or time.monotonic() + seconds > give_up_at:
                break
            self._pause(seconds)
        return answer

    def _follow(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> _Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(method, url, headers, content)
            if answer.status not in _REDIRECTS:
                return answer
            url = urljoin(url, answer.headers.get("location", ""))
            parts = urlsplit(url)
            if (parts.scheme, parts.netloc.lower()) != self._origin:
                raise GitHubMissing(
                    Reason.UNREACHABLE, "GitHub's address points to another host; set GITHUB_API_URL to that"
                )
        raise GitHubMissing(Reason.UNREACHABLE, "GitHub's address leads in circles; check GITHUB_API_URL")

    def _once(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> _Answer:
        sent = {"User-Agent": _agent(), "X-GitHub-Api-Version": _API_VERSION, **headers}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        gate = _gate(self._origin)
        if not gate.acquire(timeout=CALL_SECONDS):
            raise GitHubMissing(Reason.UNREACHABLE, "Too many questions wait for GitHub already; try again later")
        try:
            with self._http.stream(method, url, headers=sent, content=content) as response:
                return _Answer(response.status_code, response.headers, _read(response))
        except httpx.TimeoutException as error:
            raise _timed_out() from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise GitHubMissing(Reason.UNREACHABLE, "GitHub does not answer; try again later") from error
        finally:
            gate.release()

    def _refusal(self, answer: _Answer) -> GitHubMissing:
        if answer.status == 429 or (answer.status == 403 and _is_rate(answer)):
            more = "" if self._token else "; with WEIGHHOUSE_GITHUB_TOKEN set it answers more"
            seconds = max(1, int(_until_reset(answer.headers)))
            return GitHubMissing(
                Reason.RATE_LIMITED, f"GitHub's rate limit is used up{more}", retry_after_seconds=seconds
            )
        if answer.status == 401 and not self._token:
            return GitHubMissing(Reason.NO_TOKEN, "GitHub wants a token; set WEIGHHOUSE_GITHUB_TOKEN")
        if answer.status in {401, 403, 451}:
            return GitHubMissing(
                Reason.FORBIDDEN, "GitHub refuses this token or this repository; check the token's rights"
            )
        return GitHubMissing(Reason.UNREACHABLE, f"GitHub answers {answer.status}; try again later")


def _read(response: httpx.Response) -> bytes:
    """The body, unpacked, within bytes and seconds."""
    started = time.monotonic()
    stated = response.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated[:20]) > MAX_ANSWER_BYTES:
        raise _too_large()
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise _too_large()
        if time.monotonic() - started > CALL_SECONDS:
            raise _timed_out()
    return bytes(body)


def _too_large() -> GitHubMissing:
    return GitHubMissing(
        Reason.TOO_LARGE, f"GitHub's answer has more than {MAX_ANSWER_BYTES >> 20} MiB and was not read"
    )


def _timed_out() -> GitHubMissing:
    return GitHubMissing(Reason.TIMEOUT, f"GitHub did not answer within {CALL_SECONDS:g} seconds; try again later")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise GitHubMissing(Reason.MALFORMED, "GitHub's answer is not JSON; check GITHUB_API_URL") from error


def _is_rate(answer: _Answer) -> bool:
    headers = answer.headers
    is_used_up = headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers
    return is_used_up or b"rate limit" in answer.body[:2000].lower()


def _pause_seconds(headers: Mapping[str, str], default: float) -> float:
    asked = headers.get("retry-after", "")
    return float(asked[:9]) if asked.isdecimal() else default


def _until_reset(headers: Mapping[str, str]) -> float:
    reset = headers.get("x-ratelimit-reset", "")
    default = float(reset[:12]) - time.time() if reset.isdecimal() else 60.0
    return min(3600.0, _pause_seconds(headers, default))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _agent() -> str:
    return f"weighhouse/{metadata.version('weighhouse')}"


@cache
def _tls() -> ssl.SSLContext:
    # Reading the world's certificates takes longer than a call.
    return httpx.create_ssl_context()


@lru_cache(maxsize=16)
def _gate(origin: tuple[str, str]) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(CALLS_AT_ONCE)
