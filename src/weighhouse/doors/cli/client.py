"""One server over HTTP: the token's header, problem documents as refusals, one retry where repeating is harmless."""

import email.utils
import ipaddress
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import IO, Any
from urllib.parse import quote, urlsplit

import click
import httpx

from weighhouse.doors.cli.output import Row, clean, note

DEFAULT_SERVER = "http://127.0.0.1:8000"
# RFC 9110 §9.2.2: what may be sent again when the answer was lost.
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_LONGEST_PAUSE_SECONDS = 30.0
_READ_SECONDS = 60.0

Value = str | int | float | bool | None


class Refused(click.ClickException):
    """The server or the content said no; the message says what to do.

    Args:
        detail: One sentence for standard error.
        status: The HTTP status, 0 when there was none.
        members: The problem document's own fields.
    """

    exit_code = 1

    def __init__(self, detail: str, status: int = 0, members: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.members = members or {}

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the detail to standard error."""
        click.echo(clean(self.format_message(), lines=True), file=file, err=file is None)


class Interrupted(Refused):
    """The user pressed Ctrl-C."""

    exit_code = 130

    def __init__(self, detail: str = "Interrupted.") -> None:
        super().__init__(detail)


@dataclass(frozen=True)
class Page:
    """One page of a listing: the answer as it came, and its rows."""

    text: str
    document: Row
    rows: list[Row]


def is_loopback(host: str) -> bool:
    """Does `host` name this very machine?

    >>> is_loopback("127.0.0.9"), is_loopback("::1"), is_loopback("127.0.0.1.example.org")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def server_url(text: str) -> str:
    """The base address of a server in the one spelling that credentials are kept by.

    Raises:
        Refused: `text` is not an http or https address.

    >>> server_url("HTTP://Models.Example.org:8000/")
    'http://models.example.org:8000'
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise Refused(f"{text!r} is not a server's address. Write it like {DEFAULT_SERVER}.") from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
        raise Refused(f"{text!r} is not a server's address. Write it like {DEFAULT_SERVER}.")
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}{f':{port}' if port is not None else ''}{parts.path.rstrip('/')}"


def pause_seconds(response: httpx.Response, default: float = 1.0) -> float:
    """How long the server asks to be left alone: `Retry-After` in seconds or as a date."""
    asked = response.headers.get("Retry-After", "")
    if asked.isdigit():
        return float(asked)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return default


def package_path(package_id: str, *rest: str) -> str:
    """The path of a package's resource, its id written so that it cannot become another path."""
    return "/".join(["/package", *(quote(part, safe="") for part in (package_id, *rest))])


def new_client(url: str, **options: Any) -> httpx.Client:
    """An HTTP client for one address; proxies of the environment are not asked for this very machine."""
    # No redirect is followed: the token and the password go to the server that was named, or nowhere.
    return httpx.Client(
        trust_env=not is_loopback(urlsplit(url).hostname or ""),
        headers={"User-Agent": f"weighhouse/{_version()}"},
        timeout=httpx.Timeout(_READ_SECONDS, connect=10.0),
        **options,
    )


class Server:
    """A server, and who asks it.

    Args:
        url: Its base address, as `server_url` writes it.
        token: The caller's token, empty for nobody.
    """

    def __init__(self, url: str, token: str = "") -> None:
        if token and not (token.isascii() and token.isprintable()):
            raise Refused("The token holds characters that no token has. Copy it again, or run `weighhouse login`.")
        self.url = url
        self.token = token
        self._http = new_client(url)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Value] | None = None,
        body: object = None,
        content: Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        accept: int = 0,
        read_seconds: float = _READ_SECONDS,
    ) -> httpx.Response:
        """The server's answer, when it is a yes.

        Args:
            method: The HTTP method.
            path: Below the server's address, already quoted.
            params: Query parameters; those that are `None` are left out.
            body: Sent as JSON unless `None`.
            content: Sent as it comes, instead of `body`.
            headers: Further headers.
            repeatable: May the request be sent a second time? By default what HTTP calls idempotent may.
            accept: A status beside 2xx that is an answer too.
            read_seconds: Patience until the next byte of the answer.

        Raises:
            Refused: The server said no, or could not be reached.
        """
        again = method in _IDEMPOTENT if repeatable is None else repeatable
        request = self._http.build_request(
            method,
            self.url + path,
            params={name: value for name, value in (params or {}).items() if value is not None},
            content=content if content is not None else None if body is None else json.dumps(body).encode(),
            headers=self._headers(headers, body),
            timeout=httpx.Timeout(read_seconds, connect=10.0),
        )
        response = self._send(request, again, accept)
        if response.is_success or response.status_code == accept:
            return response
        raise self._refusal(response)

    def read(self, path: str, params: Mapping[str, Value] | None = None) -> Row:
        """The JSON object at `path`.

        Raises:
            Refused: The server said no, or answered something else than a JSON object.
        """
        return self.document(self.ask("GET", path, params=params))

    def document(self, response: httpx.Response) -> Row:
        """The JSON object of an answer.

        Raises:
            Refused: The answer is something else: another kind of server stands at this address.
        """
        document = _json_object(response)
        if document is None:
            raise Refused(
                f"{self.url} answered, but not as a Weighhouse server does. Name the right one with --server."
            )
        return document

    def pages(self, path: str, key: str, params: Mapping[str, Value] | None = None) -> Iterator[Page]:
        """The pages of a listing, the next one asked for when it is wanted.

        Args:
            path: The listing's address.
            key: The member of the answer that holds the rows.
            params: Query parameters of the first page.

        Raises:
            Refused: The server said no.
        """
        asked: dict[str, Value] = dict(params or {})
        seen = 0
        while True:
            response = self.ask("GET", path, params=asked)
            document = self.document(response)
            rows = document.get(key)
            page = Page(response.text, document, rows if isinstance(rows, list) else [])
            yield page
            seen += len(page.rows)
            if not page.rows:
                return
            if "next_cursor" in document:
                if not document["next_cursor"]:
                    return
                asked["cursor"] = document["next_cursor"]
            elif seen >= int(document.get("total") or 0):
                return
            else:
                asked["offset"] = int(document.get("offset") or 0) + len(page.rows)

    def _headers(self, headers: Mapping[str, str] | None, body: object) -> dict[str, str]:
        written = {"Accept": "application/json", **(headers or {})}
        if body is not None:
            written["Content-Type"] = "application/json"
        if self.token:
            written["X-Authorization"] = self.token
        return written

    def _send(self, request: httpx.Request, again: bool, accept: int) -> httpx.Response:
        try:
            response = self._http.send(request)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as broken:
            if not again:
                raise self._unreached(broken) from broken
        except httpx.HTTPError as away:
            raise self._unreached(away) from away
        else:
            pause = pause_seconds(response)
            if response.status_code != 503 or accept == 503 or not again or pause > _LONGEST_PAUSE_SECONDS:
                return response
            note(f"The server is busy; asking again in {pause:.0f} s.")
            time.sleep(pause)
        try:
            return self._http.send(request)
        except httpx.HTTPError as away:
            raise self._unreached(away) from away

    def _unreached(self, error: httpx.HTTPError) -> Refused:
        if isinstance(error, httpx.ReadTimeout):
            return Refused(f"{self.url} did not answer in time. Try again, or look at `weighhouse health`.")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            why = f" ({error})" if "certificate" in str(error).lower() else ""
            return Refused(
                f"No server answers at {self.url}{why}. Start one with `weighhouse serve`, or name another with --server."
            )
        return Refused(f"The connection to {self.url} broke before the answer came ({error}). Run the command again.")

    def _refusal(self, response: httpx.Response) -> Refused:
        document = _json_object(response) or {}
        detail = str(document.get("detail") or "")
        if not detail:
            detail = f"{self.url} answered {response.status_code} {response.reason_phrase} without saying why."
            if response.is_redirect:
                detail += f" It points to {response.headers.get('Location', 'nowhere')}; name that with --server."
        if response.status_code == 401:
            detail += f"\nRun `weighhouse login --server {self.url}` to sign in."
        elif response.status_code == 429:
            detail += "\nWait and try again, or run `weighhouse login` for a new token."
        elif response.status_code == 503:
            detail += f"\nTry again in {pause_seconds(response, 5.0):.0f} s."
        return Refused(detail, response.status_code, document)


def _json_object(response: httpx.Response) -> Row | None:
    try:
        document = response.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _version() -> str:
    try:
        return metadata.version("weighhouse")
    except metadata.PackageNotFoundError:
        return "0"
