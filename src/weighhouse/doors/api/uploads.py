"""Upload a package: its body is read as it comes, by a thread that keeps up with the network."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from weighhouse.app import App
from weighhouse.doors.api.answers import answer, problems
from weighhouse.doors.api.form import BadForm, FormReader, boundary_of
from weighhouse.doors.api.schemas import packages as schemas
from weighhouse.doors.api.strict import StrictRoute, require_plain
from weighhouse.doors.caller import Registry, Uploader
from weighhouse.registry.evaluate import EvaluationState, evaluation_state
from weighhouse.registry.packages import storage_path
from weighhouse.registry.record import Recorded
from weighhouse.registry.upload import Intake, UploadTooLarge
from weighhouse.rules.permissions import Caller

router = APIRouter(tags=["Packages"], route_class=StrictRoute)

_PIECE_BYTES = 1024 * 1024
_MAX_PIECES_BYTES = 8 * 1024 * 1024
SILENT_SECONDS = 60
SLOW_AFTER_SECONDS = 60
MIN_BYTES_PER_SECOND = 1024
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


class UploadTooSlow(BadForm):
    """The upload came too slowly, or not at all."""

    def __init__(self) -> None:
        super().__init__("The upload stood still or came too slowly. Send it again over a better connection.")


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
    state = await wait_for_evaluation(registry, recorded, seconds)
    return _answer(registry, recorded, state)


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
        async with contextlib.aclosing(_pieces(request)) as pieces:
            await _feed(reader, pieces)
        return await run_in_threadpool(lambda: intake.finish(reader.close()))
    finally:
        await run_in_threadpool(intake.close)


async def _feed(reader: FormReader, pieces: AsyncGenerator[bytes, None]) -> None:
    """Gives the pieces to the reader in a thread, while the next ones come in."""
    working: asyncio.Future[None] | None = None
    waiting: list[bytes] = []
    size = 0
    try:
        async for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            is_idle = working is None or working.done()
            if (is_idle and size >= _PIECE_BYTES) or size >= _MAX_PIECES_BYTES:
                if working is not None:
                    await working
                working = asyncio.ensure_future(run_in_threadpool(reader.feed, b"".join(waiting)))
                waiting, size = [], 0
        if working is not None:
            await working
        await run_in_threadpool(reader.feed, b"".join(waiting))
    finally:
        # The thread writes into what the caller is about to throw away: it has to end first.
        if working is not None and not working.done():
            await asyncio.wait([working])


async def _pieces(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it comes.

    Raises:
        UploadTooSlow: It stood still, or came too slowly for too long.
    """
    started, size = time.monotonic(), 0
    stream = request.stream()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream, None), SILENT_SECONDS)
        except TimeoutError:
            raise UploadTooSlow from None
        if piece is None:
            return
        size += len(piece)
        seconds = time.monotonic() - started
        if seconds > SLOW_AFTER_SECONDS and size < seconds * MIN_BYTES_PER_SECOND:
            raise UploadTooSlow
        yield piece


async def wait_for_evaluation(registry: App, recorded: Recorded, seconds: float) -> EvaluationState:
    """How far the evaluation is when it has ended, or when the time is up."""

    def look() -> EvaluationState:
        with registry.db.read() as tx:
            return evaluation_state(tx, recorded.package.id)

    deadline = time.monotonic() + seconds
    pause = 0.02
    state = await run_in_threadpool(look)
    while state.status == "evaluating" and time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.25)
        state = await run_in_threadpool(look)
    return state


def _answer(registry: App, recorded: Recorded, state: EvaluationState) -> Response:
    package = recorded.package
    messages = {
        "evaluated": "Package uploaded and evaluated successfully",
        "evaluating": "Package uploaded; its evaluation goes on. Its metadata says when it is done",
        "failed": "Package uploaded; its evaluation failed and can be asked for again",
    }
    body = {
        "package_id": package.id,
        "name": package.name,
        "version": package.version,
        "s3_path": storage_path(registry, package),
        "net_score": state.net_score,
        "message": messages[state.status],
        "status": state.status,
        "warnings": [f"{found.existing}: {found.reason}" for found in recorded.lookalikes],
    }
    is_done = state.status != "evaluating"
    return answer(body, 201 if is_done else 202, {"Location": f"/package/{package.id}/metadata"})
