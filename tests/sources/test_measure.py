"""Metrics side by side: what one waits for is its own affair."""

import threading
import time

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import Reason
from weighhouse.rules.metrics.result import Status
from weighhouse.rules.metrics.weigh import METRICS
from weighhouse.sources.measure import measure_all, milliseconds_since


class _Slow(PackageEvidence):
    """Evidence whose card is never there in time."""

    def __init__(self) -> None:
        super().__init__({"model.safetensors": b"\2\0\0\0\0\0\0\0{}"}, sizes={"model.bin": 1_000_000})
        self.is_over = threading.Event()

    def card(self) -> str:
        self.is_over.wait(30)
        return ""


def test_a_metric_whose_evidence_is_late_is_inconclusive_and_holds_up_no_other() -> None:
    slow = _Slow()
    began = time.monotonic()
    timed = measure_all(slow, AS_OF, seconds=0.5)
    assert time.monotonic() - began < 20
    slow.is_over.set()
    assert list(timed) == list(METRICS)
    assert timed["reproducibility"].result.reason_code is Reason.TIMEOUT
    assert timed["reproducibility"].latency_ms == 500
    assert timed["size_score"].result.status is Status.OK
    assert 1 <= timed["size_score"].latency_ms < 5000


def test_time_is_told_in_whole_milliseconds_and_never_as_none() -> None:
    assert milliseconds_since(time.monotonic() + 1) == 1
    assert milliseconds_since(time.monotonic() - 0.0415) >= 42
