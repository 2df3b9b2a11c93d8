"""How routes answer: JSON with times in UTC, links to the next page, and the problems that a route may answer with."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request
from starlette.responses import Response

from weighhouse.doors.api.schemas import Problem

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. The route's `response_model` describes it; tests hold the two together."""
    return Response(orjson.dumps(body, option=_OPTIONS), status, headers, "application/json")


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
