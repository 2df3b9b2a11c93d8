"""Ask for, run and record an evaluation. One way to evaluate: the job; an upload that waits, waits for it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, cast
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.evidence import find_subject, open_evidence
from weighhouse.registry.paging import Page, page_of
from weighhouse.registry.scans import require_not_refused, scan_package
from weighhouse.registry.signatures import Kept, check_again
from weighhouse.registry.subject import Subject
from weighhouse.registry.visible import find_package, is_listed
from weighhouse.rules.changes import Judged, MetricChange, changes
from weighhouse.rules.errors import NotFound
from weighhouse.rules.evidence import Source
from weighhouse.rules.metrics.net import WEIGHTS, weigh
from weighhouse.rules.metrics.result import METRICS_VERSION, Result, Status
from weighhouse.rules.metrics.weigh import VERSIONS
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.sources.measure import Timed, measure_all, milliseconds_since
from weighhouse.store import jobs
from weighhouse.store.blobs import BlobMissing
from weighhouse.store.tables import Evaluation, LineageEdge, MetricRow, Package

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationState:
    """How far a package's evaluation is."""

    status: str
    net_score: float | None
    verdict: str
    is_quarantined: bool = False


@dataclass(frozen=True)
class PastEvaluation:
    """An evaluation of a package's history.

    Args:
        before: The one that it followed, `None` for the first.
        changes: The metrics that answer differently than then.
    """

    evaluation: Evaluation
    before: Evaluation | None
    changes: Sequence[MetricChange]


@dataclass(frozen=True)
class Weighing:
    """A finished evaluation that is not recorded yet."""

    as_of: datetime
    timed: Mapping[str, Timed]
    evidence_digest: str
    latency_ms: int

    @property
    def results(self) -> Mapping[str, Result]:
        """The result of each metric."""
        return {name: entry.result for name, entry in self.timed.items()}


def request_evaluation(tx: Session, caller: Caller, package_id: UUID) -> int:
    """Weighs a package again; its history is kept. Returns the job's id.

    Raises:
        PermissionMissing: The caller may not upload.
        PackageNotFound: There is no such package.
    """
    caller.require(Permission.UPLOAD)
    package = find_package(tx, caller, package_id, lock=True)
    tx.execute(update(Package).where(Package.id == package_id).values(status="evaluating"))
    record(tx, caller, "evaluate package", f"package {package.name} {package.version}", package_id=package_id)
    return jobs.enqueue(tx, jobs.EVALUATE, lock=str(package_id), package_id=str(package_id))


def evaluation_state(tx: Session, package_id: UUID) -> EvaluationState:
    """How far the evaluation of a package is.

    Raises:
        PackageRefused: The scan kept it out.
        NotFound: The package is gone.
    """
    query = select(Package.status, Package.net_score, Package.verdict, is_listed()).where(Package.id == package_id)
    row = tx.execute(query).one_or_none()
    if row is None:
        require_not_refused(tx, package_id)
        raise NotFound("The package was deleted meanwhile.")
    return EvaluationState(row.status, row.net_score, row.verdict, is_quarantined=not row[3])


def list_evaluations(
    tx: Session, caller: Caller, package_id: UUID, *, cursor: UUID | None = None, limit: int = 50
) -> Page[PastEvaluation]:
    """A package's evaluations, newest first, each with what changed since the one before.

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
    # The row that tells whether a page follows is also the one that the last of this page is compared with.
    found = tx.scalars(query).all()
    judged = _judged(tx, [evaluation.id for evaluation in found])
    past = [
        PastEvaluation(one, before, changes(judged[before.id], judged[one.id]) if before else ())
        for one, before in zip_longest(found, found[1:])
    ]
    return page_of(past, limit, lambda one: str(one.evaluation.id))


def _judged(tx: Session, evaluation_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, Judged]]:
    """What the metrics of each of these evaluations answered, by name."""
    query = select(
        MetricRow.evaluation_id,
        MetricRow.metric,
        MetricRow.version,
        MetricRow.status,
        MetricRow.score,
        MetricRow.reasons,
        MetricRow.sources,
    ).where(MetricRow.evaluation_id.in_(evaluation_ids))
    judged: dict[UUID, dict[str, Judged]] = {evaluation_id: {} for evaluation_id in evaluation_ids}
    for row in tx.execute(query):
        sources = tuple(Source(**source) for source in row.sources)
        judged[row.evaluation_id][row.metric] = Judged(
            row.metric, row.version, row.status, row.score, tuple(row.reasons), sources
        )
    return judged


def run_evaluation(
    app: App, package_id: UUID, job_id: int, *, also: Callable[[Session, Weighing], None] | None = None
) -> None:
    """Scans and weighs a package and records the result; a job that runs twice records once, one whose package is gone nothing.

    Args:
        also: Writes what becomes true together with the result.

    Raises:
        Away: The database or the store does not answer; the job is to be tried again.
    """
    # First, in transactions of its own: what is unsafe is not to be had while the rest goes on.
    scan_package(app, package_id)
    with app.db.read(snapshot=True) as tx:
        subject = find_subject(tx, package_id)
    if subject is None:
        _log.info("package %s is gone, nothing to weigh", package_id)
        return
    weighing = weigh_subject(app, subject)
    signature = _signature_now(app, package_id)
    with app.db.write() as tx:
        if signature is not None:
            tx.execute(update(Package).where(Package.id == package_id).values(signature=signature))
        if record_weighing(tx, package_id, job_id, weighing) and also is not None:
            also(tx, weighing)


def _signature_now(app: App, package_id: UUID) -> Kept:
    """What the package's signature is worth by now; `None` where there is nothing new to say of it."""
    try:
        return check_again(app, package_id)
    except BlobMissing as missing:
        _log.warning("the signature of package %s is not kept any more: %s", package_id, missing)
        return None


def weigh_subject(app: App, subject: Subject) -> Weighing:
    """The result of every metric for a subject. No transaction is open while the metrics run.

    Raises:
        Away: The database or the store does not answer.
    """
    as_of = datetime.now(UTC)
    started = time.monotonic()
    with open_evidence(app, subject) as evidence:
        timed = measure_all(evidence, as_of)
        return Weighing(as_of, timed, evidence.evidence_digest(), milliseconds_since(started))


def fail_evaluation(app: App, package_id: UUID) -> None:
    """Says that a package's evaluation was given up; the package stays as it is."""
    with app.db.write() as tx:
        tx.execute(update(Package).where(Package.id == package_id).values(status="failed"))


def record_weighing(tx: Session, package_id: UUID, job_id: int, weighing: Weighing) -> bool:
    """Makes a weighing the package's evaluation; whether it did: a second one of the same job changes nothing.

    Args:
        job_id: The job that ran it; 0 for the one that admitted the package.
    """
    # The lock makes a second run of the same job, or a delete, wait until this one is recorded.
    package = tx.scalar(select(Package).where(Package.id == package_id).with_for_update())
    if package is None:
        return False
    net = weigh(weighing.results)
    evaluation = {
        "package_id": package_id,
        "job_id": job_id,
        "as_of": weighing.as_of,
        "metrics_version": METRICS_VERSION,
        "evidence_digest": weighing.evidence_digest,
        "net_score": net.score,
        "coverage": net.coverage,
        "net_low": net.low,
        "net_high": net.high,
        "weights": dict(WEIGHTS),
        "latency_ms": weighing.latency_ms,
    }
    evaluation_id = tx.scalar(insert(Evaluation).values(evaluation).on_conflict_do_nothing().returning(Evaluation.id))
    if evaluation_id is None:
        return False
    tx.add_all(_metric_row(evaluation_id, name, entry) for name, entry in weighing.timed.items())
    package.evaluation_id, package.net_score, package.status = evaluation_id, net.score, "evaluated"
    package.is_stale = False
    children = select(LineageEdge.package_id).where(
        LineageEdge.parent_key.in_([key for key in (package.name_key, package.model_key) if key])
    )
    tx.execute(update(Package).where(Package.id.in_(children), Package.id != package_id).values(is_stale=True))
    return True


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
