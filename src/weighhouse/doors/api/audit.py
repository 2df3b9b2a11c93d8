"""The audit trail: as JSON lines, its head, and what was done to one package."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from weighhouse.doors.api.answers import Cursor, Listing, answer, problems
from weighhouse.doors.api.schemas import audit as schemas
from weighhouse.doors.api.schemas.shape import Id, Text
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Admin, Registry, Searcher
from weighhouse.registry import trail

router = APIRouter(tags=["Audit"], route_class=StrictRoute)

_LINES = "application/x-ndjson"

Start = Annotated[datetime | None, Query(description="The earliest; without a zone it is UTC.")]
End = Annotated[datetime | None, Query(description="The latest; without a zone it is UTC.")]
Limit = Annotated[int, Query(ge=1, le=100, description="Rows on a page.")]


@router.get(
    "/audit",
    response_class=Response,
    responses={
        200: {"description": "An entry a line.", "content": {_LINES: {}}},
        **problems(401, 403, 422, 429, 503),
    },
    summary="Export the audit trail",
)
def get_audit(
    registry: Registry,
    caller: Admin,
    start_time: Start = None,
    end_time: End = None,
    package: Annotated[Text | None, Query(max_length=200, description="An id, NAME or NAME@VERSION.")] = None,
    user: Annotated[Text | None, Query(max_length=100, description="An id or a name.")] = None,
) -> Response:
    """The trail in the order of its chain, streamed as JSON lines; entries that wait to be sealed come last. Admins only."""
    wanted = trail.Wanted(start_time, end_time, package, user)
    return StreamingResponse(trail.export_trail(registry, wanted), media_type=_LINES)


@router.get(
    "/audit/head",
    response_model=schemas.TrailHead,
    responses=problems(401, 403, 429, 503),
    summary="The head of the audit trail",
)
def get_audit_head(registry: Registry, caller: Admin) -> Response:
    """How far the chain is, to be noted elsewhere, and what is not in it yet. Admins only."""
    with registry.db.read(snapshot=True) as tx:
        state = trail.trail_state(tx)
    body = {"head": str(state.head), "chain": state.head.chain}
    return answer({**body, "waiting": state.waiting, "waiting_since": state.waiting_since})


@router.get(
    "/package/{package_id}/audit",
    response_model=schemas.Entries,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="What was done to a package",
)
def get_package_audit(
    registry: Registry,
    request: Request,
    caller: Searcher,
    package_id: Id,
    start_time: Start = None,
    end_time: End = None,
    action: Annotated[Text | None, Query(max_length=100, description="Exactly this action.")] = None,
    outcome: Annotated[schemas.OutcomeName | None, Query(description="Exactly this outcome.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Newest first. Its uploader and admins see all; others no downloads, refused attempts and addresses."""
    listing = Listing(registry, request, caller)
    with registry.db.read() as tx:
        page = trail.list_trail(
            tx,
            caller,
            package_id,
            wanted=trail.Wanted(start_time, end_time),
            action=action,
            outcome=outcome,
            cursor=listing.last_seen_id(cursor),
            limit=limit,
        )
    shown = [{name: value for name, value in entry.items() if name != "package_id"} for entry in page.rows]
    return listing.answer({"entries": shown}, page.next_cursor)
