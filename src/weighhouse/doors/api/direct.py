"""Upload a package file by file: announce it, send what is missing, complete it."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from weighhouse.app import App
from weighhouse.doors.api.answers import answer, problems
from weighhouse.doors.api.body import feed_body
from weighhouse.doors.api.schemas import direct as schemas
from weighhouse.doors.api.schemas.packages import Uploaded
from weighhouse.doors.api.schemas.shape import Id, Message
from weighhouse.doors.api.strict import StrictRoute, require_plain
from weighhouse.doors.api.uploads import uploaded, wait_for_evaluation
from weighhouse.doors.caller import Registry, Uploader
from weighhouse.registry import direct
from weighhouse.registry.upload import UploadForm
from weighhouse.rules.announced import AnnouncedFile

router = APIRouter(tags=["Packages"], route_class=StrictRoute)

_BYTES_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/package/begin",
    status_code=201,
    response_model=schemas.UploadState,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
    summary="Announce a package that is sent file by file",
)
def post_package_begin(registry: Registry, request: Request, caller: Uploader, body: schemas.Announcement) -> Response:
    """Says which files are missing and where to send them.

    Contents that the caller could download, or uploaded before, are not missing. The same announcement again answers
    with the upload that it began, so that an interrupted client goes on where it was.
    """
    # What a form sends as an empty text was left out.
    fields = {name: value or None for name, value in body.model_dump(exclude={"files"}).items()}
    files = [AnnouncedFile(file.path, file.size_bytes, file.sha256, file.crc32) for file in body.files]
    progress = direct.begin_upload(registry, caller, UploadForm(**fields), files)
    location = f"/package/uploads/{progress.upload.id}"
    return answer(_state(registry, request, progress), 201, {"Location": location})


@router.get(
    "/package/uploads/{upload_id}",
    response_model=schemas.UploadState,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="How far an upload is",
)
def get_package_upload(registry: Registry, request: Request, caller: Uploader, upload_id: Id) -> Response:
    """What is still missing of an upload, and where to send it. For who began it, and for admins."""
    progress = direct.find_upload(registry, caller, upload_id)
    return answer(_state(registry, request, progress))


@router.delete(
    "/package/uploads/{upload_id}",
    response_model=Message,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Give an upload up",
)
def delete_package_upload(registry: Registry, caller: Uploader, upload_id: Id) -> Response:
    """Ends an upload and removes what was sent. A package that it became stays. For who began it, and for admins."""
    direct.abort_upload(registry, caller, upload_id)
    return answer({"message": "Upload given up; nothing of it is kept"})


@router.put(
    "/package/uploads/{upload_id}/files/{sha256}",
    response_model=Message,
    responses=problems(400, 403, 415, 422, 503),
    openapi_extra=_BYTES_SCHEMA,
    summary="Send a file to a signed address",
)
async def put_package_upload_file(
    registry: Registry,
    request: Request,
    upload_id: Id,
    sha256: str,
    size_bytes: Annotated[str, Query(description="How long the file is.")] = "",
    expires: Annotated[str, Query(description="When the address ends.")] = "",
    signature: Annotated[str, Query(description="What makes the address valid.")] = "",
) -> Response:
    """Takes one file of an upload. The address comes from `POST /package/begin`; no token is needed."""
    require_plain(request)
    arrival = await run_in_threadpool(
        lambda: direct.Arrival(
            registry, upload_id, sha256, size_bytes=size_bytes, expires_at=expires, signature=signature
        )
    )
    try:
        announced = request.headers.get("content-length", "")
        if announced.isdecimal():
            arrival.require_length(int(announced[:20]))
        await feed_body(arrival.feed, request)
        await run_in_threadpool(arrival.finish)
    finally:
        await run_in_threadpool(arrival.close)
    return answer({"message": "File received"})


@router.post(
    "/package/{upload_id}/complete",
    status_code=201,
    response_model=Uploaded,
    responses={
        202: {"model": Uploaded, "description": "Taken in; still being weighed."},
        **problems(401, 403, 404, 409, 422, 429, 503),
    },
    summary="Make the files that were sent a package",
)
async def post_package_complete(registry: Registry, request: Request, caller: Uploader, upload_id: Id) -> Response:
    """Publishes what was sent, weighs it, and answers with its net score, like any other upload.

    The same call again, after an answer that was lost, answers the same. The answer is 202 when weighing takes longer
    than the server waits, or with `Prefer: respond-async`; `Location` then names the metadata to look at.
    """
    finished = await run_in_threadpool(direct.complete_upload, registry, caller, upload_id)
    is_patient = "respond-async" in request.headers.get("prefer", "").lower()
    seconds = 0 if is_patient else registry.settings.evaluation_wait_seconds
    state = await wait_for_evaluation(registry, finished.package, seconds)
    return uploaded(registry, finished.package, finished.warnings, state)


def _state(registry: App, request: Request, progress: direct.Progress) -> Mapping[str, Any]:
    upload = progress.upload
    base = (registry.settings.public_url or str(request.base_url)).rstrip("/")
    return {
        "upload_id": upload.id,
        "expires_at": upload.expires_at,
        "files_total": progress.files_total,
        "bytes_total": progress.bytes_total,
        "missing": [
            {
                "sha256": content.sha256,
                "size_bytes": content.size_bytes,
                "parts": [
                    {
                        "offset_bytes": part.offset_bytes,
                        "size_bytes": part.size_bytes,
                        "method": part.request.method,
                        "url": part.request.url,
                        "headers": part.request.headers,
                    }
                    for part in direct.send_requests(registry, base, upload, content)
                ],
            }
            for content in progress.missing
        ],
        "package_id": upload.package_id,
    }
