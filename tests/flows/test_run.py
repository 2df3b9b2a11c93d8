"""The script `run`, in a copy of the project that has no virtual environment yet."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a fresh clone has, in a folder with a space in its name."""
    clone = tmp_path / "a clone"
    clone.mkdir()
    for name in ("run", "pyproject.toml", "README.md", "dependencies.txt", "dependencies-test.txt"):
        shutil.copy(ROOT / name, clone / name)
    shutil.copytree(ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return clone


def path_with(folder: Path, **programs: str) -> str:
    """A PATH with what every system has, no Python, and the scripts given."""
    folder.mkdir()
    for name in ("sh", "cat", "cksum", "dirname", "readlink", "rm"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def run(clone: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [clone / "run", *arguments],
        cwd=clone.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_python_it_says_what_to_install(clone: Path) -> None:
    refused = run(clone, "--version", PATH=path_with(clone.parent / "bin", python3="exit 1"))
    assert refused.returncode == 1
    assert "needs Python 3.11 or newer" in refused.stderr
    assert "apt-get install python3" in refused.stderr
    assert not (clone / ".venv").exists()


def test_with_a_python_that_has_no_venv_it_says_what_to_install(clone: Path) -> None:
    script = "case $2 in *ensurepip*) exit 1 ;; *print*) echo 3.12 ;; esac"
    refused = run(clone, "--version", PATH=path_with(clone.parent / "bin", python3=script))
    assert refused.returncode == 1
    assert "apt-get install python3.12-venv" in refused.stderr


@pytest.mark.long
def test_two_starts_at_once_in_a_fresh_clone_install_once_and_the_next_is_quick(clone: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(clone / "run")
    both = [
        subprocess.Popen([link, "--version"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(out.startswith("weighhouse, version") for out, _ in said)
    assert sum("Installing" in err for _, err in said) == 1

    # A module in the caller's folder is not taken for one of the program's.
    (tmp_path / "click.py").write_text("raise SystemExit('the wrong click')")
    began = time.monotonic()
    again = run(clone, "--version", HOME="")
    assert (again.returncode, again.stderr) == (0, "")
    assert time.monotonic() - began < 20


@pytest.mark.long
def test_an_installation_that_was_ended_is_done_again(clone: Path) -> None:
    first = subprocess.Popen([clone / "run", "install"], stderr=subprocess.PIPE, text=True)
    # Into the middle of pip's work.
    while not (clone / ".venv" / "bin" / "pip").exists():
        time.sleep(0.1)
    time.sleep(2)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate()
    assert first.returncode == 128 + signal.SIGTERM, said
    assert not (clone / ".venv" / ".installed").exists()

    done = run(clone, "install")
    assert done.returncode == 0, done.stderr
    python = clone / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-P", "-c", "import weighhouse.doors.cli.main"], check=False).returncode == 0
