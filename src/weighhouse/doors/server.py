"""Mounts the HTTP doors; checks, counts and logs every request on its way through."""

import contextlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote_to_bytes
from uuid import UUID, uuid4

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from weighhouse.app import App
from weighhouse.doors import problems, refusals
from weighhouse.doors.api import (
    accounts,
    audit,
    confusion,
    direct,
    ingest,
    licenses,
    packages,
    probes,
    provenance,
    search,
    system,
    uploads,
)
from weighhouse.doors.api.body import BodyTooSlow, Pace
from weighhouse.doors.caller import share_visit
from weighhouse.registry.audit import Origin, acting_from
from weighhouse.registry.monitor import Recorder
from weighhouse.registry.monitor import Request as AnsweredRequest
from weighhouse.registry.sealing import Sealer
from weighhouse.rules.errors import Invalid, Malformed, RegistryError, TooLarge
from weighhouse.rules.permissions import Caller

MAX_BODY_BYTES = 1024 * 1024
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
"""Of an announced package: 50,000 files with paths of 200 characters."""
MAX_PATH_BYTES = 8 * 1024

_log = logging.getLogger("weighhouse.requests")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# It offers a download and takes it down in the history: who only asks for its head is told that it cannot be had so.
_OFFER = re.compile(r"/package/[^/]+")
_SENT_FILE = re.compile(r"/package/uploads/[^/]+/files/[^/]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# As they go over the wire: these are added to every answer.
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# The API's own pages: scripts from here only; both viewers set styles from their scripts and draw with data images.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; frame-ancestors 'none'"
)
_PAGES = frozenset({"/docs", "/redoc"})

_DESCRIPTION = """
A registry that weighs machine-learning models before a team may use them.

Get a token with `POST /authenticate` and send it as `X-Authorization`. Errors are problem documents (RFC 9457) whose
`detail` says what to do. Times are UTC.
"""


class BodyTooLarge(TooLarge):
    """The body is larger than any that this address takes."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The body has more than {max_bytes} bytes. Send less at once.")


class HostRefused(Malformed):
    """The request names a host that this server is not."""

    def __init__(self) -> None:
        super().__init__("This server does not answer to that host name. Its operator can add it to ALLOWED_HOSTS.")


class PathRefused(Malformed):
    """The path holds what no path may hold."""

    def __init__(self) -> None:
        super().__init__("The path is too long, or holds a control character or bytes that are not UTF-8.")


class QueryRefused(Invalid):
    """The query holds what no text may hold."""

    def __init__(self) -> None:
        super().__init__("The query holds a NUL character or bytes that are not UTF-8. Leave them out.", field="query")


class NamedTwice(Invalid):
    """The query gives one parameter twice."""

    def __init__(self, name: str) -> None:
        super().__init__("The query gives this parameter more than once. Give it once.", field=name)


def make_app(registry: App) -> FastAPI:
    """The ASGI application of a registry."""
    boot_id = os.environ.get("WEIGHHOUSE_BOOT_ID")
    recorder = Recorder(registry, UUID(boot_id) if boot_id else None)
    sealer = Sealer(registry)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        recorder.start()
        sealer.start()
        yield
        await run_in_threadpool(recorder.stop)
        await run_in_threadpool(sealer.stop)
        registry.close()

    api = FastAPI(
        title="Weighhouse",
        version="0.1.0",
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    api.state.registry = registry
    api.state.is_draining = False
    for router in (
        accounts.router,
        confusion.router,
        search.router,
        uploads.router,
        direct.router,
        ingest.router,
        licenses.router,
        packages.router,
        audit.router,
        provenance.router,
        probes.router,
        system.router,
        system.pages,
    ):
        _mount(api, router)
    api.mount("/static", StaticFiles(directory=system.STATIC), name="static")
    problems.install(api)
    api.add_exception_handler(RegistryError, refusals.answer_refusal)
    api.add_middleware(Gate, registry=registry, recorder=recorder)
    if registry.settings.trusted_proxies:
        # Outermost, so that throttle, history and logs see the client's address and not the proxy's.
        api.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(registry.settings.trusted_proxies))
    return api


def _mount(api: FastAPI, router: APIRouter) -> None:
    """Has the app answer for the routes of a router. Included as a whole, each request would be matched twice."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            route.unique_id = route.name
            share_visit(route)
        api.router.routes.append(route)


class Gate:
    """Stands in front of every route: refuses what no route takes, names the request, and takes down what was answered."""

    def __init__(self, app: ASGIApp, registry: App, recorder: Recorder) -> None:
        self._app = app
        self._hosts = registry.settings.accepted_hosts
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked: str = scope["method"][:16]
        if asked == "HEAD" and not _OFFER.fullmatch(scope["path"]):
            # Routes know GET only. uvicorn keeps the scope as it was, and sends the head of the answer alone.
            scope = {**scope, "method": "GET", "state": {**scope.get("state", {}), "is_head": True}}
        visit = _Visit(scope, send, asked)
        with acting_from(Origin((scope.get("client") or (None,))[0], visit.request_id)):
            await self._answer(scope, receive, visit)

    async def _answer(self, scope: Scope, receive: Receive, visit: "_Visit") -> None:
        try:
            refusal = _refusal(scope, self._hosts if scope["path"] not in probes.PATHS else None)
            if refusal is not None:
                await problems.problem_of(scope, refusal)(scope, receive, visit.send)
            else:
                await self._app(scope, _bounded(scope, receive), visit.send)
        except ClientDisconnect:
            scope["state"]["error"] = "The client went away."
        except RegistryError as error:
            await visit.fail(problems.problem_of(scope, error), receive)
        except Exception as error:
            # The last line of defence: the client learns an id and no more, the log has the rest.
            _log.exception("request %s failed", visit.request_id, exc_info=error)
            detail = "Something went wrong in the registry. Tell its operator the request_id."
            await visit.fail(problems.problem(scope, 500, "internal-error", "Internal error", detail), receive)
        finally:
            self._take_down(visit)

    def _take_down(self, visit: "_Visit") -> None:
        request = visit.answered()
        if request.path in probes.PATHS:
            # They come every few seconds and are nobody's requests: figures and log would be full of them.
            return
        self._recorder.take(request)
        level = getattr(logging, request.level)
        if _log.isEnabledFor(level):
            told = (request.method, request.path, request.status_code, request.duration_ms)
            extra = {"request_id": request.request_id, "username": request.username}
            # Not by `log`, which walks the stack for a place in the code that no line shows.
            _log.handle(_log.makeRecord(_log.name, level, "", 0, "%s %s %d %.1f ms", told, None, extra=extra))


class _Visit:
    """One request on its way through."""

    def __init__(self, scope: Scope, send: Send, method: str) -> None:
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex[:16]
        self._method = method
        self._scope = scope
        self._send = send
        self._started = time.perf_counter()
        self._status: int | None = None
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._added(message)]
        await self._send(message)

    def _added(self, message: Message) -> Iterator[tuple[bytes, bytes]]:
        """What every answer carries, unless the route said it itself."""
        said = {name.lower() for name, _ in message.get("headers", ())}
        path = self._scope["path"]
        yield b"x-request-id", self.request_id.encode()
        if path in _PAGES:
            said.add(b"content-security-policy")
            yield b"content-security-policy", _PAGE_POLICY.encode()
        for name, value in _SAFE_HEADERS:
            if name not in said:
                yield name, value
        if b"cache-control" not in said and (not path.startswith("/static/") or message["status"] >= 400):
            yield b"cache-control", b"no-store"
        caller = self._scope["state"].get("caller")
        if caller is not None:
            yield from _rate_limit(caller)

    async def fail(self, answer: Response, receive: Receive) -> None:
        """Sends a problem, unless an answer has begun; then the connection is cut, so that nobody takes it for whole."""
        if self._status is not None:
            self._scope["state"].setdefault("error", "The answer broke off.")
            raise ConnectionAbortedError("The answer had begun when it failed")
        await answer(self._scope, receive, self.send)

    def answered(self) -> AnsweredRequest:
        """The request as it was answered."""
        scope, state = self._scope, self._scope["state"]
        route = scope.get("route")
        caller: Caller | None = state.get("caller")
        status = self._status or 499
        return AnsweredRequest(
            endpoint=f"{self._method} {getattr(route, 'path', '(no such address)')}",
            method=self._method,
            path=ascii(scope["path"])[1:-1],
            status_code=status,
            duration_ms=1000 * (time.perf_counter() - self._started),
            error=state.get("error") if status >= 400 else None,
            request_id=self.request_id,
            username=caller.username if caller else None,
            answered_at=datetime.now(UTC),
        )


def _refusal(scope: Scope, hosts: frozenset[str] | None) -> RegistryError | None:
    """Why no route may see this request, if so.

    Args:
        hosts: Those that it may name; `None` for any, since whoever probes a server asks by the address that it has.
    """
    headers = Headers(scope=scope)
    named = headers.getlist("host")
    if hosts is not None and (len(named) != 1 or _host_of(named[0]) not in hosts):
        return HostRefused()
    raw_path: bytes = scope.get("raw_path") or b""
    if len(raw_path) > MAX_PATH_BYTES or not _is_clean(scope["path"]):
        return PathRefused()
    query: bytes = scope["query_string"]
    if b"%00" in query or b"\0" in query or "\ufffd" in _decoded(query):
        return QueryRefused()
    twice = _named_twice(query)
    if twice is not None:
        return NamedTwice(twice)
    length = headers.get("content-length", "0")
    limit = _body_limit(scope)
    if limit is not None and length.isdecimal() and int(length[:20]) > limit:
        return BodyTooLarge(limit)
    return None


def _host_of(host: str) -> str:
    """The host name of a `Host` header, lower case, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _is_clean(path: str) -> bool:
    return "\ufffd" not in path and _CONTROL.search(path) is None


def _decoded(query: bytes) -> str:
    return unquote_to_bytes(query).decode("utf-8", "replace")


def _named_twice(query: bytes) -> str | None:
    """A parameter that a query gives more than once: which of its values counts, each reader would decide differently."""
    seen: set[str] = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in seen:
            return name
        seen.add(name)
    return None


def _body_limit(scope: Scope) -> int | None:
    """How long the body may be; `None` where packages come in, and the route itself counts."""
    method, path = scope["method"], scope["path"]
    if (method == "POST" and path == "/package") or (method == "PUT" and _SENT_FILE.fullmatch(path)):
        return None
    return MAX_MANIFEST_BYTES if method == "POST" and path == "/package/begin" else MAX_BODY_BYTES


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """`receive`, which refuses a body beyond the limit also when no length was announced, and does not wait for it forever."""
    limit = _body_limit(scope)
    if limit is None:
        return receive
    taken, pace, is_whole = 0, Pace(), False

    async def receive_bounded() -> Message:
        nonlocal taken, is_whole
        if is_whole:
            # What comes now is that the client left, and it may take its time.
            return await receive()
        try:
            message = await pace.wait(receive())
            size = len(message.get("body", b""))
            pace.count(size)
        except TimeoutError:
            raise BodyTooSlow from None
        taken += size
        if taken > limit:
            raise BodyTooLarge(limit)
        is_whole = not message.get("more_body", False)
        return message

    return receive_bounded


def _rate_limit(caller: Caller) -> Iterator[tuple[bytes, bytes]]:
    """What the token is still good for (IETF draft *RateLimit header fields for HTTP*)."""
    seconds = max(0, int((caller.expires_at - datetime.now(UTC)).total_seconds()))
    yield b"ratelimit-policy", f'"token";q={caller.calls_limit}'.encode()
    yield b"ratelimit", f'"token";r={caller.calls_remaining};t={seconds}'.encode()
