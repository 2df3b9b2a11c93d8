"""Scans files of strangers in child processes, so that none takes more than it may, and none takes us with it.

A child is started once and scans file after file; one that fails is thrown away, and the next file gets a new one. What a
child fails at is `unscanned`, with the reason.
"""

import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighhouse.rules.scan.verdict import Finding, Level, Verdict
from weighhouse.sources.scan_child import DONE, LENGTH, READ, SPAN

Read = Callable[[int, int], bytes]
"""At most so many bytes (second) of a file from a place (first)."""

_PIECE_BYTES = 4 << 20
# Ours first. The libraries are for the few rules that need one, which import it when they do.
_FOLDERS = (str(Path(__file__).parents[2]), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
_PROGRAM = (
    "import sys; sys.path[:] = [sys.argv[1], *sys.path, *sys.argv[2:4]]; "
    "from weighhouse.sources.scan_child import main; main(*map(int, sys.argv[4:]))"
)


@dataclass(frozen=True)
class Limits:
    """What the scan of one file may take.

    Args:
        seconds: Wall time, the reading of the file included.
        memory_bytes: Address space.
        children: Files that are scanned at the same time; others wait.
    """

    cpu_seconds: int = 120
    seconds: float = 300
    memory_bytes: int = 2 << 30
    children: int = 2


@dataclass(frozen=True)
class Scanned:
    """A verdict and what it took.

    Args:
        fault: What ended the child before it had a verdict; another try may have one.
    """

    verdict: Verdict
    milliseconds: int
    fault: str | None = None


class Scanning:
    """Children that scan. Threads may share it."""

    def __init__(self, *, limits: Limits = Limits()) -> None:
        self.limits = limits
        self._places = threading.BoundedSemaphore(limits.children)
        self._idle: list[_Child] = []
        # Also for whoever forgets to close.
        weakref.finalize(self, _end, self._idle)

    def scan(self, read: Read, name: str, size_bytes: int) -> Scanned:
        """What loading a file could do. Content never makes it fail.

        Args:
            name: The last part of its path.

        Raises:
            Exception: What `read` raises goes through.
        """
        started = time.monotonic()
        with self._places:
            child = self._take()
            try:
                verdict = child.scan(_ahead(read, size_bytes), name, size_bytes)
            except _Failed as failed:
                child.end()
                return Scanned(_unscanned(failed.kind, str(failed)), _since(started), failed.kind)
            except BaseException:
                # It still waits for bytes that do not come.
                child.end()
                raise
            self._idle.append(child)
        # Also memory that ran out, which the scanner survives.
        is_failed = any(finding.kind == "scanner-failed" for finding in verdict.findings)
        return Scanned(verdict, _since(started), "scanner-failed" if is_failed else None)

    def close(self) -> None:
        """Ends the children that have nothing to do; those at work end with their file."""
        _end(self._idle)

    def _take(self) -> "_Child":
        # Taking from a list is one step for all threads.
        with suppress(IndexError):
            while True:
                child = self._idle.pop()
                if child.is_alive:
                    return child
                child.end()
        return _Child(self.limits)


def _end(children: "list[_Child]") -> None:
    while children:
        children.pop().end()


class _Failed(Exception):
    """The child gave no verdict."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Child:
    """One process that scans."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        lifeline, self._lifeline = os.pipe()
        numbers = (lifeline, limits.memory_bytes, limits.cpu_seconds)
        # Without what site runs, and with nothing of our environment: it starts in milliseconds, and knows no secret.
        command = [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, *_FOLDERS, *map(str, numbers)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[lifeline],
                # Threads of a library would reserve more than the child may.
                env={"OPENBLAS_NUM_THREADS": "1"},
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(lifeline)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asks, self._tells = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._asks, False)
        self._deadline = 0.0

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def scan(self, read: Read, name: str, size_bytes: int) -> Verdict:
        self._deadline = time.monotonic() + self._limits.seconds
        self._send(json.dumps({"name": name, "size_bytes": size_bytes}).encode() + b"\n")
        while True:
            kind = self._receive(1)
            if kind == READ:
                start, length = SPAN.unpack(self._receive(SPAN.size))
                data = read(start, min(length, size_bytes))
                self._send(LENGTH.pack(len(data)))
                self._send(data)
            elif kind == DONE:
                (length,) = LENGTH.unpack(self._receive(LENGTH.size))
                return _verdict(json.loads(self._receive(length)))

    def end(self) -> None:
        """Kills the process, and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        os.close(self._lifeline)

    def _receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._wait([self._tells], [])
            piece = os.read(self._tells, count - len(data))
            if not piece:
                raise self._failure()
            data += piece
        return bytes(data)

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._wait([], [self._asks])
            try:
                view = view[os.write(self._asks, view) :]
            except BrokenPipeError:
                raise self._failure() from None
            except BlockingIOError:
                continue

    def _wait(self, readers: Sequence[int], writers: Sequence[int]) -> None:
        seconds = self._deadline - time.monotonic()
        poll = select.poll()
        for number in readers:
            poll.register(number, select.POLLIN)
        for number in writers:
            poll.register(number, select.POLLOUT)
        if seconds <= 0 or not poll.poll(seconds * 1000):
            raise _Failed("timeout", f"The scan was ended after {self._limits.seconds:g} seconds.")

    def _failure(self) -> _Failed:
        """Why the process is gone."""
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return _Failed("timeout", f"The scan was ended after {self._limits.cpu_seconds} seconds of computing.")
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        return _Failed("crash", f"The scanning process ended {how}.")


def _ahead(read: Read, size_bytes: int) -> Read:
    """Reads in large pieces where a file is read from front to back: a bucket answers each request only after a while."""
    kept_start, kept = 0, b""

    def ahead(start: int, length: int) -> bytes:
        nonlocal kept_start, kept
        if start < kept_start or start + length > kept_start + len(kept):
            is_next = kept_start < start <= kept_start + len(kept)
            wanted = max(length, _PIECE_BYTES) if is_next else length
            wanted = max(0, min(wanted, size_bytes - start))
            kept_start, kept = start, read(start, wanted) if wanted else b""
        return kept[start - kept_start : start - kept_start + length]

    return ahead


def _verdict(told: Mapping[str, Any]) -> Verdict:
    findings = tuple(Finding(**{**one, "level": Level(one["level"])}) for one in told["findings"])
    return Verdict(Level(told["level"]), findings)


def _unscanned(kind: str, message: str) -> Verdict:
    return Verdict(Level.UNSCANNED, (Finding(Level.UNSCANNED, kind, message),))


def _since(started: float) -> int:
    return max(1, -int((started - time.monotonic()) * 1000 // 1))
