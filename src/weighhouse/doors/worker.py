"""Runs jobs: task name to use-case."""

import asyncio
import logging
import signal
import threading
from datetime import UTC, datetime
from uuid import UUID

import procrastinate
from procrastinate import BaseRetryStrategy, JobContext, PsycopgConnector, RetryStrategy
from procrastinate.jobs import Job
from procrastinate.retry import RetryDecision

from weighhouse.app import App
from weighhouse.registry.demonstration import sandbox_of
from weighhouse.registry.evaluate import fail_evaluation, run_evaluation
from weighhouse.registry.housekeeping import sweep, sweep_idle
from weighhouse.registry.ingests import IngestHalted, fail_ingest, run_ingest, take_up_lost
from weighhouse.registry.outages import run_look
from weighhouse.registry.scans import rescan
from weighhouse.registry.zips import compose_zip, fail_zip, sweep_zips
from weighhouse.store import jobs
from weighhouse.store.database import libpq_url

ATTEMPTS = 5
INGEST_ATTEMPTS = 12
"""More than others: each restart of a worker takes one, and an outage of the hub is waited out for hours."""

TRANSFERS_AT_ONCE = 2
ZIPS_AT_ONCE = 2
STALLED_SECONDS = 30

_log = logging.getLogger(__name__)


def run(app: App, *, concurrency: int = 2) -> None:
    """Runs jobs until the process is told to end (SIGTERM or SIGINT); the job in hand is finished first.

    Raises:
        Away: The database cannot be reached at the start.
    """
    if app.settings.sandbox != "off" and (fault := sandbox_of(app.settings).fault):
        _log.warning("no demonstration is run, and reproducibility ends at 0.50: %s", fault)
    ending = threading.Event()
    queue = _queue(app, ending)
    asyncio.run(_serve(queue, concurrency, ending))


async def _serve(queue: procrastinate.App, concurrency: int, ending: threading.Event) -> None:
    """Works on all queues until the process is told to end, or one of them cannot be worked on."""
    async with queue.open_async():
        loop = asyncio.get_running_loop()
        works = [
            asyncio.create_task(_work(queue, jobs.USUAL, concurrency)),
            asyncio.create_task(_work(queue, jobs.TRANSFERS, TRANSFERS_AT_ONCE)),
            asyncio.create_task(_work(queue, jobs.ZIPS, ZIPS_AT_ONCE)),
            asyncio.create_task(_work(queue, jobs.SCANS, 1)),
        ]

        def end() -> None:
            if not ending.is_set():  # Once: cancelled again, a worker lets go of the jobs that it waits for.
                ending.set()
                for work in works:
                    work.cancel()
                for number in (signal.SIGTERM, signal.SIGINT):  # From now on a signal ends the process at once.
                    loop.remove_signal_handler(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        end()
        ended = await asyncio.gather(*works, return_exceptions=True)
        for fault in ended:
            if isinstance(fault, Exception):
                raise fault


async def _work(queue: procrastinate.App, name: str, concurrency: int) -> None:
    await queue.run_worker_async(
        queues=[name],
        concurrency=concurrency,
        delete_jobs="successful",
        fetch_job_polling_interval=2.0,
        update_heartbeat_interval=5.0,
        stalled_worker_timeout=float(STALLED_SECONDS),
        shutdown_graceful_timeout=20.0,
        # Those of a worker of the library are its own; here four hear the same signal.
        install_signal_handlers=False,
    )


class _Patience(BaseRetryStrategy):
    """When an ingest goes on: at once where a worker ended in order, after growing pauses, up to an hour, where it failed."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """The next try, `None` when there have been enough."""
        if isinstance(exception, IngestHalted):
            return RetryDecision(retry_in={"seconds": 0})
        if job.attempts + 1 >= INGEST_ATTEMPTS:
            return None
        return RetryDecision(retry_in={"seconds": min(4 ** (job.attempts + 1), 3600)})


def _queue(app: App, ending: threading.Event) -> procrastinate.App:
    # Each of the four workers keeps a connection to listen on.
    queue = procrastinate.App(connector=PsycopgConnector(conninfo=libpq_url(app.db.url), min_size=1, max_size=8))
    retry = RetryStrategy(max_attempts=ATTEMPTS, exponential_wait=4)

    @queue.task(name=jobs.EVALUATE, pass_context=True, retry=retry)
    def evaluate(context: JobContext, package_id: str) -> None:
        try:
            run_evaluation(app, UUID(package_id), context.job.id or 0)
        except Exception:
            if context.job.attempts + 1 >= ATTEMPTS:
                fail_evaluation(app, UUID(package_id))
            raise

    @queue.task(name=jobs.LOOK_AGAIN, pass_context=True, retry=retry)
    def look_again(context: JobContext, package_id: str, looks: int) -> None:
        run_look(app, UUID(package_id), context.job.id or 0, looks=looks)

    @queue.task(name=jobs.INGEST, pass_context=True, retry=_Patience())
    def ingest(context: JobContext, ingest_id: str, is_patient: bool) -> None:
        ingest, is_last_try = UUID(ingest_id), context.job.attempts + 1 >= INGEST_ATTEMPTS
        try:
            run_ingest(app, ingest, is_patient=is_patient, is_last_try=is_last_try, is_ending=ending.is_set)
        except IngestHalted:
            raise
        except Exception:
            if is_last_try:
                fail_ingest(app, ingest)
            raise

    @queue.task(name=jobs.COMPOSE, pass_context=True, retry=retry)
    def compose(context: JobContext, package_id: str, variant: str) -> None:
        try:
            compose_zip(app, UUID(package_id), variant, is_stopping=ending.is_set)
        except Exception as error:
            if context.job.attempts + 1 >= ATTEMPTS:
                fail_zip(app, UUID(package_id), variant, str(error))
            raise

    @queue.task(name=jobs.SWEEP)
    def sweep_after_reset() -> None:
        sweep_idle(app)
        sweep_zips(app, datetime.now(UTC))

    @queue.periodic(cron="17 3 * * *")
    @queue.task(name="sweep nightly")
    def sweep_nightly(timestamp: int) -> None:
        _log.info("nightly sweep of %d", timestamp)
        sweep(app)
        take_up_lost(app)

    # Half of each minute at most: what is uploaded now does not wait for what was.
    @queue.periodic(cron="* * * * *")
    @queue.task(name=jobs.RESCAN, queue=jobs.SCANS, queueing_lock=jobs.RESCAN)
    def scan_again(timestamp: int) -> None:
        """Gives packages the verdict of the newest scanner, and those one that have none."""
        if done := rescan(app):
            _log.info("scanned %d packages again", done)

    # The sixth field is seconds.
    @queue.periodic(cron="* * * * * */10")
    @queue.task(name="retry stalled")
    async def retry_stalled(timestamp: int) -> None:
        """Takes up again the jobs of workers that died."""
        for job in await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            await queue.job_manager.retry_job(job)

    return queue
