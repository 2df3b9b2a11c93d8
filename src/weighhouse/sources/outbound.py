"""The way out over HTTP: bounded in time and size, only to checked addresses, a token only to the host that it is for."""

import contextlib
import email.utils
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from typing import Literal, NoReturn, Self
from urllib.parse import urlsplit

import httpx

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources.addresses import checked_addresses, is_proxied, place_of
from weighhouse.sources.budget import Budget

CALL_SECONDS = 10.0
"""Wall time of one call, its answer and its redirects included."""
CONNECT_SECONDS = 5.0
RETRIES = 2
LONGEST_PAUSE_SECONDS = 10.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_HOPS = 3
CALLS_AT_ONCE = 16
"""Calls to one host that are under way in this process; a slow host keeps nobody from the others."""

AGAIN = frozenset({429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER = 303

Query = Mapping[str, str | Sequence[str]]
Method = Literal["GET", "POST"]

# It would write whole addresses to the log, signatures included.
logging.getLogger("httpx").setLevel(logging.WARNING)

_slots_guard = threading.Lock()
_slots: dict[tuple[str, int], threading.BoundedSemaphore] = {}


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Broken(Exception):
    """The connection broke, or stood still, after the answer had begun."""


class StoodStill(Broken):
    """Nothing came for as long as was waited."""


@dataclass(frozen=True)
class _Question:
    """A request, wherever it is sent."""

    url: str
    headers: Mapping[str, str]
    query: Query | None = None
    method: Method = "GET"
    content: bytes | None = None


class Outbound:
    """Requests to one address that the operator set, and to where it sends on.

    The operator's host may have any address; a host that it sends on to must have a public one, and never sees the token.

    Args:
        base_url: An http or https address.
        token: Sent as a bearer token to the base's host and port.
        stays: Whether it is refused to be sent on to another host, as an API has no business to.
        pause: Waits so many seconds between two tries.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        stays: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._place = place_of(self.base_url)
        self._token = token
        self._stays = stays
        self._pause = pause
        self._is_http = self.base_url.startswith("http://")
        self._away: Missing | None = None
        self._is_resolved = False
        self._clients: list[httpx.Client] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
        for client in self._clients:
            client.close()

    def ask(
        self,
        path: str,
        *,
        budget: Budget,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """The answer to a GET, whatever its status below 500 but 429; asked at most three times.

        Args:
            path: Below the base, already quoted; or a whole address on the base's host.

        Raises:
            Missing: No answer (`unreachable`, `timeout`), a refusal for now (`rate_limited`), or one too long (`too_large`).
        """
        answer = self.last_answer(path, budget=budget, query=query, headers=headers, max_bytes=max_bytes)
        if answer.status == 429:
            raise Missing(Reason.RATE_LIMITED, f"{self._host} takes no more questions for now; try again later")
        if answer.status in AGAIN:
            raise Missing(Reason.UNREACHABLE, f"{self._host} answers {answer.status}; try again later")
        return answer

    def last_answer(
        self,
        path: str,
        *,
        budget: Budget,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """As `ask`; but a refusal that stays one after all tries is an answer, too.

        Args:
            content: What is posted; asking it again must do no harm.

        Raises:
            Missing: There is no answer (`unreachable`, `timeout`), or one too long (`too_large`).
        """
        url = path if path.startswith(f"{self.base_url}/") else self.base_url + path
        question = _Question(url, headers or {}, query, "GET" if content is None else "POST", content)
        for attempt in range(RETRIES + 1):
            self._require_reachable()
            budget.take()
            pause = 0.5 * 2**attempt
            try:
                answer = self._ask_once(question, min(CALL_SECONDS, budget.seconds_left), max_bytes)
            except StoodStill as silence:
                raise self._too_slow() from silence
            except Broken as broken:
                if attempt == RETRIES:
                    raise Missing(Reason.UNREACHABLE, f"The connection to {self._host} broke; try again") from broken
            else:
                pause = retry_after(answer.headers, pause)
                is_long = pause > min(LONGEST_PAUSE_SECONDS, budget.seconds_left)
                if answer.status not in AGAIN or attempt == RETRIES or is_long or _is_used_up(answer):
                    return answer
            self._pause(pause)
        raise AssertionError("the last attempt returns or raises")

    @contextlib.contextmanager
    def open(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        connect_seconds: float,
        read_seconds: float,
        query: Query | None = None,
    ) -> Iterator[httpx.Response]:
        """The answer to a GET, its body yet to be read; up to three redirects were followed.

        Raises:
            Missing: The host cannot be reached (`unreachable`) or may not be asked (`forbidden`).
            Broken: The connection broke or stood still.
        """
        timeout = httpx.Timeout(read_seconds, connect=connect_seconds)
        with self._followed(_Question(url, headers, query), timeout) as response:
            yield response

    def pieces(self, response: httpx.Response) -> Iterator[bytes]:
        """The body of an opened answer, as it comes.

        Raises:
            Broken: The connection broke, stood still or ended too early.
            Missing: The body is compressed although that was not asked for (`malformed`).
        """
        if response.headers.get("content-encoding", "identity") != "identity":
            # A small compressed body can hide one that fills the memory.
            raise Missing(Reason.MALFORMED, f"{self._host} compresses what was asked for plain; tell the operator")
        with _breaks():
            yield from response.iter_raw()

    def _ask_once(self, question: _Question, seconds: float, max_bytes: int) -> Answer:
        ends_at = time.monotonic() + seconds
        timeout = httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        with _slot(self._place, seconds), self._followed(question, timeout) as response:
            stated = response.headers.get("content-length", "")
            if stated.isdecimal() and int(stated[:20]) > max_bytes:
                raise self._too_large(max_bytes)
            body = bytearray()
            for piece in self.pieces(response):
                body += piece
                if len(body) > max_bytes:
                    raise self._too_large(max_bytes)
                if time.monotonic() > ends_at:
                    raise self._too_slow()
            return Answer(response.status_code, response.headers, bytes(body))

    # Where a request goes

    @contextlib.contextmanager
    def _followed(self, question: _Question, timeout: httpx.Timeout) -> Iterator[httpx.Response]:
        """The answer at the end of at most three redirects, every one of them checked like the first address."""
        for _ in range(MAX_HOPS + 1):
            with self._sent(question, timeout) as response:
                if response.status_code not in _MOVED:
                    yield response
                    return
                question = self._next(question, response)
        raise Missing(Reason.UNREACHABLE, f"{self._host} sends on more than {MAX_HOPS} times; tell the operator")

    def _next(self, question: _Question, response: httpx.Response) -> _Question:
        try:
            url = str(httpx.URL(question.url).join(response.headers.get("location", "")))
        except httpx.InvalidURL as error:
            raise self._no_address() from error
        if response.status_code == _SEE_OTHER:
            return _Question(url, question.headers)
        return _Question(url, question.headers, None, question.method, question.content)

    @contextlib.contextmanager
    def _sent(self, question: _Question, timeout: httpx.Timeout) -> Iterator[httpx.Response]:
        client, request = self._request(question, timeout)
        try:
            with _breaks():
                response = client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            host = place_of(question.url)[0][:80]
            self._give_up(Missing(Reason.UNREACHABLE, f"{host} cannot be reached; try again later"), error)
        except httpx.InvalidURL as error:
            # The library reads where it is sent on to, also when it does not follow.
            raise self._no_address() from error
        try:
            yield response
        finally:
            response.close()

    def _request(self, question: _Question, timeout: httpx.Timeout) -> tuple[httpx.Client, httpx.Request]:
        """A request whose address was checked, with the client that may send it; the token is for the base's place only.

        Raises:
            Missing: It leads to no address, to one that may not be asked, or to a host that cannot be reached.
        """
        try:
            place = place_of(question.url)
        except ValueError:
            raise self._no_address() from None
        url, sent = question.url, {"User-Agent": _agent(), "Accept-Encoding": "identity", **question.headers}
        extensions: dict[str, str] = {}
        if not self._is_http and url.startswith("http://"):
            raise Missing(Reason.FORBIDDEN, f"{self._host} sends on from https to http, which is not followed")
        if place == self._place:
            client = self._own_client
            if self._token:
                sent["Authorization"] = f"Bearer {self._token}"
            if not is_proxied(url):
                self._require_resolved()
        elif self._stays:
            raise Missing(Reason.UNREACHABLE, f"{self._host} sends on to another host; set its address to that one")
        elif is_proxied(url):
            # The operator's proxy resolves the name, and decides what may be reached.
            client = self._proxy_client
        else:
            client = self._pinned_client
            url, sent["Host"], extensions = self._pinned(url, place)
        request = client.build_request(
            question.method,
            url,
            params=_params(question.query),
            headers=sent,
            content=question.content,
            timeout=timeout,
        )
        request.extensions.update(extensions)
        return client, request

    def _pinned(self, url: str, place: tuple[str, int]) -> tuple[str, str, dict[str, str]]:
        """The address by number, the host's name for the request, and for TLS: what was checked is what is connected to."""
        addresses = checked_addresses(*place, own={self._place})
        parts = urlsplit(url)
        number = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        pinned = parts._replace(netloc=f"{number}:{place[1]}").geturl()
        return pinned, parts.netloc.rpartition("@")[2], {"sni_hostname": place[0]}

    def _require_resolved(self) -> None:
        """Looks the name up before the first question, with a limit: a resolver that does not answer would hold up all."""
        if self._is_resolved:
            return
        try:
            checked_addresses(*self._place, own={self._place})
        except Missing as missing:
            self._give_up(missing, missing)
        self._is_resolved = True

    # What went wrong

    @property
    def _host(self) -> str:
        return self._place[0][:80]

    def _give_up(self, missing: Missing, error: Exception) -> NoReturn:
        """No further call of this evaluation waits for a host that cannot be reached."""
        self._away = missing
        raise Missing(missing.reason, missing.advice) from error

    def _require_reachable(self) -> None:
        if self._away is not None:
            raise Missing(self._away.reason, self._away.advice)

    def _no_address(self) -> Missing:
        return Missing(Reason.UNREACHABLE, f"{self._host} sends on to no address that can be asked")

    def _too_large(self, max_bytes: int) -> Missing:
        return Missing(Reason.TOO_LARGE, f"{self._host} answered with more than {max_bytes >> 20} MiB")

    def _too_slow(self) -> Missing:
        return Missing(Reason.TIMEOUT, f"{self._host} did not answer within {CALL_SECONDS:g} seconds; try again later")

    # Connections

    @cached_property
    def _own_client(self) -> httpx.Client:
        # Reading the certificates of the world takes longer than a whole evaluation on a local mirror.
        return self._client(verify=False if self._is_http else _certificates(), trust_env=is_proxied(self.base_url))

    @cached_property
    def _pinned_client(self) -> httpx.Client:
        # Without the environment: it could send what was checked here to a proxy that looks the name up anew.
        return self._client(verify=_certificates(), trust_env=False)

    @cached_property
    def _proxy_client(self) -> httpx.Client:
        return self._client(verify=_certificates(), trust_env=True)

    def _client(self, *, verify: ssl.SSLContext | bool, trust_env: bool) -> httpx.Client:
        client = httpx.Client(verify=verify, trust_env=trust_env, follow_redirects=False)
        self._clients.append(client)
        return client


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


@cache
def _agent() -> str:
    return f"weighhouse/{metadata.version('weighhouse')}"


def _params(query: Query | None) -> dict[str, str | list[str]] | None:
    if not query:
        # An empty mapping would take away the query that the address has.
        return None
    return {name: value if isinstance(value, str) else list(value) for name, value in query.items()}


def retry_after(headers: Mapping[str, str], default: float) -> float:
    """Seconds to wait: `Retry-After` as a number or as a date."""
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):
        return default


def _is_used_up(answer: Answer) -> bool:
    """Whether a limit by the hour is reached, so that asking again in a moment is in vain."""
    return answer.headers.get("x-ratelimit-remaining") == "0" and "retry-after" not in answer.headers


@contextlib.contextmanager
def _breaks() -> Iterator[None]:
    """What the library says of a connection that was there and is no more, in our words."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise
    except httpx.TimeoutException as error:
        raise StoodStill(type(error).__name__) from error
    except httpx.TransportError as error:
        raise Broken(type(error).__name__) from error


@contextlib.contextmanager
def _slot(place: tuple[str, int], seconds: float) -> Iterator[None]:
    with _slots_guard:
        slot = _slots.setdefault(place, threading.BoundedSemaphore(CALLS_AT_ONCE))
    if not slot.acquire(timeout=max(0.1, seconds)):
        raise Missing(Reason.TIMEOUT, f"{place[0][:80]} is slow and asked by many; try again later")
    try:
        yield
    finally:
        slot.release()
