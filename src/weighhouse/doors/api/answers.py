"""How routes answer: JSON with times in UTC, links to the next page, and the problems that a route may answer with."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query, Request
from starlette.responses import Response

from weighhouse.app import App
from weighhouse.doors.api.schemas.shape import Problem, Text
from weighhouse.registry.paging import open_cursor, seal_cursor
from weighhouse.rules.permissions import Caller

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. The route's `response_model` describes it; tests hold the two together."""
    return Response(orjson.dumps(body, option=_OPTIONS), status, headers, "application/json")


Cursor = Annotated[Text | None, Query(max_length=4096, description="`next_cursor` of the page before.")]


class Listing:
    """The pages of one address for one caller: a cursor of another's, or of another address, is refused."""

    def __init__(self, registry: App, request: Request, caller: Caller) -> None:
        self._key = registry.signing_key
        self._request = request
        self._name = f"{caller.user_id} {request.url.path}"

    def last_seen(self, cursor: str | None) -> str | None:
        """What the page before ended with; `None` at the beginning.

        Raises:
            InvalidCursor: It was changed, or made for another listing.
        """
        return None if cursor is None else str(open_cursor(self._key, self._name, cursor)[0])

    def last_seen_id(self, cursor: str | None) -> UUID | None:
        """The same, of rows that are told apart by their ids.

        Raises:
            InvalidCursor: It was changed, or made for another listing.
        """
        seen = self.last_seen(cursor)
        return None if seen is None else UUID(seen)

    def answer(self, body: Mapping[str, Any], last_seen: str | None) -> Response:
        """A page with the way to the next one, which follows `last_seen`; `None` where this is the last."""
        cursor = None if last_seen is None else seal_cursor(self._key, self._name, [last_seen])
        return answer({**body, "next_cursor": cursor}, headers=page_headers(self._request, cursor))


def page_headers(request: Request, next_cursor: str | None) -> dict[str, str]:
    """The `Link` header to the page that follows, where one does."""
    if next_cursor is None:
        return {}
    following = request.url.include_query_params(cursor=next_cursor)
    return {"Link": f'<{following.path}?{following.query}>; rel="next"'}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of a route's problem answers, for its `responses`."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


_MEANINGS = {
    400: "The content is not what it claims to be.",
    401: "No valid token came with the request.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    409: "It goes against what is already there.",
    413: "The content is larger than this server takes.",
    415: "The content is of a kind that is not taken here.",
    416: "The range has no byte of this file.",
    422: "A field has a value that it cannot have.",
    429: "A budget or a rate is used up.",
    503: "The database or the store does not answer.",
}
