"""Take a model in from the hub, through the gate."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from weighhouse.app import App
from weighhouse.doors.api.answers import Cursor, Listing, answer, problems
from weighhouse.doors.api.schemas import ingest as schemas
from weighhouse.doors.api.schemas.shape import Id
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Registry, Uploader
from weighhouse.doors.problems import recorded_document, recorded_problem
from weighhouse.registry import ingests
from weighhouse.registry.ingest import Wanted
from weighhouse.registry.packages import storage_path
from weighhouse.registry.visible import find_package
from weighhouse.rules.permissions import Caller

if TYPE_CHECKING:
    from weighhouse.store.tables import Ingest

router = APIRouter(tags=["Packages"], route_class=StrictRoute)

_MESSAGES = {
    "pass": "Model taken in; every score that applies reaches its threshold",
    "hold": "Model taken in; what could be judged reaches its threshold, the rest is not known",
}


@router.post(
    "/package/ingest",
    status_code=201,
    response_model=schemas.Ingested,
    responses={
        202: {"model": schemas.IngestState, "description": "Being fetched or weighed; `Location` says how far it is."},
        **problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
    },
    summary="Take a model in from the hub",
)
async def post_package_ingest(registry: Registry, request: Request, caller: Uploader, body: schemas.Ingest) -> Response:
    """Fetches a model from the hub, weighs it, and publishes it when every score reaches its threshold.

    A model that does not is refused with 422: the problem lists every score with its reasons, those that fail first, and
    nothing is kept. What could not be judged does not refuse: `gate` is then `hold`, and `inconclusive` says why. The
    answer is 202 when it takes longer than the server waits, or with `Prefer: respond-async`; `Location` is then where
    to look.
    """
    # What a form sends as an empty text was left out.
    fields = {name: value or None for name, value in body.model_dump(exclude={"model_url", "all_weights"}).items()}
    wanted = Wanted(body.model_url, all_weights=body.all_weights, **fields)
    is_patient = "respond-async" in request.headers.get("prefer", "").lower()
    ingest_id = await run_in_threadpool(ingests.ask_for_ingest, registry, caller, wanted, is_patient=is_patient)
    seconds = 0 if is_patient else registry.settings.evaluation_wait_seconds
    row = await _wait(registry, caller, ingest_id, seconds)
    if row.state == "admitted":
        return await run_in_threadpool(_admitted, registry, caller, row)
    if row.state in ingests.ENDED:
        return recorded_problem(request.scope, row.outcome)
    return answer(_state(row), 202, {"Location": f"/package/ingest/{ingest_id}"})


@router.get(
    "/package/ingest/{ingest_id}",
    response_model=schemas.IngestState,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="How far an ingest is",
)
def get_package_ingest(registry: Registry, caller: Uploader, ingest_id: Id) -> Response:
    """How far a model is on its way in, and what came of it. For who asked for it, and for admins."""
    return answer(_state(_find(registry, caller, ingest_id)))


@router.delete(
    "/package/ingest/{ingest_id}",
    response_model=schemas.IngestState,
    responses=problems(401, 403, 404, 409, 422, 429, 503),
    summary="Cancel an ingest",
)
def delete_package_ingest(registry: Registry, caller: Uploader, ingest_id: Id) -> Response:
    """Ends an ingest that is under way; nothing of it is kept. For who asked for it, and for admins."""
    with registry.db.write() as tx:
        row = ingests.cancel_ingest(tx, caller, ingest_id)
    return answer(_state(row))


@router.get(
    "/package/ingests",
    response_model=schemas.IngestStates,
    responses=problems(401, 403, 422, 429, 503),
    summary="List ingests",
)
def get_package_ingests(
    registry: Registry,
    request: Request,
    caller: Uploader,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """The caller's ingests, newest first; for admins everybody's."""
    listing = Listing(registry, request, caller)
    with registry.db.read() as tx:
        page = ingests.list_ingests(tx, caller, cursor=listing.last_seen_id(cursor), limit=limit)
    return listing.answer({"ingests": [_state(row) for row in page.rows]}, page.next_cursor)


async def _wait(registry: App, caller: Caller, ingest_id: UUID, seconds: float) -> "Ingest":
    """The ingest when it has ended, or when the time is up."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    row = await run_in_threadpool(_find, registry, caller, ingest_id)
    while row.state not in ingests.ENDED and time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
        row = await run_in_threadpool(_find, registry, caller, ingest_id)
    return row


def _find(registry: App, caller: Caller, ingest_id: UUID) -> "Ingest":
    with registry.db.read() as tx:
        return ingests.find_ingest(tx, caller, ingest_id)


def _state(row: "Ingest") -> Mapping[str, Any]:
    is_admitted = row.state == "admitted"
    return {
        "ingest_id": row.id,
        "state": row.state,
        **{name: row.wanted[name] for name in ("model_url", "revision", "name", "version")},
        "files_total": row.files_total,
        "files_done": row.files_done,
        "bytes_total": row.bytes_total,
        "bytes_done": row.bytes_done,
        "package_id": row.package_id,
        "gate": row.outcome["gate"] if is_admitted else None,
        "net_score": row.outcome["net_score"] if is_admitted else None,
        "coverage": row.outcome["coverage"] if is_admitted else None,
        "inconclusive": row.outcome["inconclusive"] if is_admitted else [],
        "left_out": row.outcome["left_out"] if is_admitted else [],
        "warnings": row.outcome["warnings"] if is_admitted else [],
        "problem": recorded_document(row.outcome) if row.outcome and not is_admitted else None,
        "asked_at": row.asked_at,
        "finished_at": row.finished_at,
    }


def _admitted(registry: App, caller: Caller, row: "Ingest") -> Response:
    assert row.package_id is not None
    with registry.db.read() as tx:
        package = find_package(tx, caller, row.package_id)
    body = {
        "package_id": package.id,
        "name": package.name,
        "version": package.version,
        "s3_path": storage_path(registry, package),
        "message": _MESSAGES[row.outcome["gate"]],
        "status": package.status,
        **row.outcome,
    }
    return answer(body, 201, {"Location": f"/package/{package.id}/metadata"})
