"""POST and GET /packages."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from weighhouse.doors.api.answers import answer, page_headers, problems
from weighhouse.doors.api.schemas import search as schemas
from weighhouse.doors.api.schemas.shape import Score, Text, VerdictName
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Registry, Searcher
from weighhouse.registry import search

router = APIRouter(tags=["Search"], route_class=StrictRoute)

Limit = Annotated[int, Query(ge=1, le=100, description="Packages on a page.")]
Filter = Annotated[Text | None, Query(max_length=1024)]
Queries = Annotated[list[schemas.PackageQuery], Body(max_length=100)]


@router.post(
    "/packages",
    response_model=schemas.PackagesFound,
    responses=problems(400, 401, 403, 413, 415, 422, 429, 503),
    summary="Search packages by queries",
)
def post_packages(
    registry: Registry,
    caller: Searcher,
    queries: Queries,
    offset: Annotated[int, Query(ge=0, le=search.MAX_OFFSET, description="Packages to skip.")] = 0,
    limit: Limit = 50,
) -> Response:
    """Packages that match any of the queries; within one, all conditions have to hold. An empty list finds all.

    They come by name, then newest version first.
    """
    asked = [search.PackageQuery(query.name, query.version, query.regex) for query in queries]
    page = search.search_packages(registry, caller, asked, offset=offset, limit=limit)
    return answer({"packages": page.packages, "total": page.total, "offset": offset, "limit": limit})


@router.get(
    "/packages",
    response_model=schemas.PackagesPage,
    responses=problems(400, 401, 403, 422, 429, 503),
    summary="List and search packages",
)
def get_packages(
    registry: Registry,
    request: Request,
    caller: Searcher,
    q: Annotated[Text | None, Query(max_length=1024, description="Words to search for, ranked.")] = None,
    name: Filter = None,
    version: Filter = None,
    regex: Filter = None,
    license: Filter = None,  # noqa: A002 - the parameter's name on the wire
    min_net_score: Annotated[Score | None, Query()] = None,
    verdict: Annotated[VerdictName | None, Query()] = None,
    uploader: Annotated[Text | None, Query(max_length=1024, description="Name or id of a user.")] = None,
    sort: Annotated[
        Text | None,
        Query(
            max_length=64,
            description="relevance, name, upload_date, net_score or downloads; - in front turns it. "
            "By relevance with `q`, else newest first, when left out.",
        ),
    ] = None,
    cursor: Annotated[Text | None, Query(max_length=4096, description="`next_cursor` of the page before.")] = None,
    limit: Limit = 50,
) -> Response:
    """Packages that pass all filters, page by page. A page costs the same at any depth."""
    filters = search.Filters(q, name, version, regex, license, min_net_score, verdict, uploader)
    page = search.list_packages(registry, caller, filters, sort=sort, cursor=cursor, limit=limit)
    body: dict[str, Any] = {"packages": page.packages, "total": page.total, "offset": 0, "limit": limit}
    body["next_cursor"] = page.next_cursor
    return answer(body, headers=page_headers(request, page.next_cursor))
