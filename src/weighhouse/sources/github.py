"""What GitHub's API says: an absence is an answer, a refusal is told from a limit, and what did not change is not sent again.

A user's address never gets here: paths are built from parts that `rules.repositories` checked, and every request goes to the
address that the operator set.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources.budget import Budget
from weighhouse.sources.cache import Cache, NoCache
from weighhouse.sources.outbound import RETRIES, Answer, Outbound, retry_after

JSON = "application/vnd.github+json"
RAW = "application/vnd.github.raw+json"

ALL_TRIES_SECONDS = 25.0
"""Wall time of one question with its retries, where no evaluation bounds it."""

_API_VERSION = "2022-11-28"
_NOT_SERVED = frozenset({404, 405, 410, 501})
_LONGEST_WAIT_SECONDS = 3600.0
_DEFAULT_WAIT_SECONDS = 60.0


class GitHubMissing(Missing):
    """What GitHub would not, or could not say.

    Args:
        retry_after_seconds: When it may be asked again, where it said so.
    """

    def __init__(self, reason: Reason, advice: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(reason, advice)
        self.retry_after_seconds = retry_after_seconds


class GitHub:
    """GitHub, or an own server of it, behind one address.

    Args:
        api_url: The REST address; GraphQL is beside it.
        token: Sent to that address only.
        store: Where answers are kept; each is asked for again with the ETag it came with.
        budget: Calls and seconds of the evaluation that asks; without one each question has its own.
        pause: Waits so many seconds between two tries.
    """

    def __init__(
        self,
        api_url: str,
        token: str | None = None,
        *,
        store: Cache | None = None,
        budget: Budget | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._token = token or None
        self._store: Cache = store or NoCache()
        self._budget = budget
        # GraphQL of an own server is beside the REST address, not below it.
        self._rest = Outbound(self._api_url, token=self._token, stays=True, pause=pause)
        self._graphql = Outbound(self.graphql_url, token=self._token, stays=True, pause=pause)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
        self._rest.close()
        self._graphql.close()

    @property
    def has_token(self) -> bool:
        """Whether questions are asked in somebody's name; GraphQL answers nobody else."""
        return self._token is not None

    @property
    def graphql_url(self) -> str:
        """Where GraphQL is: beside the REST address."""
        if self._api_url.endswith("/api/v3"):
            return self._api_url.removesuffix("/v3") + "/graphql"
        return f"{self._api_url}/graphql"

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
        answer = self._ask(self._rest, path, {"Accept": accept, **conditions})
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
        answer = self._ask(self._graphql, "", headers, json.dumps(document).encode())
        if answer.status in _NOT_SERVED:
            return None
        if answer.status != 200:
            raise self._refusal(answer)
        return _parsed(answer.body)

    def _key(self, path: str, accept: str) -> str:
        # What one token sees another may not: the token is part of the question, as a digest.
        who = hashlib.sha256((self._token or "").encode()).hexdigest()[:12] if self._token else "nobody"
        return f"github {who} {accept} {self._api_url}{path}"

    def _ask(self, out: Outbound, path: str, headers: Mapping[str, str], content: bytes | None = None) -> Answer:
        budget = self._budget or Budget(calls=RETRIES + 1, seconds=ALL_TRIES_SECONDS)
        sent = {"X-GitHub-Api-Version": _API_VERSION, **headers}
        try:
            return out.last_answer(path, budget=budget, headers=sent, content=content)
        except Missing as missing:
            raise GitHubMissing(missing.reason, missing.advice) from missing

    def _refusal(self, answer: Answer) -> GitHubMissing:
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


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise GitHubMissing(Reason.MALFORMED, "GitHub's answer is not JSON; check GITHUB_API_URL") from error


def _is_rate(answer: Answer) -> bool:
    headers = answer.headers
    is_used_up = headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers
    return is_used_up or b"rate limit" in answer.body[:2000].lower()


def _until_reset(headers: Mapping[str, str]) -> float:
    reset = headers.get("x-ratelimit-reset", "")
    default = float(reset[:12]) - time.time() if reset.isdecimal() else _DEFAULT_WAIT_SECONDS
    return min(_LONGEST_WAIT_SECONDS, retry_after(headers, default))
