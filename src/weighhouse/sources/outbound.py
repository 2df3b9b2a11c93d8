"""The way out over HTTP: bounded in time and size, only to checked addresses, a token only to the host that it is for."""

import contextlib
import email.utils
import logging
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn
from urllib.parse import urlsplit

import httpx

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources.addresses import checked_addresses, place_of
from weighhouse.sources.budget import Budget

CALL_SECONDS = 10.0
CONNECT_SECONDS = 5.0
RETRIES = 2
LONGEST_PAUSE_SECONDS = 10.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_HOPS = 3
CALLS_AT_ONCE = 8
"""Calls to one host that are under way; a slow host keeps nobody from the others."""

AGAIN = frozenset({429, 500, 502, 503, 504})
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_MOVED = frozenset({301, 302, 303, 307, 308})

Query = Mapping[str, str | Sequence[str]]

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


class Outbound:
    """Requests to one address that the operator set, and to where it sends on.

    The operator's host may have any address; a host that it sends on to must have a public one, and never sees the token.

    Args:
        base_url: An http or https address.
        token: Sent as a bearer token to the base's host and port.
        user_agent: How this server names itself.
    """

    def __init__(self, base_url: str, *, token: str | None = None, user_agent: str = "weighhouse") -> None:
        self.base_url = base_url.rstrip("/")
        self._place = place_of(self.base_url)
        self._token = token
        self._user_agent = user_agent
        self._is_http = self.base_url.startswith("http://")
        self._away: Missing | None = None
        self._clients: list[httpx.Client] = []

    def __enter__(self) -> "Outbound":
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
        url = path if path.startswith(f"{self.base_url}/") else self.base_url + path
        for attempt in range(RETRIES + 1):
            self._require_reachable()
            budget.take()
            seconds = min(CALL_SECONDS, budget.seconds_left)
            pause = 0.5 * 2**attempt
            try:
                answer = self._ask_once(url, query, headers, seconds, max_bytes)
            except Broken as broken:
                if attempt == RETRIES:
                    raise Missing(
                        Reason.UNREACHABLE, f"The connection to {self._host} broke; evaluate again"
                    ) from broken
            else:
                if answer.status not in AGAIN:
                    return answer
                pause = retry_after(answer.headers, pause)
                if attempt == RETRIES or pause > min(LONGEST_PAUSE_SECONDS, budget.seconds_left):
                    raise self._refused_for_now(answer.status)
            time.sleep(pause)
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
        for _ in range(MAX_HOPS + 1):
            with self._sent(url, query, headers, timeout) as response:
                if response.status_code not in _MOVED:
                    yield response
                    return
                url, query = self._next(url, response.headers.get("location", "")), None
        raise Missing(Reason.UNREACHABLE, f"{self._host} sends on more than {MAX_HOPS} times; tell the operator")

    def _next(self, url: str, location: str) -> str:
        try:
            return str(httpx.URL(url).join(location))
        except httpx.InvalidURL as error:
            raise self._no_address() from error

    def _no_address(self) -> Missing:
        return Missing(Reason.UNREACHABLE, f"{self._host} sends on to no address that can be asked")

    @property
    def _host(self) -> str:
        return self._place[0][:80]

    def _ask_once(
        self, url: str, query: Query | None, headers: Mapping[str, str] | None, seconds: float, max_bytes: int
    ) -> Answer:
        ends_at = time.monotonic() + seconds
        waits = min(CONNECT_SECONDS, seconds)
        with (
            _slot(self._place, seconds),
            self.open(url, headers or {}, connect_seconds=waits, read_seconds=seconds, query=query) as response,
        ):
            body = bytearray()
            for piece in self.pieces(response):
                body += piece
                if len(body) > max_bytes:
                    raise Missing(Reason.TOO_LARGE, f"{self._host} answered with more than {max_bytes >> 20} MiB")
                if time.monotonic() > ends_at:
                    raise Missing(Reason.TIMEOUT, f"{self._host} answered too slowly; evaluate again later")
            return Answer(response.status_code, response.headers, bytes(body))

    def pieces(self, response: httpx.Response) -> Iterator[bytes]:
        """The body of an opened answer, as it comes.

        Raises:
            Broken: The connection broke, stood still or ended too early.
            Missing: The body is compressed although that was not asked for (`malformed`).
        """
        if response.headers.get("content-encoding", "identity") != "identity":
            # A small compressed body can hide one that fills the memory.
            raise Missing(Reason.MALFORMED, f"{self._host} compresses what was asked for plain; tell the operator")
        try:
            yield from response.iter_raw()
        except httpx.TransportError as error:
            raise Broken(type(error).__name__) from error

    @contextlib.contextmanager
    def _sent(
        self, url: str, query: Query | None, headers: Mapping[str, str], timeout: httpx.Timeout
    ) -> Iterator[httpx.Response]:
        try:
            place = place_of(url)
        except ValueError:
            raise self._no_address() from None
        sent = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", **headers}
        if place == self._place:
            if self._token:
                sent["Authorization"] = f"Bearer {self._token}"
            client, extensions = self._own_client, dict[str, str]()
            if not _proxied(url):
                self._resolve(place)
        else:
            if not self._is_http and url.startswith("http://"):
                raise Missing(Reason.FORBIDDEN, f"{self._host} sends on from https to http, which is not followed")
            client = self._proxy_client if _proxied(url) else self._pinned_client
            url, host, extensions = self._pinned(url, place)
            sent |= {"Host": host} if host else {}
        request = client.build_request("GET", url, params=_params(query), headers=sent, timeout=timeout)
        request.extensions.update(extensions)
        try:
            response = client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._give_up(Reason.UNREACHABLE, f"{place[0][:80]} cannot be reached; evaluate again later", error)
        except httpx.TransportError as error:
            raise Broken(type(error).__name__) from error
        except httpx.InvalidURL as error:
            # The library reads where it is sent on to, also when it does not follow.
            raise self._no_address() from error
        try:
            yield response
        finally:
            response.close()

    def _pinned(self, url: str, place: tuple[str, int]) -> tuple[str, str, dict[str, str]]:
        """The address by number, the host's name for the request, and for TLS: what was checked is what is connected to."""
        if _proxied(url):
            # The operator's proxy resolves the name, and decides what may be reached.
            return url, "", {}
        addresses = _within(CONNECT_SECONDS, lambda: checked_addresses(*place, own={self._place}))
        parts = urlsplit(url)
        number = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        pinned = parts._replace(netloc=f"{number}:{place[1]}").geturl()
        return pinned, parts.netloc.rpartition("@")[2], {"sni_hostname": place[0]}

    def _resolve(self, place: tuple[str, int]) -> None:
        """Looks the name up first, with a limit: a resolver that does not answer would hold up the whole evaluation."""
        try:
            _within(CONNECT_SECONDS, lambda: checked_addresses(*place, own={self._place}))
        except Missing as missing:
            self._give_up(missing.reason, missing.advice, missing)

    def _give_up(self, reason: Reason, advice: str, error: Exception) -> NoReturn:
        """No further call of this evaluation waits for a host that cannot be reached."""
        self._away = Missing(reason, advice)
        raise Missing(reason, advice) from error

    def _require_reachable(self) -> None:
        if self._away is not None:
            raise Missing(self._away.reason, self._away.advice)

    def _refused_for_now(self, status: int) -> Missing:
        if status == 429:
            return Missing(Reason.RATE_LIMITED, f"{self._host} takes no more questions for now; evaluate again later")
        return Missing(Reason.UNREACHABLE, f"{self._host} answers {status}; evaluate again later")

    @cached_property
    def _own_client(self) -> httpx.Client:
        # Reading the certificates of the world takes longer than a whole evaluation on a local mirror.
        return self._client(verify=False if self._is_http else _certificates(), trust_env=_proxied(self.base_url))

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


def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _params(query: Query | None) -> dict[str, str | list[str]] | None:
    if not query:
        # An empty mapping would take away the query that the address has.
        return None
    return {name: value if isinstance(value, str) else list(value) for name, value in query.items()}


def _proxied(url: str) -> bool:
    """Whether the environment sends requests for this address through a proxy; those for this machine never go there."""
    parts = urlsplit(url)
    if parts.hostname in _THIS_MACHINE:
        return False
    proxies = urllib.request.getproxies()
    named = parts.scheme in proxies or "all" in proxies
    return named and not urllib.request.proxy_bypass(parts.hostname or "")


def retry_after(headers: Mapping[str, str], default: float) -> float:
    """Seconds to wait: `Retry-After` as a number or as a date."""
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):
        return default


@contextlib.contextmanager
def _slot(place: tuple[str, int], seconds: float) -> Iterator[None]:
    with _slots_guard:
        slot = _slots.setdefault(place, threading.BoundedSemaphore(CALLS_AT_ONCE))
    if not slot.acquire(timeout=max(0.1, seconds)):
        raise Missing(Reason.TIMEOUT, f"{place[0][:80]} is slow and asked by many; evaluate again later")
    try:
        yield
    finally:
        slot.release()


def _within(seconds: float, look: Callable[[], Sequence[str]]) -> Sequence[str]:
    """What `look()` finds; a look that takes longer is left to itself.

    Raises:
        Missing: It took longer, or raised it.
    """
    found: list[Sequence[str] | Missing] = []

    def run() -> None:
        try:
            found.append(look())
        except Missing as missing:
            found.append(missing)

    thread = threading.Thread(target=run, name="resolve", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise Missing(Reason.UNREACHABLE, "The name of the host was not resolved in time; evaluate again later")
    if isinstance(found[0], Missing):
        raise found[0]
    return found[0]
