"""Take a model in from the hub, through the gate."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from weighhouse.doors.api import schemas
from weighhouse.doors.api.answers import answer, problems
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Registry, Uploader
from weighhouse.registry.ingest import Ingested, Wanted, ingest_model
from weighhouse.registry.packages import storage_path

router = APIRouter(tags=["Packages"], route_class=StrictRoute)


@router.post(
    "/package/ingest",
    status_code=201,
    response_model=schemas.Ingested,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
    summary="Take a model in from the hub",
)
def post_package_ingest(registry: Registry, caller: Uploader, body: schemas.Ingest) -> Response:
    """Fetches a model from the hub, weighs it, and publishes it when every score reaches its threshold.

    A model that does not is refused with 422: the problem lists every score with its reasons, those that fail first, and
    nothing is kept. What could not be judged does not refuse: `gate` is then `hold`, and `inconclusive` says why. The
    answer comes when the files are fetched and weighed, which takes a while for large models.
    """
    # What a form sends as an empty text was left out.
    fields = {name: value or None for name, value in body.model_dump(exclude={"model_url", "all_weights"}).items()}
    wanted = Wanted(body.model_url, all_weights=body.all_weights, **fields)
    return _answer(ingest_model(registry, caller, wanted))


def _answer(ingested: Ingested) -> Response:
    package, decision = ingested.recorded.package, ingested.decision
    messages = {
        "pass": "Model taken in; every score that applies reaches its threshold",
        "hold": "Model taken in; what could be judged reaches its threshold, the rest is not known",
    }
    body: dict[str, Any] = {
        "package_id": package.id,
        "name": package.name,
        "version": package.version,
        "s3_path": storage_path(package),
        "net_score": package.net_score,
        "message": messages[decision.outcome],
        "status": package.status,
        "warnings": [f"{found.existing}: {found.reason}" for found in ingested.recorded.lookalikes],
        "gate": decision.outcome,
        "inconclusive": [
            {
                "metric": one.metric,
                "reason_code": one.reason_code.value if one.reason_code else None,
                "reasons": list(one.reasons),
            }
            for one in decision.unknown
        ],
        "coverage": decision.net.coverage,
        "revision": ingested.revision,
        "left_out": list(ingested.left_out),
    }
    return answer(body, 201, {"Location": f"/package/{package.id}/metadata"})
