"""Being asked to stop, and waiting for that or for a child process to end."""

import os
import select
import signal
from types import FrameType


class StopRequest:
    """Counts the signals that ask this process to stop. The first asks; a second wants it faster."""

    def __init__(self) -> None:
        self.asked = 0
        self._starting = True
        self._wake, wake_writer = os.pipe()
        for descriptor in (self._wake, wake_writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)
        # Under nohup it is ignored, and stays so.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._note)
        # Without a handler of its own the end of a child would wake nobody.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def __bool__(self) -> bool:
        return self.asked > 0

    @property
    def hurried(self) -> bool:
        """Whether a second signal came."""
        return self.asked > 1

    def started(self) -> None:
        """From now on a second signal does not interrupt what is being done; whoever stops looks at `hurried`."""
        self._starting = False

    def wait(self, seconds: float) -> None:
        """Returns after `seconds`, or earlier when a signal came or a child process ended."""
        ready, _, _ = select.select([self._wake], [], [], max(0.0, seconds))
        if ready:
            os.read(self._wake, 4096)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1
        if self._starting and self.hurried:
            raise KeyboardInterrupt
