"""Runs the git program within bounds of time and bytes, and reads out of its words what went wrong."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from weighhouse.rules.evidence import Missing, Reason

OUTPUT_BYTES = 256 * 1024 * 1024
"""What one question may answer."""

_LOOK_SECONDS = 0.05
_CHUNK_BYTES = 64 * 1024

_OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.symlinks=false",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    # A repository's own attributes could call its code binary; this is the empty tree, which has none.
    "attr.tree=4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    # Larger files are neither compared nor held in memory.
    "core.bigFileThreshold=8m",
    "credential.helper=",
    "fetch.fsckObjects=true",
    "transfer.fsckObjects=true",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=20",
    "fetch.unpackLimit=1",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    "protocol.version=2",
    "log.showSignature=false",
    # Slips of old tools that real histories hold and that harm nobody.
    *(
        f"fetch.fsck.{slip}=ignore"
        for slip in (
            "badDateOverflow",
            "badEmail",
            "badFilemode",
            "badTimezone",
            "missingEmail",
            "missingNameBeforeEmail",
            "missingSpaceBeforeDate",
            "missingSpaceBeforeEmail",
            "missingTaggerEntry",
            "nullSha1",
            "zeroPaddedDate",
            "zeroPaddedFilemode",
        )
    ),
)

# What git says in English, and what it means.
_SAID = (
    (re.compile(rb"returned error: 429"), Reason.RATE_LIMITED, "asks us to wait; evaluate again later"),
    (
        re.compile(rb"returned error: 40[13]|Authentication failed|could not read Username|terminal prompts disabled"),
        Reason.FORBIDDEN,
        "does not let this server in; make it public, or let the operator set a token that may read it",
    ),
    (
        re.compile(rb"over limit|[Oo]ut of memory|No space left"),
        Reason.TOO_LARGE,
        "needs more memory or disk than this server gives it",
    ),
    # Before what follows from it: a broken connection leaves a pack that looks damaged.
    (
        re.compile(rb"early EOF|unexpected disconnect|RPC failed|hung up"),
        Reason.UNREACHABLE,
        "broke off while it was cloned; evaluate again later",
    ),
    (
        re.compile(rb"fsck error|index-pack failed|bad object|bad pack|corrupt"),
        Reason.MALFORMED,
        "is damaged: git refuses what it sends",
    ),
)


def run_git(
    command: Sequence[str],
    environment: Mapping[str, str],
    deadline: float,
    stdin: bytes = b"",
    limit_bytes: int = OUTPUT_BYTES,
    look: Callable[[], str] | None = None,
) -> Iterator[bytes]:
    """The output of one run, as it comes.

    Args:
        look: Says what is too large, asked while git runs; empty for nothing.

    Raises:
        Missing: git is not installed, failed, passed the deadline, or made too much.
    """
    arguments = ["git", *(part for option in _OPTIONS for part in ("-c", option)), *command]
    try:
        process = subprocess.Popen(
            arguments,
            env=dict(environment),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, so that its transport and unpacker end with it.
            start_new_session=True,
        )
    except OSError as error:
        raise Missing(
            Reason.TOOL_MISSING, "The program git is not installed on this server; install it there"
        ) from error
    assert process.stdout is not None
    watch = _Watch(process, deadline, look)
    threading.Thread(target=_feed, args=(process, stdin), daemon=True).start()
    written = 0
    try:
        while piece := process.stdout.read1(_CHUNK_BYTES):  # type: ignore[attr-defined]  # a BufferedReader
            written += len(piece)
            if written > limit_bytes:
                raise Missing(Reason.TOO_LARGE, "The repository's history or tree is larger than this server reads")
            yield piece
        process.wait()
    finally:
        # Also when the caller stops early or the time is over: nothing stays behind.
        said = watch.end()
    watch.judge(said)


class _Watch:
    """Ends a run at its deadline or its size, and keeps the last words of what it said."""

    def __init__(self, process: "subprocess.Popen[bytes]", deadline: float, look: Callable[[], str] | None) -> None:
        self._process = process
        self._deadline = deadline
        self._look = look
        self._excess = ""
        self._is_late = False
        self._words = b""
        self._over = threading.Event()
        # Read all the time: git shows its progress, and so notices by a broken pipe when this process is gone.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._listener.start()
        self._watcher.start()

    def end(self) -> bytes:
        self._over.set()
        self._watcher.join()
        status = self._process.poll()
        self._kill()
        self._process.wait()
        self._listener.join(5)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return b"" if status == 0 else self._words

    def judge(self, said: bytes) -> None:
        """Raises what ended the run early, if anything did."""
        if self._excess:
            raise Missing(Reason.TOO_LARGE, self._excess)
        if self._is_late:
            raise Missing(Reason.TIMEOUT, "git did not finish in its time; the repository is large or its host is slow")
        if self._process.returncode == 0:
            return
        for pattern, reason, what in _SAID:
            if pattern.search(said):
                raise Missing(reason, f"The code repository {what}")
        raise Missing(Reason.UNREACHABLE, "The code repository could not be read; its host does not answer git")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while piece := self._process.stderr.read1(4096):  # type: ignore[attr-defined]  # a BufferedReader
                self._words = (self._words + piece)[-8192:]

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            if time.monotonic() >= self._deadline:
                self._is_late = True
            elif self._look is not None:
                self._excess = self._look()
            if self._is_late or self._excess:
                self._kill()
                return

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _feed(process: "subprocess.Popen[bytes]", stdin: bytes) -> None:
    assert process.stdin is not None
    # It may end before it read all; its exit status says why.
    with contextlib.suppress(OSError, ValueError):
        process.stdin.write(stdin)
        process.stdin.close()
