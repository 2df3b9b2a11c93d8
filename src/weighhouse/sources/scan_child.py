"""The process that scans: it asks for bytes and answers verdicts, over two pipes, and can reach nothing else.

Started without the server's environment: it knows no password. Its limits are lowered before it sees the first byte of a
stranger.
"""

import json
import os
import resource
import struct
import sys
import threading
from dataclasses import asdict
from typing import IO

from weighhouse.rules.scan.scanner import scan

LENGTH = struct.Struct(">Q")
SPAN = struct.Struct(">QQ")
READ, DONE = b"R", b"D"

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


class _Asked:
    """A file whose bytes the parent reads."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers

    def read(self, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`."""
        self._requests.write(READ + SPAN.pack(start, length))
        self._requests.flush()
        (count,) = LENGTH.unpack(_exactly(self._answers, LENGTH.size))
        return _exactly(self._answers, count)


def main(lifeline: int, memory_bytes: int, cpu_seconds: int) -> None:
    """Scans one file after another until the parent is gone.

    Args:
        lifeline: Read end of a pipe whose only write end the parent holds.
        memory_bytes: Address space of this process.
        cpu_seconds: Of each file.
    """
    _cut_off(memory_bytes)
    threading.Thread(target=_watch, args=(lifeline,), name="lifeline", daemon=True).start()
    answers, requests = sys.stdin.buffer, sys.stdout.buffer
    while line := answers.readline():
        asked = json.loads(line)
        _allow_seconds(cpu_seconds)
        verdict = scan(_Asked(requests, answers), asked["name"], asked["size_bytes"])
        told = json.dumps({"level": verdict.level, "findings": [asdict(one) for one in verdict.findings]}).encode()
        requests.write(DONE + LENGTH.pack(len(told)) + told)
        requests.flush()


def _cut_off(memory_bytes: int) -> None:
    """Lowers what this process may take, and leaves the network where the kernel lets it."""
    if sys.platform == "linux":
        import ctypes

        # Refused in many containers; a process that runs nothing of the file has no use for a network anyway.
        libc = ctypes.CDLL(None, use_errno=True)
        libc.unshare(_CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET)
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


def _allow_seconds(seconds: int) -> None:
    """Gives this process so much more CPU time than it has used; the signal at the end of it kills."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, hard))


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        # The parent gave this file up, or is gone.
        os._exit(0)
    return data


def _watch(lifeline: int) -> None:
    # Nobody ever writes: the read returns when the parent is gone, also while a file is being scanned.
    os.read(lifeline, 1)
    os._exit(0)
