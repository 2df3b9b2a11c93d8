"""Runs jobs: task name to use-case."""

import asyncio
import logging
from uuid import UUID

import procrastinate
from procrastinate import JobContext, PsycopgConnector, RetryStrategy

from weighhouse.app import App
from weighhouse.registry.evaluate import fail_evaluation, run_evaluation
from weighhouse.registry.housekeeping import sweep, sweep_idle
from weighhouse.store import jobs
from weighhouse.store.database import libpq_url

ATTEMPTS = 5
STALLED_SECONDS = 30

_log = logging.getLogger(__name__)


def run(app: App, *, concurrency: int = 2) -> None:
    """Runs jobs until the process is told to end (SIGTERM or SIGINT); the job in hand is finished first.

    Raises:
        Away: The database cannot be reached at the start.
    """
    queue = _queue(app)
    asyncio.run(_serve(queue, concurrency))


async def _serve(queue: procrastinate.App, concurrency: int) -> None:
    async with queue.open_async():
        await queue.run_worker_async(
            concurrency=concurrency,
            delete_jobs="successful",
            fetch_job_polling_interval=2.0,
            update_heartbeat_interval=5.0,
            stalled_worker_timeout=float(STALLED_SECONDS),
            shutdown_graceful_timeout=25.0,
        )


def _queue(app: App) -> procrastinate.App:
    queue = procrastinate.App(connector=PsycopgConnector(conninfo=libpq_url(app.db.url), min_size=1, max_size=4))
    retry = RetryStrategy(max_attempts=ATTEMPTS, exponential_wait=4)

    @queue.task(name=jobs.EVALUATE, pass_context=True, retry=retry)
    def evaluate(context: JobContext, package_id: str) -> None:
        try:
            run_evaluation(app, UUID(package_id), context.job.id or 0)
        except Exception:
            if context.job.attempts + 1 >= ATTEMPTS:
                fail_evaluation(app, UUID(package_id))
            raise

    @queue.task(name=jobs.SWEEP)
    def sweep_after_reset() -> None:
        sweep_idle(app)

    @queue.periodic(cron="17 3 * * *")
    @queue.task(name="sweep nightly")
    def sweep_nightly(timestamp: int) -> None:
        _log.info("nightly sweep of %d", timestamp)
        sweep(app)

    # The sixth field is seconds.
    @queue.periodic(cron="* * * * * */10")
    @queue.task(name="retry stalled")
    async def retry_stalled(timestamp: int) -> None:
        """Takes up again the jobs of workers that died."""
        for job in await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            await queue.job_manager.retry_job(job)

    return queue
