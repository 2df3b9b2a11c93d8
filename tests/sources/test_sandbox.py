"""Programs of strangers, really run: what they may see, and that nothing they do has an effect outside."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from weighhouse.rules.trial import Ending, Trial
from weighhouse.sources.sandbox import Limits, Sandbox

_FAULT = Sandbox().fault

pytestmark = pytest.mark.skipif(_FAULT is not None, reason=f"needs a sandbox: {_FAULT}")

# A slow machine may take long to start Python; what is stopped by time says so itself.
_LIMITS = Limits(seconds=60, memory_bytes=300 * 2**20, scratch_bytes=20 * 2**20)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    # Beside pytest's own folders, which are closed to others.
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    for path in (folder, *folder.parents):
        if path.owner() == folder.owner() and path != Path("/") and os.access(path, os.W_OK):
            path.chmod(path.stat().st_mode | 0o055)
    (folder / "model.bin").chmod(0o644)
    return folder


def run(program: str, package: Path, limits: Limits = _LIMITS) -> Trial:
    return Sandbox(limits=limits).run(program, package, "acme/tiny")


def test_a_program_reads_its_package_under_every_name(package: Path) -> None:
    program = """
from pathlib import Path
assert Path("/package/model.bin").read_bytes() == b"weights"
hub = Path("/hub/models--acme--tiny")
assert (hub / "snapshots" / (hub / "refs/main").read_text() / "model.bin").read_bytes() == b"weights"
Path("note.txt").write_text("written")
import json, ssl, sqlite3
"""
    assert run(program, package) == Trial(Ending.PASSED)


@pytest.mark.parametrize(
    "program",
    [
        "open('/package/model.bin', 'ab')",
        "open('/package/other', 'w')",
        "import os; os.remove('/package/model.bin')",
        "open('/usr/x', 'w')",
        "open('/x', 'w')",
        "open('/dev/x', 'w')",
        "open('/proc/sys/kernel/hostname', 'w').write('x')",
        "open('x', 'wb').write(b'x' * 30_000_000)",
        "open('/dev/shm/x', 'wb').write(b'x' * 30_000_000)",
        "open('/etc/shadow')",
        "open('/etc/passwd')",
        "import os; os.setuid(0)",
        "import os; os.mkdir('a'); os.chroot('a')",
    ],
)
def test_what_is_forbidden_fails(package: Path, program: str) -> None:
    before = (package / "model.bin").read_bytes()
    assert run(program, package).ending is Ending.FAILED
    assert [path.name for path in package.iterdir()] == ["model.bin"]
    assert (package / "model.bin").read_bytes() == before


def test_nothing_of_the_server_is_seen(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEIGHHOUSE_HF_TOKEN", "hf_secret")
    (tmp_path / "secret").write_text("secret")
    program = f"""
import os
assert "hf_secret" not in str(os.environ), os.environ
assert not os.path.exists({str(tmp_path / "secret")!r})
assert not os.path.exists({str(Path.cwd() / "pyproject.toml")!r})
processes = [name for name in os.listdir("/proc") if name.isdigit()]
assert len(processes) < 6, processes
"""
    assert run(program, package) == Trial(Ending.PASSED)


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this machine that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_there_is_no_network_not_even_this_machine(package: Path, listener: int) -> None:
    for program in (
        f"import socket; socket.create_connection(('127.0.0.1', {listener}), 5)",
        "import urllib.request; urllib.request.urlopen('http://example.org', timeout=5)",
    ):
        trial = run(program, package)
        assert trial.ending is Ending.PREVENTED
        assert "network" in trial.why


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("x = []\nwhile True: x.append(bytearray(10_000_000))", "memory"),
        ("while True: pass", "longer"),
        ("import os, time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.01)", ""),
    ],
)
def test_what_takes_too_much_is_stopped_and_leaves_nothing(package: Path, program: str, why: str) -> None:
    seconds = 3 if why == "longer" else 60
    trial = run(program, package, Limits(seconds=seconds, memory_bytes=300 * 2**20, scratch_bytes=20 * 2**20))
    assert trial.ending is Ending.PREVENTED
    assert why in trial.why
    assert _left() == []


def test_processes_that_stay_behind_end_with_the_program(package: Path) -> None:
    program = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  time.sleep(600)"
    assert run(program, package).ending is Ending.PASSED
    assert _left() == []


def test_a_flood_of_output_costs_nothing(package: Path) -> None:
    program = "import sys\nfor _ in range(50_000): sys.stderr.write('x' * 1000 + '\\n')\nraise ValueError('the end')"
    trial = run(program, package)
    assert trial.ending is Ending.FAILED
    assert "ValueError: the end" in trial.why


def test_an_interpreter_of_the_operators_brings_its_own_libraries(package: Path) -> None:
    trial = Sandbox(sys.executable, limits=_LIMITS).run("import orjson", package, "acme/tiny")
    assert trial.ending is Ending.PASSED
    assert run("import surely_not_there", package).why == "runner lacks surely_not_there"


def _left() -> list[str]:
    """Command lines of programs that still run; a moment is given to those that were just killed."""
    deadline = time.monotonic() + 10
    while True:
        left = [line for process in psutil.process_iter() if "/program/main.py" in (line := _line(process))]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
