"""What an outage kept from being judged is judged when it may be over: looked at again, with growing pauses."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.evaluate import run_evaluation
from weighhouse.rules.evidence import Reason
from weighhouse.rules.metrics.result import Result
from weighhouse.store import jobs
from weighhouse.store.tables import MetricRow, Package

PAUSES_HOURS = (1, 6, *[24] * 7)
"""Before each further look. After the last one, a good week later, the package stays as it is until somebody asks."""

OUTAGES = frozenset({Reason.UNREACHABLE, Reason.RATE_LIMITED, Reason.TIMEOUT})
"""Reasons that time may cure; a model without a repository has none tomorrow either."""


def look_again(tx: Session, package_id: UUID, results: Iterable[Result], *, looks: int = 0) -> None:
    """Has a package weighed again later, where an outage kept one of these from being judged.

    Args:
        looks: How often it was looked at again so far.
    """
    if looks < len(PAUSES_HOURS) and any(result.reason_code in OUTAGES for result in results):
        # Without a lock: a job that waits for its time would hold up whatever of the same lock is asked for meanwhile.
        minutes = PAUSES_HOURS[looks] * 60
        jobs.enqueue(tx, jobs.LOOK_AGAIN, after_minutes=minutes, package_id=str(package_id), looks=looks + 1)


def run_look(app: App, package_id: UUID, job_id: int, *, looks: int) -> None:
    """Weighs a package again, unless everything was judged meanwhile; what an outage still hides is looked at later.

    Args:
        looks: How often it was looked at again, with this one.

    Raises:
        Away: The database or the store does not answer; the job is to be tried again.
    """
    with app.db.read() as tx:
        hidden = select(MetricRow.metric).join(Package, Package.evaluation_id == MetricRow.evaluation_id)
        hidden = hidden.where(Package.id == package_id, MetricRow.reason_code.in_([str(one) for one in OUTAGES]))
        is_needed = tx.scalar(select(exists(hidden)))
    if is_needed:
        run_evaluation(
            app,
            package_id,
            job_id,
            also=lambda tx, weighing: look_again(tx, package_id, weighing.results.values(), looks=looks),
        )
