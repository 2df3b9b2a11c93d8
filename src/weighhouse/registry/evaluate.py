"""Ask for, run and record an evaluation. One way to evaluate: the job; an upload that waits, waits for it."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.paging import Page, page_of
from weighhouse.registry.visible import find_package
from weighhouse.rules.errors import NotFound
from weighhouse.rules.evidence import Evidence, Missing, Parent, Reason
from weighhouse.rules.manifest import Component, File
from weighhouse.rules.metrics.net import WEIGHTS, weigh
from weighhouse.rules.metrics.result import METRICS_VERSION, Result, Status, inconclusive
from weighhouse.rules.metrics.weigh import METRICS, VERSIONS, judge
from weighhouse.rules.parents import ParentRef
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.sources.gather import PackageSources
from weighhouse.store import jobs
from weighhouse.store.tables import Blob, Evaluation, LineageEdge, MetricRow, Package, PackageFile

EVALUATION_SECONDS = 120
"""Metrics still unfinished then are `inconclusive/timeout` (metrics specification, section 1)."""

# Each metric has a thread of its own, so that none waits for another's evidence.
_THREADS = len(WEIGHTS)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timed:
    """A metric's result and the wall time it took, evidence it waited for included."""

    result: Result
    latency_ms: int


@dataclass(frozen=True)
class EvaluationState:
    """How far a package's evaluation is."""

    status: str
    net_score: float | None
    verdict: str


def request_evaluation(tx: Session, caller: Caller, package_id: UUID) -> int:
    """Weighs a package again; its history is kept. Returns the job's id.

    Raises:
        PermissionMissing: The caller may not upload.
        PackageNotFound: There is no such package.
    """
    caller.require(Permission.UPLOAD)
    package = find_package(tx, caller, package_id)
    tx.execute(update(Package).where(Package.id == package_id).values(status="evaluating"))
    record(tx, caller, "evaluate package", f"package {package.name} {package.version}")
    return jobs.enqueue(tx, jobs.EVALUATE, lock=str(package_id), package_id=str(package_id))


def evaluation_state(tx: Session, package_id: UUID) -> EvaluationState:
    """How far the evaluation of a package is.

    Raises:
        NotFound: The package is gone.
    """
    query = select(Package.status, Package.net_score, Package.verdict).where(Package.id == package_id)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotFound("The package was deleted meanwhile.")
    return EvaluationState(row.status, row.net_score, row.verdict)


def list_evaluations(
    tx: Session, caller: Caller, package_id: UUID, *, cursor: UUID | None = None, limit: int = 50
) -> Page[Evaluation]:
    """A package's evaluations, newest first.

    Args:
        cursor: Id of the last evaluation seen.

    Raises:
        PermissionMissing: The caller may not search.
        PackageNotFound: There is no such package.
    """
    caller.require(Permission.SEARCH)
    find_package(tx, caller, package_id)
    query = (
        select(Evaluation).where(Evaluation.package_id == package_id).order_by(Evaluation.id.desc()).limit(limit + 1)
    )
    if cursor is not None:
        query = query.where(Evaluation.id < cursor)
    return page_of(tx.scalars(query).all(), limit, lambda evaluation: str(evaluation.id))


def run_evaluation(app: App, package_id: UUID, job_id: int) -> None:
    """Weighs a package and records the result; a job that runs twice records once, one whose package is gone nothing.

    Raises:
        Away: The database or the store does not answer; the job is to be tried again.
    """
    sources = _open_sources(app, package_id)
    if sources is None:
        _log.info("package %s is gone, nothing to weigh", package_id)
        return
    as_of = datetime.now(UTC)
    started = time.monotonic()
    timed = measure_all(sources, as_of)
    latency_ms = _milliseconds(started)
    with app.db.write() as tx:
        _record(tx, package_id, job_id, as_of, timed, sources.evidence_digest(), latency_ms)


def fail_evaluation(app: App, package_id: UUID) -> None:
    """Says that a package's evaluation was given up; the package stays as it is."""
    with app.db.write() as tx:
        tx.execute(update(Package).where(Package.id == package_id).values(status="failed"))


def measure_all(evidence: Evidence, as_of: datetime, *, seconds: float = EVALUATION_SECONDS) -> Mapping[str, Timed]:
    """The result of every metric. They run side by side; none can delay or change another.

    Args:
        as_of: The only clock that a metric reads, UTC.
        seconds: Wall time after which a metric still running is inconclusive.
    """
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="metric")
    futures = {name: pool.submit(_timed, name, evidence, as_of) for name in METRICS}
    wait(futures.values(), timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    return {name: _outcome(name, future, seconds) for name, future in futures.items()}


def _timed(name: str, evidence: Evidence, as_of: datetime) -> Timed:
    started = time.monotonic()
    result = judge(name, evidence, as_of)
    return Timed(result, _milliseconds(started))


def _outcome(name: str, future: Future[Timed], seconds: float) -> Timed:
    if future.done() and not future.cancelled():
        return future.result()
    missing = Missing(Reason.TIMEOUT, f"The evidence was not there after {seconds:g} seconds; evaluate again later")
    return Timed(inconclusive(name, missing), int(seconds * 1000))


def _milliseconds(started: float) -> int:
    return max(1, -int((started - time.monotonic()) * 1000 // 1))


def _open_sources(app: App, package_id: UUID) -> PackageSources | None:
    with app.db.read(snapshot=True) as tx:
        package = tx.get(Package, package_id)
        if package is None:
            return None
        files = _files(tx, package_id)

    def read(sha256: str, start: int, length: int) -> bytes:
        return b"".join(app.blobs.read(sha256, start, length))

    def look_up(references: Sequence[ParentRef]) -> Sequence[Parent]:
        with app.db.read(snapshot=True) as tx:
            return list(_parents(tx, package_id, references))

    return PackageSources(
        name=package.name,
        files=files,
        read=read,
        look_up=look_up,
        model_url=package.model_url,
        dataset_url=package.dataset_url,
        code_url=package.code_url,
    )


def _files(tx: Session, package_id: UUID) -> Sequence[File]:
    query = (
        select(PackageFile.path, PackageFile.size_bytes, PackageFile.sha256, Blob.crc32, PackageFile.component)
        .join(Blob, Blob.sha256 == PackageFile.sha256)
        .where(PackageFile.package_id == package_id)
        .order_by(PackageFile.path)
    )
    return [File(row[0], row[1], row[2].hex(), row[3], Component(row[4])) for row in tx.execute(query)]


def _parents(tx: Session, package_id: UUID, references: Sequence[ParentRef]) -> Iterator[Parent]:
    """What the registry knows of each parent: the newest version of that name, or the package of that model."""
    keys = [reference.name.lower() for reference in references]
    query = (
        select(Package.id, Package.name_key, Package.model_key, Package.net_score, Package.license)
        .where(or_(Package.name_key.in_(keys), Package.model_key.in_(keys)), Package.id != package_id)
        .order_by(Package.name_key, Package.version_key.desc())
    )
    rows = tx.execute(query).all()
    above = _ancestors(tx, [row.id for row in rows])
    for reference in references:
        key = reference.name.lower()
        named = [row for row in rows if row.name_key == key] or [row for row in rows if row.model_key == key]
        if not named:
            if not reference.maybe_local_name:
                yield Parent(reference.name, reference.relation, reference.named_in)
            continue
        found = named[0]
        yield Parent(
            name=reference.name,
            relation=reference.relation,
            named_in=reference.named_in,
            in_registry=True,
            net_score=found.net_score,
            license=found.license,
            closes_cycle=package_id in above.get(found.id, frozenset()),
        )


def _ancestors(tx: Session, package_ids: Sequence[UUID]) -> Mapping[UUID, frozenset[UUID]]:
    """Ids of all ancestors of each of these packages, at most 32 steps up."""
    start = select(Package.id.label("origin"), Package.id.label("id"), Package.id.label("via")).where(
        Package.id.in_(package_ids)
    )
    tree = start.cte("tree", recursive=True)
    parent = select(Package).subquery()
    step = (
        select(tree.c.origin, parent.c.id, LineageEdge.package_id)
        .select_from(tree)
        .join(LineageEdge, LineageEdge.package_id == tree.c.id)
        .join(parent, or_(parent.c.name_key == LineageEdge.parent_key, parent.c.model_key == LineageEdge.parent_key))
    )
    tree = tree.union(step)
    found: dict[UUID, set[UUID]] = {}
    for origin, ancestor in tx.execute(select(tree.c.origin, tree.c.id).distinct()):
        if origin != ancestor:
            found.setdefault(origin, set()).add(ancestor)
    return {origin: frozenset(ancestors) for origin, ancestors in found.items()}


def _record(
    tx: Session,
    package_id: UUID,
    job_id: int,
    as_of: datetime,
    timed: Mapping[str, Timed],
    evidence_digest: str,
    latency_ms: int,
) -> None:
    # The lock makes a second run of the same job, or a delete, wait until this one is recorded.
    package = tx.scalar(select(Package).where(Package.id == package_id).with_for_update())
    if package is None:
        return
    net = weigh({name: entry.result for name, entry in timed.items()})
    evaluation = {
        "package_id": package_id,
        "job_id": job_id,
        "as_of": as_of,
        "metrics_version": METRICS_VERSION,
        "evidence_digest": evidence_digest,
        "net_score": net.score,
        "coverage": net.coverage,
        "net_low": net.low,
        "net_high": net.high,
        "weights": dict(WEIGHTS),
        "latency_ms": latency_ms,
    }
    evaluation_id = tx.scalar(insert(Evaluation).values(evaluation).on_conflict_do_nothing().returning(Evaluation.id))
    if evaluation_id is None:
        return
    tx.add_all(_metric_row(evaluation_id, name, entry) for name, entry in timed.items())
    package.evaluation_id, package.net_score, package.status = evaluation_id, net.score, "evaluated"
    package.is_stale = False
    children = select(LineageEdge.package_id).where(
        LineageEdge.parent_key.in_([key for key in (package.name_key, package.model_key) if key])
    )
    tx.execute(update(Package).where(Package.id.in_(children), Package.id != package_id).values(is_stale=True))


def _metric_row(evaluation_id: UUID, name: str, entry: Timed) -> MetricRow:
    result = entry.result
    return MetricRow(
        evaluation_id=evaluation_id,
        metric=name,
        version=VERSIONS[name],
        status=result.status.value,
        score=result.score if result.status is Status.OK else None,
        reason_code=result.reason_code.value if result.reason_code else None,
        reasons=list(result.reasons),
        inputs=cast(dict[str, Any], dict(result.inputs)),
        method=result.method,
        sources=[asdict(source) for source in result.sources],
        latency_ms=entry.latency_ms,
    )
