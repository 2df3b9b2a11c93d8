"""Registry errors as problem documents (RFC 9457). The one table from family to status is here."""

import re
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from weighhouse.rules.errors import (
    Away,
    Conflict,
    Denied,
    Exhausted,
    Invalid,
    Malformed,
    NotFound,
    RegistryError,
    TooLarge,
    Unauthenticated,
)
from weighhouse.rules.zipview import RangeNotSatisfiable

STATUSES: Mapping[type[RegistryError], int] = {
    Malformed: 400,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    RangeNotSatisfiable: 416,
    Invalid: 422,
    Exhausted: 429,
    Away: 503,
}

MEDIA_TYPE = "application/problem+json"

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HTTP_ADVICE = {
    404: ("not-found", "There is nothing at this address. See /docs for the addresses that there are."),
    405: ("method-not-allowed", "This address does not take this method. The Allow header names those it takes."),
    415: ("unsupported-media-type", "This address does not take this kind of content. See /docs for what it takes."),
}


_OTHERS: Mapping[str, tuple[int, str]] = {
    "http-error": (400, "Http error"),
    "method-not-allowed": (405, "Method not allowed"),
    "unsupported-media-type": (415, "Unsupported media type"),
    "internal-error": (500, "Internal error"),
}


class BodyMalformed(Malformed):
    """The body is not acceptable JSON."""


class UnsupportedMedia(HTTPException):
    """The content is of a kind that the address does not take."""

    def __init__(self, detail: str) -> None:
        super().__init__(415, detail)


def slug(error: type[RegistryError]) -> str:
    """The last part of a problem's type: `version-exists` for `VersionExists`."""
    return _WORD.sub("-", error.__name__).lower()


def status_of(error: type[RegistryError]) -> int:
    """The status of an error's family.

    Raises:
        KeyError: It belongs to none.
    """
    return next(STATUSES[family] for family in error.__mro__ if family in STATUSES)


def known_problems() -> Iterator[type[RegistryError]]:
    """Every kind of error that the registry's loaded parts can raise, by name."""
    kinds, pending = set(), list(STATUSES)
    while pending:
        kind = pending.pop()
        kinds.add(kind)
        pending.extend(kind.__subclasses__())
    return iter(sorted(kinds, key=lambda kind: kind.__name__))


def explain(kind: str) -> tuple[int, str] | None:
    """Status and title of a kind of problem; `None` when no problem is of that kind."""
    for error in known_problems():
        if slug(error) == kind:
            return status_of(error), title_of(error)
    return _OTHERS.get(kind)


def title_of(error: type[RegistryError]) -> str:
    """What a kind of error means, in one line."""
    return (error.__doc__ or "").strip().splitlines()[0].rstrip(".")


def install(api: FastAPI) -> None:
    """Answers every error of the app as a problem document."""
    api.add_exception_handler(RegistryError, _registry_error)
    api.add_exception_handler(RequestValidationError, _validation_error)
    api.add_exception_handler(HTTPException, _http_error)


def problem(
    scope: MutableMapping[str, Any],
    status: int,
    kind: str,
    title: str,
    detail: str,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document; it carries the request's id, and its detail goes to the request log."""
    state = scope.setdefault("state", {})
    state["error"] = detail
    body: dict[str, Any] = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": detail}
    body |= {name: value for name, value in (members or {}).items() if name not in body}
    body["request_id"] = state.get("request_id")
    return Response(orjson.dumps(body, default=_plain), status, headers, MEDIA_TYPE)


def problem_of(scope: MutableMapping[str, Any], error: RegistryError) -> Response:
    """The problem document of a registry error."""
    kind = type(error)
    status = status_of(kind)
    headers = {}
    if (seconds := getattr(error, "retry_after_seconds", None)) is not None:
        headers["Retry-After"] = str(seconds)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size_bytes}"
    members = {name: value for name, value in error.members.items() if value not in (None, "")}
    if isinstance(error, Invalid) and error.field:
        members["errors"] = [{"field": error.field, "detail": error.detail}]
    return problem(scope, status, slug(kind), title_of(kind), error.detail, members, headers)


def recorded_document(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The problem document of an error that was met elsewhere, and recorded by its kind, detail and members."""
    kind = next((one for one in known_problems() if one.__name__ == recorded["kind"]), Away)
    document = {
        "type": f"/problems/{slug(kind)}",
        "title": title_of(kind),
        "status": status_of(kind),
        "detail": recorded["detail"],
    }
    return dict(recorded["members"]) | document


def recorded_problem(scope: MutableMapping[str, Any], recorded: Mapping[str, Any]) -> Response:
    """The same as an answer."""
    document = recorded_document(recorded)
    seconds = document.get("retry_after_seconds")
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    kind = document["type"].removeprefix("/problems/")
    return problem(scope, document["status"], kind, document["title"], document["detail"], document, headers)


async def _registry_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistryError)
    return problem_of(request.scope, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    malformed = next((item for item in found if item["type"] == "json_invalid"), None)
    if malformed is not None:
        return problem_of(request.scope, BodyMalformed("The body is not valid JSON. Send a JSON document."))
    fields = [{"field": _field(item["loc"]), "detail": _sentence(item["msg"])} for item in found[:20]]
    detail = "; ".join(f"{item['field'] or 'body'}: {item['detail'].removesuffix('.')}" for item in fields[:3])
    return problem(
        request.scope, 422, "invalid", "A field has a value that it cannot have", f"{detail}.", {"errors": fields}
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind, advice = _HTTP_ADVICE.get(error.status_code, ("http-error", str(error.detail)))
    if error.status_code == 415:
        advice = str(error.detail)
    return problem(
        request.scope, error.status_code, kind, kind.replace("-", " ").capitalize(), advice, headers=error.headers
    )


def _field(location: tuple[Any, ...]) -> str:
    """`body.permissions.0` without the part that says where the field came from."""
    return ".".join(str(part) for part in location[1:]) if len(location) > 1 else ""


def _sentence(message: str) -> str:
    """What a validator says, without the mark that its library sets before ours."""
    return message.removeprefix("Value error, ")


def _plain(value: object) -> object:
    if isinstance(value, UUID | datetime):
        return str(value)
    return list(value) if isinstance(value, frozenset | set | tuple) else repr(value)
