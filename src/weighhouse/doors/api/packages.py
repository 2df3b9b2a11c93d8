"""Describe, download, rate, trace, weigh again, release and delete a package."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from weighhouse.app import App
from weighhouse.doors.api.answers import Cursor, Listing, answer, problems
from weighhouse.doors.api.archive import ArchiveResponse, attachment, has_already
from weighhouse.doors.api.schemas import packages as schemas
from weighhouse.doors.api.schemas.evaluations import Evaluations
from weighhouse.doors.api.schemas.shape import Id
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Admin, AnyCaller, Downloader, Registry, Searcher, Uploader
from weighhouse.registry import downloads, evaluate, lineage, packages, ratings
from weighhouse.rules.changes import MetricChange, difference
from weighhouse.rules.manifest import ASKABLE, Component
from weighhouse.rules.zipview import Range, parse_range

if TYPE_CHECKING:
    from weighhouse.store.tables import Download, Evaluation, PackageFile

router = APIRouter(tags=["Packages"], route_class=StrictRoute)

ZIP_WAIT_SECONDS = 10
"""How long a download waits for its ZIP to come into the bucket."""

Limit = Annotated[int, Query(ge=1, le=100, description="Rows on a page.")]
Wanted = Annotated[bool, Query(description="Ask for this component.")]


@router.get(
    "/package/{package_id}",
    response_model=schemas.DownloadOffer,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Download a package",
)
async def get_package(
    registry: Registry,
    request: Request,
    caller: Downloader,
    package_id: Id,
    weights: Wanted = False,
    datasets: Wanted = False,
    code: Wanted = False,
    full: Annotated[bool, Query(description="The whole package, whatever else is asked for.")] = False,
) -> Response:
    """A signed address to download from, of the whole package or of some components.

    Cards, configurations and licenses are in every download. `components_missing` lists what was asked for and is nowhere
    in the package.
    """
    asked = {Component.WEIGHTS: weights, Component.DATASETS: datasets, Component.CODE: code}
    wanted = set() if full else {component for component, is_asked in asked.items() if is_asked}
    offer = await run_in_threadpool(
        downloads.offer_download,
        registry,
        caller,
        package_id,
        wanted,
        address=request.client.host if request.client else None,
        agent=request.headers.get("user-agent"),
    )
    address = await _wait_for_zip(registry, offer)
    if address is None:
        base = (registry.settings.public_url or str(request.base_url)).rstrip("/")
        address = base + await run_in_threadpool(downloads.stream_path, registry, offer)
    body = {
        "package_id": package_id,
        "name": offer.package.name,
        "version": offer.package.version,
        "download_url": address,
        "expires_in_seconds": registry.settings.download_url_seconds,
        "components_included": list(offer.components_included),
        "components_missing": list(offer.components_missing),
    }
    return answer(body, headers={"X-Weighhouse-Verdict": offer.package.verdict})


async def _wait_for_zip(registry: App, offer: downloads.Offer) -> str | None:
    """The address of the ZIP in the bucket, `None` when it is not there in time."""
    deadline = time.monotonic() + ZIP_WAIT_SECONDS
    pause = 0.05
    found = await run_in_threadpool(downloads.find_zip, registry, offer)
    while found.is_coming and time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
        found = await run_in_threadpool(downloads.find_zip, registry, offer)
    return found.address


@router.get(
    "/package/{package_id}/archive/{variant}",
    response_class=Response,
    responses={
        200: {"description": "The whole ZIP.", "content": {"application/zip": {}}},
        206: {"description": "The range asked for.", "content": {"application/zip": {}}},
        304: {"description": "The client has this ZIP already."},
        **problems(400, 403, 416, 422, 503),
    },
    summary="The ZIP behind a signed address",
)
def get_package_archive(
    registry: Registry,
    request: Request,
    package_id: Id,
    variant: str,
    expires: Annotated[str, Query(description="When the address ends.")] = "",
    signature: Annotated[str, Query(description="What makes the address valid.")] = "",
) -> Response:
    """Sends the ZIP, or a range of it. The address comes from `GET /package/{package_id}`; no token is needed."""
    archive = downloads.open_archive(registry, package_id, variant, expires_at=expires, signature=signature)
    view = archive.view
    headers = {
        "ETag": view.etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": attachment(archive.filename),
        "X-Weighhouse-Verdict": archive.verdict,
    }
    if has_already(request.headers.get("if-none-match"), view.etag):
        return Response(status_code=304, headers=headers)
    asked = parse_range(request.headers.get("range"), view.size_bytes, request.headers.get("if-range"), view.etag)
    shown = asked or Range(0, view.size_bytes)
    if asked:
        headers["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{view.size_bytes}"
    parts = downloads.read_archive(registry, archive, shown.start, shown.stop)
    return ArchiveResponse(parts, shown.length, status_code=206 if asked else 200, headers=headers)


@router.get(
    "/package/{package_id}/metadata",
    response_model=schemas.Metadata,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Describe a package",
)
def get_package_metadata(registry: Registry, caller: Searcher, package_id: Id) -> Response:
    """Everything that is known of a package: scores with their reasons, files, parents, figures."""
    with registry.db.read() as tx:
        return answer(_metadata(packages.describe_package(tx, caller, package_id)))


@router.get(
    "/package/{package_id}/files",
    response_model=schemas.Files,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="List a package's files",
)
def get_package_files(
    registry: Registry,
    request: Request,
    caller: Searcher,
    package_id: Id,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Every file of the manifest, by path."""
    listing = Listing(registry, request, caller)
    with registry.db.read() as tx:
        page = packages.list_files(tx, caller, package_id, cursor=listing.last_seen(cursor), limit=limit)
    return listing.answer({"files": [_file(file) for file in page.rows], "total": page.total}, page.next_cursor)


@router.get(
    "/package/{package_id}/download-history",
    response_model=schemas.Downloads,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Who downloaded a package",
)
def get_package_download_history(
    registry: Registry,
    request: Request,
    caller: AnyCaller,
    package_id: Id,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Downloads of a package, newest first. For its uploader and admins."""
    listing = Listing(registry, request, caller)
    with registry.db.read() as tx:
        page = downloads.list_downloads(tx, caller, package_id, cursor=listing.last_seen_id(cursor), limit=limit)
    shown = [_download(download) for download in page.rows]
    return listing.answer({"downloads": shown, "total": page.total}, page.next_cursor)


@router.put(
    "/package/{package_id}/rate",
    response_model=schemas.Rated,
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    summary="Rate a package",
)
def put_package_rate(registry: Registry, caller: Searcher, package_id: Id, body: schemas.Stars) -> Response:
    """Gives a package 1 to 5 stars; a user's last rating counts."""
    with registry.db.write() as tx:
        rated = ratings.rate_package(tx, caller, package_id, body.score, review=body.review)
    return answer(rated)


@router.get(
    "/package/{package_id}/ratings",
    response_model=schemas.Reviews,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="List a package's ratings",
)
def get_package_ratings(
    registry: Registry,
    request: Request,
    caller: Searcher,
    package_id: Id,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Ratings with their reviews, newest first."""
    listing = Listing(registry, request, caller)
    with registry.db.read() as tx:
        page = ratings.list_ratings(tx, caller, package_id, cursor=listing.last_seen_id(cursor), limit=limit)
    shown = [
        {
            "username": row.username,
            "score": row.rating.score,
            "review": row.rating.review,
            "rated_at": row.rating.rated_at,
        }
        for row in page.rows
    ]
    return listing.answer({"ratings": shown, "total": page.total}, page.next_cursor)


@router.get(
    "/package/{package_id}/lineage",
    response_model=schemas.Lineage,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Trace a package's lineage",
)
def get_package_lineage(
    registry: Registry, caller: Searcher, package_id: Id, direction: lineage.Direction = "ancestors"
) -> Response:
    """The package, then what it was made from, or what was made from it, nearest first."""
    with registry.db.read(snapshot=True) as tx:
        relatives = lineage.trace_lineage(tx, caller, package_id, direction=direction)
    return answer({"package_id": package_id, "lineage": relatives})


@router.post(
    "/package/{package_id}/evaluate",
    status_code=202,
    response_model=schemas.PackageMessage,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Weigh a package again",
)
def post_package_evaluate(registry: Registry, caller: Uploader, package_id: Id) -> Response:
    """Asks for a new evaluation; those before stay in the history."""
    with registry.db.write() as tx:
        evaluate.request_evaluation(tx, caller, package_id)
    body = {"message": "The package is weighed again; its metadata says when it is done", "package_id": package_id}
    return answer(body, 202, {"Location": f"/package/{package_id}/metadata"})


@router.get(
    "/package/{package_id}/evaluations",
    response_model=Evaluations,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="List a package's evaluations",
)
def get_package_evaluations(
    registry: Registry,
    request: Request,
    caller: Searcher,
    package_id: Id,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Every weighing of a package, newest first, with what changed since the one before; none is ever changed."""
    listing = Listing(registry, request, caller)
    with registry.db.read() as tx:
        page = evaluate.list_evaluations(tx, caller, package_id, cursor=listing.last_seen_id(cursor), limit=limit)
    return listing.answer({"evaluations": [_evaluation(row) for row in page.rows]}, page.next_cursor)


@router.post(
    "/package/{package_id}/release",
    response_model=schemas.PackageMessage,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    summary="Release a package from quarantine",
)
def post_package_release(registry: Registry, caller: Admin, package_id: Id, body: schemas.Release) -> Response:
    """Frees a quarantined package; who did it and why stays on record. Admins only."""
    with registry.db.write() as tx:
        package = packages.release_package(tx, caller, package_id, body.reason)
    return answer({"message": f"{package.name} {package.version} is released", "package_id": package_id})


@router.delete(
    "/package/{package_id}",
    response_model=schemas.PackageMessage,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Delete a package",
)
def delete_package(
    registry: Registry,
    caller: Admin,
    package_id: Id,
    release: Annotated[bool, Query(description="Whether the version may be published again.")] = False,
) -> Response:
    """Removes a package and the files that no other package holds; its version stays taken. Admins only."""
    package = packages.delete_package(registry, caller, package_id, release=release)
    return answer({"message": f"{package.name} {package.version} is deleted", "package_id": package_id})


def _metadata(description: packages.Description) -> dict[str, Any]:
    package = description.package
    scores = {metric["metric"]: metric["score"] for metric in description.metrics}
    if "ramp_up_time" in scores:
        scores["ramp_up"] = scores["ramp_up_time"]
    return {
        "id": package.id,
        "name": package.name,
        "version": package.version,
        "description": package.description,
        "license": package.license,
        "size_bytes": package.size_bytes,
        "uploader_id": package.uploader_id,
        "upload_date": package.uploaded_at,
        "metrics": {"net_score": package.net_score} | scores,
        "metric_details": {metric["metric"]: metric for metric in description.metrics},
        "metrics_version": package.metrics_version,
        "evaluated_at": package.as_of,
        "coverage": package.coverage,
        "net_low": package.net_low,
        "net_high": package.net_high,
        "is_stale": package.is_stale,
        "status": package.status,
        "verdict": package.verdict,
        "files": description.files,
        "files_total": package.files_count,
        "manifest_sha256": package.manifest_sha256.hex(),
        "signature": package.signature,
        "components": [component for component in ASKABLE if component in description.components],
        "parents": description.parents,
        "model_url": package.model_url,
        "dataset_url": package.dataset_url,
        "code_url": package.code_url,
        "downloads": description.downloads,
        "ratings": description.ratings,
        "average_rating": description.average_rating,
    }


def _file(file: "PackageFile") -> dict[str, Any]:
    return {
        "path": file.path,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256.hex(),
        "component": file.component,
        "verdict": file.verdict,
        "reasons": file.reasons,
    }


def _download(download: "Download") -> dict[str, Any]:
    return {
        "downloaded_at": download.downloaded_at,
        "user_id": download.user_id,
        "username": download.username,
        "components": download.components,
        "address": download.address,
        "agent": download.agent,
    }


def _evaluation(past: evaluate.PastEvaluation) -> dict[str, Any]:
    evaluation = past.evaluation
    return {
        "evaluation_id": evaluation.id,
        "evaluated_at": evaluation.as_of,
        "metrics_version": evaluation.metrics_version,
        "evidence_digest": evaluation.evidence_digest,
        "net_score": evaluation.net_score,
        "coverage": evaluation.coverage,
        "net_low": evaluation.net_low,
        "net_high": evaluation.net_high,
        "latency_ms": evaluation.latency_ms,
        "since_previous": _since(past.before, evaluation, past.changes) if past.before else None,
    }


def _since(before: "Evaluation", after: "Evaluation", changes: Sequence[MetricChange]) -> dict[str, Any]:
    return {
        "evaluation_id": before.id,
        "metrics_version": before.metrics_version,
        "evidence_digest": before.evidence_digest,
        "method_changed": before.metrics_version != after.metrics_version,
        "evidence_changed": before.evidence_digest != after.evidence_digest,
        "net_score_change": difference(before.net_score, after.net_score),
        "metrics": [_change(change) for change in changes],
    }


def _change(change: MetricChange) -> dict[str, Any]:
    before, after = change.before, change.after
    return {
        "metric": change.metric,
        "version_before": before and before.version,
        "version_after": after and after.version,
        "status_before": before and before.status,
        "status_after": after and after.status,
        "score_before": before and before.score,
        "score_after": after and after.score,
        "score_change": change.score_change,
        "reasons_gone": change.reasons_gone,
        "reasons_new": change.reasons_new,
        "sources_gone": [asdict(source) for source in change.sources_gone],
        "sources_new": [asdict(source) for source in change.sources_new],
    }
