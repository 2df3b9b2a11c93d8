"""The job queue (procrastinate), joined to our own transactions: a job exists exactly when what it is for was recorded."""

from typing import Any

import procrastinate
from sqlalchemy.orm import Session

from weighhouse.store.database import driver_connection

COMPOSE = "compose"
EVALUATE = "evaluate"
INGEST = "ingest"
LOOK_AGAIN = "look again"
RESCAN = "rescan"
SWEEP = "sweep"

USUAL = "default"
TRANSFERS = "transfers"
"""The queue of jobs that move many bytes: they have places of their own in a worker, and never take an evaluation's."""
SCANS = "scans"
"""The queue of what is scanned again in the background: one at a time, beside everything else."""
ZIPS = "zips"
"""The queue of jobs that wait while a bucket copies; a download waits for them for a moment, and no ingest delays them."""

# Never opened: every job is added on the connection of a transaction of ours.
_queue = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def enqueue(
    tx: Session, task: str, *, queue: str = USUAL, lock: str | None = None, after_minutes: int = 0, **arguments: Any
) -> int:
    """Adds a job that becomes visible when `tx` commits.

    Args:
        tx: The transaction that makes the job true.
        task: The task's name; `doors/worker.py` maps it to a use-case.
        lock: Jobs of one lock run one after another.
        after_minutes: How long it waits before it may run.
        arguments: JSON values.

    Returns:
        The job's id.
    """
    tx.flush()
    later = {"schedule_in": {"minutes": after_minutes}} if after_minutes else {}
    task_of = _queue.configure_task(
        task, allow_unknown=True, queue=queue, lock=lock, connection=driver_connection(tx), **later
    )
    return task_of.defer(**arguments)
