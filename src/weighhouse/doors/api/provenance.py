"""What a package is made of and who vouches for it: its bill of materials."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Header
from starlette.responses import Response

from weighhouse.doors.api.answers import problems
from weighhouse.doors.api.archive import has_already
from weighhouse.doors.api.schemas.shape import Id
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Registry, Searcher
from weighhouse.registry import bom
from weighhouse.rules.bom import MEDIA_TYPE as BOM_MEDIA_TYPE

router = APIRouter(tags=["Provenance"], route_class=StrictRoute)


@router.get(
    "/package/{package_id}/bom",
    response_class=Response,
    responses={
        200: {"description": "The bill of materials.", "content": {BOM_MEDIA_TYPE: {"schema": {"type": "object"}}}},
        304: {"description": "The client has this bill already."},
        **problems(401, 403, 404, 422, 429, 503),
    },
    summary="A package's bill of materials",
)
def get_package_bom(
    registry: Registry, caller: Searcher, package_id: Id, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """A CycloneDX ML-BOM: files with their digests, license, parents, data sets, and the scores in a model card."""
    with registry.db.read(snapshot=True) as tx:
        found = bom.find_bom(tx, caller, package_id)
        headers = {"ETag": found.etag}
        if has_already(if_none_match, found.etag):
            return Response(status_code=304, headers=headers)
        document = bom.write_bom(tx, found)
    return Response(orjson.dumps(document), headers=headers, media_type=BOM_MEDIA_TYPE)
