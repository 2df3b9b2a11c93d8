"""Runs a demonstration, cut off from everything else: bubblewrap with namespaces of its own, and limits.

Inside there is no network, no other process, nothing of the server's files, environment or sockets. The package is
there to read, at `/package` and as an entry of the hub's cache; `/scratch` is a small folder in memory to write to.
What is not bounded: the kernel itself is shared, and no filter of system calls is set.
"""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from weighhouse.rules.trial import PACKAGE_PATH, Ending, Trial, trial_of

_NOBODY = 65534
_REVISION = "0" * 40
_TAIL_BYTES = 16 * 1024
_LOOK_SECONDS = 0.1
_TIMED_OUT = "it took longer than the sandbox gives"
_OUT_OF_MEMORY = "it wanted more memory than the sandbox gives"


@dataclass(frozen=True)
class Limits:
    """What one run may take.

    Args:
        memory_bytes: Of all its processes together.
        scratch_bytes: What it may write, in memory.
    """

    seconds: float = 120
    memory_bytes: int = 8 * 1024**3
    processes: int = 64
    scratch_bytes: int = 1024**3


class Sandbox:
    """A place to run programs of strangers in.

    Args:
        python: The interpreter; its libraries are what a program may import.
    """

    def __init__(self, python: str = sys.executable, *, limits: Limits = Limits()) -> None:
        self._python = python
        self._limits = limits

    @functools.cached_property
    def fault(self) -> str | None:
        """Why nothing can be run here, in words for an operator; `None` when it can."""
        if shutil.which("bwrap") is None:
            return "bubblewrap is not installed (apt-get install bubblewrap)"
        with tempfile.TemporaryDirectory(prefix="wh-sandbox-") as folder:
            trial = self.run("pass", Path(folder), "none/none")
        if trial.ending is Ending.PASSED:
            return None
        return f"bubblewrap cannot isolate a program on this system: {trial.why}"

    def run(self, program: str, package: Path, model_id: str) -> Trial:
        """Runs a Python program to its end, or to that of its limits.

        Args:
            package: A folder with the package's files; nothing else of the machine is seen, and nothing is written to it.
            model_id: The id under which the hub's libraries find the package.
        """
        with tempfile.TemporaryDirectory(prefix="wh-trial-") as control:
            # Read as another user when we are root.
            Path(control).chmod(0o755)
            (Path(control) / "main.py").write_text(program, "utf-8")
            (Path(control) / "main").write_text(_REVISION)
            command = [*self._outside(Path(control), package, model_id), *self._inside()]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PATH": os.defpath},
                start_new_session=True,
            )
            with process:
                assert process.stderr is not None
                tail = _Tail(process.stderr)
                try:
                    broken = self._watch(process)
                finally:
                    # The first process of the namespace takes all others with it.
                    process.kill()
                exit_code = process.wait()
                output = tail.text()
        return broken or trial_of(exit_code, output)

    def _watch(self, process: subprocess.Popen[bytes]) -> Trial | None:
        """Returns when the program has ended, or says which limit it went over."""
        deadline = time.monotonic() + self._limits.seconds
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
                return None
            if time.monotonic() > deadline:
                return Trial(Ending.PREVENTED, _TIMED_OUT)
            if _memory_of(process.pid) > self._limits.memory_bytes:
                return Trial(Ending.PREVENTED, _OUT_OF_MEMORY)

    def _outside(self, control: Path, package: Path, model_id: str) -> Sequence[str]:
        """The command that makes the walls."""
        hub = f"/hub/models--{model_id.replace('/', '--')}"
        is_root = os.geteuid() == 0
        return [
            "bwrap",
            "--die-with-parent",
            "--new-session",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            # Root needs no namespace of users to make the others, and becomes nobody inside: limits on the number of
            # processes do not hold for it, whatever it is called.
            *(() if is_root else ("--unshare-user",)),
            "--clearenv",
            *_environment(),
            *_system(),
            *(part for folder in _interpreter(self._python) for part in _bound(folder, folder)),
            *("--proc", "/proc", "--dev", "/dev"),
            *("--perms", "1777", "--size", str(self._limits.scratch_bytes), "--tmpfs", "/dev/shm"),  # noqa: S108 - inside
            *("--perms", "1777", "--size", str(self._limits.scratch_bytes), "--tmpfs", "/scratch"),
            *_bound(str(package), PACKAGE_PATH),
            *_bound(str(control / "main.py"), "/program/main.py"),
            *_bound(str(control / "main"), f"{hub}/refs/main"),
            *("--perms", "0755", "--dir", f"{hub}/snapshots"),
            *("--symlink", PACKAGE_PATH, f"{hub}/snapshots/{_REVISION}"),
            *("--remount-ro", "/dev", "--remount-ro", "/"),
            *("--chdir", "/scratch"),
            "--",
        ]

    def _inside(self) -> Sequence[str]:
        """The command that lowers the limits and then runs the program."""
        nobody = f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs", "--"
        limits = self._limits
        return [
            *(("setpriv", *nobody) if os.geteuid() == 0 else ()),
            "prlimit",
            # Libraries reserve much more than they use; what is used is watched from outside.
            f"--as={4 * limits.memory_bytes}",
            f"--cpu={int(4 * limits.seconds)}",
            f"--nproc={limits.processes}",
            f"--fsize={limits.scratch_bytes}",
            "--nofile=1024",
            "--core=0",
            "--",
            self._python,
            "-I",
            "-B",
            "/program/main.py",
        ]


class _Tail:
    """The last bytes of a stream, read by a thread until its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._last = b""
        self._stream = stream
        self._thread = threading.Thread(target=self._read, name="trial-output", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """What there is once the stream has ended."""
        self._thread.join(5)
        return self._last.decode("utf-8", "replace")

    def _read(self) -> None:
        while piece := os.read(self._stream.fileno(), 64 * 1024):
            self._last = (self._last + piece)[-_TAIL_BYTES:]


def _memory_of(pid: int) -> int:
    """Bytes in memory of a process and all that descend from it; shared ones count for each."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def _environment() -> Iterator[str]:
    values = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/scratch",
        "TMPDIR": "/scratch",
        "LANG": "C.UTF-8",
        "HF_HUB_CACHE": "/hub",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }
    for name, value in values.items():
        yield from ("--setenv", name, value)


def _system() -> Iterator[str]:
    """The system's programs and libraries, and of its settings only where libraries are."""
    yield from ("--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc")
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/") / name
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), f"/{name}")
        elif path.is_dir():
            yield from ("--ro-bind", f"/{name}", f"/{name}")
    for settings in ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"):
        yield from ("--ro-bind-try", settings, settings)


def _bound(source: str, target: str) -> Iterator[str]:
    """A file or folder of ours that is there to read; the folders above it are made such that anybody may pass."""
    for folder in reversed(Path(target).parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(folder))
    yield from ("--ro-bind", source, target)


@functools.cache
def _interpreter(python: str) -> Sequence[str]:
    """The folders of an interpreter and its libraries that are not the system's own."""
    asked = subprocess.run(
        [python, "-I", "-c", "import sys; print(sys.prefix, sys.base_prefix, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    folders = [folder for folder in asked.stdout.splitlines() if not Path(folder).is_relative_to("/usr")]
    return [*dict.fromkeys(folders)]
