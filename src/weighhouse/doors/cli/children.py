"""The server's processes: started, restarted when they die, and ended in order."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from weighhouse.doors.cli.stopping import StopRequest

_log = logging.getLogger(__name__)

DRAIN_SIGNAL = signal.SIGUSR1
"""Tells an API process to say that it is not ready, and to go on answering."""

# A process that lived this long was well; its next death counts as the first again.
_WELL_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 30.0
_HURRIED_SECONDS = 2.0


@dataclass
class Retries:
    """How long to wait before something that died is started again: not at all, then ever longer."""

    failures: int = 0
    due_at: float = 0.0
    _started_at: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """It was started."""
        self._started_at = time.monotonic()

    def fail(self) -> float:
        """It died; the seconds until it is due.

        >>> retries = Retries()
        >>> [retries.fail() for _ in range(4)]
        [0.0, 0.5, 1.0, 2.0]
        """
        now = time.monotonic()
        if now - self._started_at > _WELL_SECONDS:
            self.failures = 0
        pause = min(_LONGEST_PAUSE_SECONDS, 2.0 ** (self.failures - 2)) if self.failures else 0.0
        self.failures += 1
        self.due_at = now + pause
        return pause


@dataclass
class Child:
    """One process of the server.

    Args:
        role: `api` or `worker`.
        start: Starts it.
    """

    role: str
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    retries: Retries = field(default_factory=Retries)

    def tend(self) -> float:
        """Starts it when it does not run and is due; the instant (monotonic) at which to look again."""
        if self.process is not None and (status := self.process.poll()) is not None:
            pause = self.retries.fail()
            what = f"{self.role} process {self.process.pid} ended ({ending(status)})"
            _log.error("%s; another starts in %.1f s", what, pause)
            self.process = None
        if self.process is None and time.monotonic() >= self.retries.due_at:
            self.retries.begin()
            try:
                self.process = self.start()
            except OSError as error:
                pause = self.retries.fail()
                _log.error("%s process cannot be started: %s; tried again in %.1f s", self.role, error.strerror, pause)
        return self.retries.due_at if self.process is None else float("inf")


@dataclass(frozen=True)
class Crew:
    """All children. They hold the read end of a pipe whose write end only this process has: see `lifeline`."""

    api: Sequence[Child]
    workers: Sequence[Child]

    @classmethod
    def hire(cls, api_processes: int, environment: Mapping[str, str], listener: int) -> "Crew":
        """A crew that is not yet started.

        Args:
            api_processes: How many share the listener.
            environment: Of each child.
            listener: Descriptor of the listening socket.
        """
        # The write end is never closed: it is there until this process is gone.
        lifeline, _ = os.pipe()

        def starter(role: str, *descriptors: int) -> Callable[[], subprocess.Popen[bytes]]:
            tie = [f"--lifeline={lifeline}", f"--parent={os.getpid()}", *(f"--listener={one}" for one in descriptors)]
            return lambda: subprocess.Popen(
                # -P: a file in the folder that the server was started from must not pass for a module.
                [sys.executable, "-P", "-m", "weighhouse.doors.cli.child", role, *tie],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=(lifeline, *descriptors),
                # A Ctrl-C at the terminal is for the supervisor, which ends its children in order.
                start_new_session=True,
            )

        api = [Child("api", starter("api", listener)) for _ in range(api_processes)]
        return cls(api, [Child("worker", starter("worker"))])

    @property
    def all(self) -> Sequence[Child]:
        """Every child, running or not."""
        return [*self.api, *self.workers]

    def tend(self) -> float:
        """Starts whoever does not run and is due; the instant (monotonic) at which to look again."""
        return min(child.tend() for child in self.all)


def drain(children: Sequence[Child], seconds: float, stop: StopRequest) -> None:
    """Has API processes turn away those who ask whether they are ready, and gives them time to notice.

    Args:
        seconds: How long; a second signal ends it.
    """
    _send([child.process for child in children if child.process is not None], DRAIN_SIGNAL)
    deadline = time.monotonic() + seconds
    while not stop.hurried and time.monotonic() < deadline:
        stop.wait(min(0.5, deadline - time.monotonic()))


def end(children: Sequence[Child], seconds: float, stop: StopRequest) -> None:
    """Ends children in order, and by force those that take longer than `seconds` or a second signal allows."""
    processes = [child.process for child in children if child.process is not None]
    _send(processes, signal.SIGTERM)
    deadline, hurried = time.monotonic() + seconds, False
    while _alive(processes):
        if stop.hurried and not hurried:
            hurried, deadline = True, time.monotonic() + _HURRIED_SECONDS
            # uvicorn takes it, as the second signal, for leave to cut connections.
            _send(processes, signal.SIGINT)
        if time.monotonic() > deadline:
            break
        stop.wait(min(0.5, deadline - time.monotonic()))
    for process in _alive(processes):
        _log.warning("process %d did not end in time and is killed", process.pid)
        # With whatever it started: each child leads a process group.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ending(status: int) -> str:
    """An exit status in words.

    >>> ending(3), ending(-9)
    ('exit status 3', 'SIGKILL')
    """
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _alive(processes: Sequence[subprocess.Popen[bytes]]) -> list[subprocess.Popen[bytes]]:
    return [process for process in processes if process.poll() is None]


def _send(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in _alive(processes):
        process.send_signal(number)
