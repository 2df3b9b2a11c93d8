"""Upload a package as a ZIP."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from weighhouse.app import App
from weighhouse.doors.api.answers import answer, problems
from weighhouse.doors.api.body import feed_body
from weighhouse.doors.api.form import FormReader, boundary_of
from weighhouse.doors.api.schemas import packages as schemas
from weighhouse.doors.api.strict import StrictRoute, require_plain
from weighhouse.doors.caller import Registry, Uploader
from weighhouse.registry.evaluate import EvaluationState, evaluation_state
from weighhouse.registry.packages import storage_path
from weighhouse.registry.record import Recorded
from weighhouse.registry.upload import Intake, UploadTooLarge
from weighhouse.rules.permissions import Caller

if TYPE_CHECKING:
    from weighhouse.store.tables import Package

router = APIRouter(tags=["Packages"], route_class=StrictRoute)

# A form with every field at its limit is smaller than this.
_FORM_BYTES = 8 * 1024 * 1024

_FORM_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "name"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The package as a ZIP."},
                        "name": {"type": "string", "example": "my-model", "maxLength": 96},
                        "version": {
                            "type": "string",
                            "example": "1.0.0",
                            "description": "May be left out when the card's front matter or config.json has one.",
                        },
                        "description": {"type": "string", "example": "My awesome model"},
                        "model_url": {"type": "string", "example": "https://huggingface.co/bert-base"},
                        "dataset_url": {"type": "string", "example": "https://huggingface.co/datasets/squad"},
                        "code_url": {"type": "string", "example": "https://github.com/user/repo"},
                    },
                }
            }
        },
    }
}


@router.post(
    "/package",
    status_code=201,
    response_model=schemas.Uploaded,
    responses={
        202: {"model": schemas.Uploaded, "description": "Taken in; still being weighed."},
        **problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=_FORM_SCHEMA,
    summary="Upload and evaluate a package",
)
async def post_package(registry: Registry, request: Request, caller: Uploader) -> Response:
    """Takes a ZIP in, weighs it, and answers with its net score.

    The answer is 202 when weighing takes longer than the server waits, or with `Prefer: respond-async`; `Location` then
    names the metadata to look at.
    """
    recorded = await _take_in(registry, request, caller)
    seconds = registry.settings.evaluation_wait_seconds
    if "respond-async" in request.headers.get("prefer", "").lower():
        seconds = 0
    state = await wait_for_evaluation(registry, recorded.package, seconds)
    warnings = [f"{found.existing}: {found.reason}" for found in recorded.lookalikes]
    return uploaded(registry, recorded.package, warnings, state)


async def _take_in(registry: App, request: Request, caller: Caller) -> Recorded:
    require_plain(request)
    boundary = boundary_of(request)
    limit = registry.settings.max_upload_bytes
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit + _FORM_BYTES:
        raise UploadTooLarge(limit)
    intake = Intake(registry, caller)
    reader = FormReader(boundary, intake.feed)
    try:
        await feed_body(reader.feed, request)
        return await run_in_threadpool(lambda: intake.finish(reader.close()))
    finally:
        await run_in_threadpool(intake.close)


async def wait_for_evaluation(registry: App, package: "Package", seconds: float) -> EvaluationState:
    """How far the evaluation is when it has ended, or when the time is up.

    Who does not wait is not told of it, however fast it was: their answer does not depend on who is first.
    """
    if seconds <= 0:
        return EvaluationState("evaluating", None, package.verdict)

    def look() -> EvaluationState:
        with registry.db.read() as tx:
            return evaluation_state(tx, package.id)

    deadline = time.monotonic() + seconds
    pause = 0.02
    state = await run_in_threadpool(look)
    while state.status == "evaluating" and time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.25)
        state = await run_in_threadpool(look)
    return state


def uploaded(registry: App, package: "Package", warnings: Sequence[str], state: EvaluationState) -> Response:
    """The answer to an upload, whichever way it came."""
    messages = {
        "evaluated": "Package uploaded and evaluated successfully",
        "evaluating": "Package uploaded; its evaluation goes on. Its metadata says when it is done",
        "failed": "Package uploaded; its evaluation failed and can be asked for again",
    }
    message = messages[state.status]
    if state.is_quarantined and state.status != "evaluating":
        message = "Package uploaded, and put into quarantine by the scan of its files. Its metadata says why"
    body = {
        "package_id": package.id,
        "name": package.name,
        "version": package.version,
        "s3_path": storage_path(registry, package),
        "net_score": state.net_score,
        "message": message,
        "status": state.status,
        "warnings": warnings,
    }
    is_done = state.status != "evaluating"
    return answer(body, 201 if is_done else 202, {"Location": f"/package/{package.id}/metadata"})
