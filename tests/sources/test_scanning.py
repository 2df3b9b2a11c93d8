"""Children that scan: what they say is the scanner's word, and what they fail at is never safe."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from tests import payloads
from tests.conftest import eventually
from weighhouse.rules.scan.scanner import scan
from weighhouse.rules.scan.source import Bytes
from weighhouse.rules.scan.verdict import Level
from weighhouse.sources.scanning import Limits, Read, Scanning

HARMFUL = payloads.running_pickle()


@pytest.fixture
def scanning() -> Iterator[Scanning]:
    running = Scanning()
    yield running
    running.close()


def reader(content: bytes) -> Read:
    return lambda start, length: content[start : start + length]


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "weighhouse.sources.scan_child" in " ".join(one.cmdline())]


def test_a_child_says_what_the_scanner_says(scanning: Scanning) -> None:
    for payload in (*payloads.harmful()[::9], *payloads.benign()[::9]):
        expected = scan(Bytes(payload.content), payload.path, len(payload.content))
        scanned = scanning.scan(reader(payload.content), payload.path, len(payload.content))
        assert (scanned.verdict, scanned.fault) == (expected, None), payload.name
    assert len(children()) == 1


def test_a_child_that_takes_too_long_is_ended_and_the_next_file_gets_another(scanning: Scanning) -> None:
    def hang(start: int, length: int) -> bytes:
        time.sleep(0.2)
        return reader(HARMFUL)(start, length)

    slow = Scanning(limits=Limits(seconds=0.1))
    scanned = slow.scan(hang, "x.pkl", len(HARMFUL))
    assert (scanned.verdict.level, scanned.fault) == (Level.UNSCANNED, "timeout")
    assert "0.1 seconds" in scanned.verdict.findings[0].message
    assert not children()
    assert scanning.scan(reader(HARMFUL), "x.pkl", len(HARMFUL)).verdict.level is Level.UNSAFE


def test_a_file_that_computes_too_long_is_unscanned() -> None:
    brief = Scanning(limits=Limits(cpu_seconds=1))
    content = b"\x80\x02" + b"".join(b"(" + b"N" * 300 + b"t0" for _ in range(20_000)) + b"."
    scanned = brief.scan(reader(content), "x.pkl", len(content))
    assert (scanned.verdict.level, scanned.fault) == (Level.UNSCANNED, "timeout"), scanned
    assert "of computing" in scanned.verdict.findings[0].message


def test_a_file_that_takes_too_much_memory_is_unscanned() -> None:
    small = Scanning(limits=Limits(memory_bytes=48 << 20))
    content = b'{"a": [' + b'{"b": []},' * 150_000 + b"0]}"
    scanned = small.scan(reader(content), "config.json", len(content))
    assert scanned.verdict.level is Level.UNSCANNED, scanned
    assert scanned.fault in {"scanner-failed", "crash"}


def test_a_child_that_is_killed_is_unscanned_and_replaced(scanning: Scanning) -> None:
    scanning.scan(reader(HARMFUL), "x.pkl", len(HARMFUL))
    [child] = children()

    def killing(start: int, length: int) -> bytes:
        child.kill()
        eventually(lambda: child.status() == psutil.STATUS_ZOMBIE, seconds=10)
        return reader(HARMFUL)(start, length)

    scanned = scanning.scan(killing, "x.pkl", len(HARMFUL))
    assert (scanned.verdict.level, scanned.fault) == (Level.UNSCANNED, "crash")
    assert "signal 9" in scanned.verdict.findings[0].message
    assert scanning.scan(reader(HARMFUL), "x.pkl", len(HARMFUL)).verdict.level is Level.UNSAFE


def test_what_the_store_raises_goes_through_and_leaves_no_child(scanning: Scanning) -> None:
    class Away(Exception): ...

    def read(start: int, length: int) -> bytes:
        raise Away

    with pytest.raises(Away):
        scanning.scan(read, "x.pkl", 10)
    assert not children()


def test_a_child_knows_nothing_and_can_write_nothing(scanning: Scanning) -> None:
    scanning.scan(reader(HARMFUL), "x.pkl", len(HARMFUL))
    [child] = children()
    assert set(child.environ()) <= {"OPENBLAS_NUM_THREADS", "LC_CTYPE"}
    assert child.cwd() == "/"
    assert child.rlimit(psutil.RLIMIT_AS) == (2 << 30, 2 << 30)
    assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)


def test_a_child_ends_with_whoever_started_it() -> None:
    # A process that starts a child and is killed.
    program = (
        "import os, sys; from weighhouse.sources.scanning import Scanning\n"
        "s = Scanning(); s.scan(lambda start, length: b'x' * length, 'x.txt', 9)\n"
        "print(s._idle[0]._process.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=10)


def test_threads_share_children_and_no_more_are_started_than_may_be(scanning: Scanning) -> None:
    levels: list[Level] = []

    def work() -> None:
        for _ in range(20):
            levels.append(scanning.scan(reader(HARMFUL), "x.pkl", len(HARMFUL)).verdict.level)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert levels == [Level.UNSAFE] * 120
    assert len(children()) <= scanning.limits.children


def test_a_file_that_is_read_from_front_to_back_is_read_in_large_pieces(scanning: Scanning) -> None:
    content = b"A word. " * (3 << 20)
    asked: list[int] = []

    def read(start: int, length: int) -> bytes:
        asked.append(length)
        return content[start : start + length]

    assert scanning.scan(read, "x.gz.h5", len(content)).verdict.level is not Level.UNSAFE
    assert max(asked) <= 16 << 20
    assert len(asked) < 30
