"""What admins look through: names that look alike."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from weighhouse.doors.api.answers import Cursor, Listing, problems
from weighhouse.doors.api.schemas import confusion as schemas
from weighhouse.doors.api.schemas.shape import Text
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Admin, Registry
from weighhouse.registry import confusion
from weighhouse.rules.lookalikes import LookalikeKind, Severity

router = APIRouter(tags=["System"], route_class=StrictRoute)

_Name = Annotated[Text | None, Query(max_length=96, description="Exactly this one, whatever the letter case.")]


@router.get(
    "/audit/package-confusion",
    response_model=schemas.Confusions,
    responses=problems(401, 403, 422, 429, 503),
    summary="Names that look like another",
)
def get_audit_package_confusion(
    registry: Registry,
    request: Request,
    caller: Admin,
    severity: Annotated[Severity | None, Query(description="The mildest shown.")] = None,
    kind: Annotated[LookalikeKind | None, Query(description="Exactly this kind.")] = None,
    name: _Name = None,
    similar_name: _Name = None,
    uploader: _Name = None,
    blocked: Annotated[bool | None, Query(description="Only those refused, or only those let in.")] = None,
    start_time: Annotated[datetime | None, Query(description="The earliest; without a zone it is UTC.")] = None,
    end_time: Annotated[datetime | None, Query(description="The latest; without a zone it is UTC.")] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Rows on a page.")] = 50,
) -> Response:
    """Uploads whose name can be taken for another, or whose weights are another's, newest first. Admins only."""
    listing = Listing(registry, request, caller)
    with registry.db.read() as tx:
        page = confusion.list_confusions(
            tx,
            caller,
            severity=severity,
            kind=kind,
            name=name,
            similar_name=similar_name,
            uploader=uploader,
            is_blocked=blocked,
            start=start_time,
            end=end_time,
            cursor=listing.last_seen_id(cursor),
            limit=limit,
        )
    return listing.answer({"findings": [_shown(one) for one in page.rows], "total": page.total}, page.next_cursor)


def _shown(one: confusion.Noticed) -> dict[str, Any]:
    row = one.row
    return {
        "id": row.id,
        "package_id": row.package_id,
        "name": row.name,
        "similar_name": row.similar_name,
        "kind": row.kind,
        "severity": row.severity,
        "explanation": row.reason,
        "similar_downloads": row.similar_downloads,
        "is_well_known": row.is_well_known,
        "is_blocked": row.is_blocked,
        "uploader": one.username,
        "noticed_at": row.noticed_at,
    }
