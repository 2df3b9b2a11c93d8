"""A server whose disk is full: it says so, shows nothing half, and goes on when there is space. On a disk of its own."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, eventually, start_server, stop_server
from tests.doors.rest import client_of, fresh, post_package, problem, publish
from tests.flows.test_crash import is_well

MIB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 48 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0700", "none", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(options, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def own(tmp_path: Path, small_disk: Path) -> Iterator[Server]:
    """A server that keeps its files there, and its database elsewhere."""
    running = start_server(tmp_path / "data", WEIGHHOUSE_STORAGE_URL=small_disk.as_uri(), WEIGHHOUSE_WORKERS="1")
    yield running
    stop_server(running)


def fill(folder: Path) -> Path:
    """A file that takes all the space that there is."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1))
    return path


@pytest.mark.parametrize("size", [100, 8 * MIB], ids=["small", "large"])
def test_a_full_disk_is_told_shows_nothing_half_and_ends_with_the_space(
    own: Server, small_disk: Path, size: int
) -> None:
    name = fresh("full")
    with client_of(own, own.admin_token) as client:
        kept = publish(client, files={"model.bin": os.urandom(MIB)})
        filling = fill(small_disk)
        refused = post_package(client, name, files={"model.bin": os.urandom(size)})
        document = problem(refused, 503)
        assert "full" in document["detail"]
        assert client.post("/packages", json=[{"name": name}]).json()["total"] == 0
        # What is there can be had, and the server says how it is.
        assert len(client.get(client.get(f"/package/{kept}").json()["download_url"]).content) > MIB
        assert client.get("/health").json()["status"] == "degraded"
        filling.unlink()
        eventually(lambda: is_well(own), 30)
        assert post_package(client, name, files={"model.bin": os.urandom(size)}).status_code == 201
