"""How much one evaluation may ask of the world: calls and seconds, shared by all its sources."""

import threading
import time

from weighhouse.rules.evidence import Missing, Reason

EVALUATION_CALLS = 30
EVALUATION_CALLS_REST_ONLY = 90
EVALUATION_SECONDS = 120.0


class Budget:
    """Calls and seconds of one evaluation; its clock starts when it is made.

    Args:
        calls: Requests that may be sent, repeated ones included.
        seconds: Wall time after which nothing more is sent.
    """

    def __init__(self, *, calls: int = EVALUATION_CALLS, seconds: float = EVALUATION_SECONDS) -> None:
        self._guard = threading.Lock()
        self._calls_left = calls
        self._calls_made = 0
        self._ends_at = time.monotonic() + seconds

    @property
    def seconds_left(self) -> float:
        """Seconds until the evaluation's time is up, at least 0."""
        return max(0.0, self._ends_at - time.monotonic())

    @property
    def calls_made(self) -> int:
        """Requests that were sent so far."""
        return self._calls_made

    def extend(self, calls: int) -> None:
        """Allow `calls` more: a source that only answers in small pieces needs them."""
        with self._guard:
            self._calls_left += calls

    def take(self) -> None:
        """Count one call that is about to be made.

        Raises:
            Missing: The calls or the seconds of this evaluation are used up (`timeout`).
        """
        with self._guard:
            if self.seconds_left <= 0:
                raise Missing(Reason.TIMEOUT, "The evaluation's time for its sources is used up; evaluate again later")
            if self._calls_left <= 0:
                raise Missing(Reason.TIMEOUT, "The evaluation has made all the calls that it may; evaluate again later")
            self._calls_left -= 1
            self._calls_made += 1
