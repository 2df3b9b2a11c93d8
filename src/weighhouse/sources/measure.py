"""All eleven metrics at once over the evidence of one model, each within the time that an evaluation has."""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime

from weighhouse.rules.evidence import Evidence, Missing, Reason
from weighhouse.rules.metrics.result import Result, inconclusive
from weighhouse.rules.metrics.weigh import METRICS, judge
from weighhouse.sources.budget import EVALUATION_SECONDS


@dataclass(frozen=True)
class Timed:
    """A metric's result and the wall time it took, evidence it waited for included."""

    result: Result
    latency_ms: int


def measure_all(evidence: Evidence, as_of: datetime, *, seconds: float = EVALUATION_SECONDS) -> Mapping[str, Timed]:
    """The result of every metric. They run side by side; none can delay or change another.

    Args:
        as_of: The only clock that a metric reads, UTC.
        seconds: Wall time after which a metric still running is inconclusive.
    """
    # Each metric has a thread of its own, so that none waits for another's evidence.
    pool = ThreadPoolExecutor(len(METRICS), thread_name_prefix="metric")
    futures = {name: pool.submit(_timed, name, evidence, as_of) for name in METRICS}
    wait(futures.values(), timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    return {name: _outcome(name, future, seconds) for name, future in futures.items()}


def milliseconds_since(started: float) -> int:
    """Whole milliseconds since an instant of the monotonic clock, rounded up and at least 1."""
    return max(1, -int((started - time.monotonic()) * 1000 // 1))


def _timed(name: str, evidence: Evidence, as_of: datetime) -> Timed:
    started = time.monotonic()
    result = judge(name, evidence, as_of)
    return Timed(result, milliseconds_since(started))


def _outcome(name: str, future: Future[Timed], seconds: float) -> Timed:
    if future.done() and not future.cancelled():
        return future.result()
    missing = Missing(Reason.TIMEOUT, f"The evidence was not there after {seconds:g} seconds; evaluate again later")
    return Timed(inconclusive(name, missing), int(seconds * 1000))
