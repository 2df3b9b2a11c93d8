"""What a package is made of and who vouches for it: bills of materials, signed statements, the keys of the registry."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Header
from starlette.responses import Response

from weighhouse.doors.api.answers import answer, problems
from weighhouse.doors.api.archive import has_already
from weighhouse.doors.api.schemas.provenance import Keys
from weighhouse.doors.api.schemas.shape import Id
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Registry, Searcher
from weighhouse.registry import bom, statement_keys, statements
from weighhouse.rules.bom import MEDIA_TYPE as BOM_MEDIA_TYPE
from weighhouse.rules.keys import key_id, public_pem
from weighhouse.rules.score_statement import MEDIA_TYPE as STATEMENT_MEDIA_TYPE

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


@router.get(
    "/package/{package_id}/statement",
    response_class=Response,
    responses={
        200: {"description": "The envelope.", "content": {STATEMENT_MEDIA_TYPE: {"schema": {"type": "object"}}}},
        **problems(401, 403, 404, 409, 422, 429, 503),
    },
    summary="A signed statement of a package's scores",
)
def get_package_statement(registry: Registry, caller: Searcher, package_id: Id) -> Response:
    """An in-toto statement in a DSSE envelope: these files scored this. It can be verified without the registry."""
    envelope = statements.state_scores(registry, caller, package_id)
    return Response(orjson.dumps(envelope), media_type=STATEMENT_MEDIA_TYPE)


@router.get(
    "/.well-known/weighhouse-keys",
    response_model=Keys,
    responses=problems(503),
    summary="The registry's public keys",
)
def get_keys(registry: Registry) -> Response:
    """The keys that statements of this registry are verified with, the one in use first. No token is needed."""
    keys = statement_keys.public_keys(registry)
    shown = [
        {"key_id": key_id(key), "public_key": public_pem(key).decode(), "is_current": number == 0}
        for number, key in enumerate(keys)
    ]
    return answer({"keys": shown})
