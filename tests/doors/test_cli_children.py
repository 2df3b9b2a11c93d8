"""Children that are watched over, with real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from weighhouse.doors.cli.children import Child, Retries, end
from weighhouse.doors.cli.stopping import StopRequest


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    stop = StopRequest()
    yield stop
    os.close(signal.set_wakeup_fd(-1))
    os.close(stop._wake)
    for number, handler in before.items():
        signal.signal(number, handler)


def shell(script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", script], start_new_session=True)


def test_a_child_that_keeps_dying_is_started_ever_more_slowly() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(shell("exit 3"))
        started[-1].wait()
        return started[-1]

    child = Child("worker", start)
    began = time.monotonic()
    child.tend()
    for _ in range(3):
        due_at = child.tend()
    assert len(started) == 2
    assert 0 < due_at - began < 20


def test_a_child_that_was_well_for_long_is_replaced_at_once() -> None:
    retries = Retries(failures=9, _started_at=time.monotonic() - 3600)
    assert retries.fail() == 0


def test_a_child_that_cannot_be_started_is_tried_again() -> None:
    def start() -> subprocess.Popen[bytes]:
        raise BlockingIOError(11, "no more processes")

    child = Child("api", start)
    assert child.tend() < float("inf")
    assert child.process is None


def test_the_end_of_a_child_wakes_the_watch(stop: StopRequest) -> None:
    process = shell("sleep 0.2")
    began = time.monotonic()
    stop.wait(20)
    assert time.monotonic() - began < 15
    process.wait()


def test_a_child_that_ignores_the_end_is_killed_with_what_it_started(stop: StopRequest) -> None:
    script = "trap '' TERM; sleep 60 & echo $!; wait; sleep 60"
    process = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        grandchild = int(process.stdout.readline())
    end([Child("worker", lambda: process, process)], 0.5, stop)
    assert process.returncode == -signal.SIGKILL
    assert _ended(grandchild)


def test_a_second_signal_shortens_the_wait(stop: StopRequest) -> None:
    stop.started()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.hurried
    process = shell("trap '' TERM; trap 'exit 7' INT; while :; do sleep 0.1; done")
    time.sleep(0.3)
    end([Child("api", lambda: process, process)], 60, stop)
    assert process.returncode == 7


def test_a_second_signal_interrupts_a_start(stop: StopRequest) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    assert stop
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_child_does_not_outlive_its_parent() -> None:
    code = (
        "import os, subprocess, sys\n"
        "lifeline, _ = os.pipe()\n"
        "child = 'import sys, time; from weighhouse.doors.cli.lifeline import tie_to_parent;'\n"
        "child += 'tie_to_parent(int(sys.argv[1]), int(sys.argv[2])); print(1, flush=True); time.sleep(60)'\n"
        "given = [str(lifeline), str(os.getpid())]\n"
        "process = subprocess.Popen([sys.executable, '-c', child, *given], pass_fds=(lifeline,), stdout=subprocess.PIPE)\n"
        "process.stdout.readline()\n"
        "print(process.pid, flush=True)\n"
        "os._exit(9)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    assert parent.returncode == 9
    assert _ended(int(parent.stdout))


def _ended(pid: int) -> bool:
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
