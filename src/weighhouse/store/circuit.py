"""A circuit: while something does not answer, nobody waits for it."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from weighhouse.rules.errors import Away

FAILURES = 3
"""How often in a row it must not have answered: one answer that is lost says nothing yet."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0


class Circuit:
    """Lets callers through, or refuses them at once while what they ask for is away.

    After some failures in a row nobody is let through for a while. Then one caller is: on its outcome it depends whether
    all may go on, or the next pause is twice as long.
    """

    def __init__(self, refusal: Callable[[int], Away], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Let everybody through.

        Args:
            refusal: What those get who are refused; told after how many seconds it is worth trying again.
        """
        self._refusal = refusal
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = 0.0
        self._closed_until = 0.0
        self._is_probed = False

    @contextmanager
    def passage(self, is_outage: Callable[[BaseException], bool]) -> Iterator[None]:
        """Where a caller asks.

        Args:
            is_outage: Whether an error says that nobody answers; any other one is an answer.

        Raises:
            Away: It is away, and this caller is refused.
        """
        is_probe = self._enter()
        try:
            yield
        except Exception as error:
            if is_outage(error):
                self._fail(is_probe)
            else:
                self._succeed()
            raise
        except BaseException:
            # Cut off from outside; that says nothing of the other side.
            self._leave(is_probe)
            raise
        self._succeed()

    def _enter(self) -> bool:
        """Whether this caller is the one who finds out how things are."""
        with self._lock:
            if not self._pause:
                return False
            left = self._closed_until - self._clock()
            if left > 0 or self._is_probed:
                raise self._refusal(max(1, math.ceil(left)))
            self._is_probed = True
            return True

    def _leave(self, is_probe: bool) -> None:
        with self._lock:
            if is_probe:
                self._is_probed = False

    def _succeed(self) -> None:
        with self._lock:
            self._failures, self._pause, self._is_probed = 0, 0.0, False

    def _fail(self, is_probe: bool) -> None:
        with self._lock:
            self._failures += 1
            # Those who had been let through before do not make the pause longer.
            if is_probe or (not self._pause and self._failures >= FAILURES):
                self._pause = min(LONGEST_PAUSE_SECONDS, 2 * self._pause or FIRST_PAUSE_SECONDS)
                self._closed_until = self._clock() + self._pause
            if is_probe:
                self._is_probed = False
