"""A package of 6 GiB, one of its files beyond 4 GiB: in, composed, out, and read by others, on each store."""

import hashlib
import shutil
import subprocess
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.conftest import Place, Server, eventually, start_server, stop_server
from tests.doors.rest import client_of, fresh
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.zipview import Literal, cut, layout

MIB = 1024 * 1024
GIB = 1024 * MIB
SIZES = {"README.md": 1000, "large.bin": 4 * GIB + GIB // 4, "model.bin": GIB + GIB // 2 + 12345, "train.csv": GIB // 4}
# Swift keeps blobs and ZIP in memory where it can, and for a moment what is copied too.
_MEMORY_BYTES = 16 * GIB
_DISK_BYTES = 20 * GIB


def zeros_of(size: int) -> Iterator[bytes]:
    block = bytes(16 * MIB)
    for at in range(0, size, len(block)):
        yield block[: size - at]


def make_zip(path: Path) -> int:
    """A ZIP whose files are all zeros, which take no room on a disk; its size."""
    files = []
    for name, size in SIZES.items():
        crc32 = 0
        for block in zeros_of(size):
            crc32 = zlib.crc32(block, crc32)
        files.append(File(name, size, hashlib.sha256(name.encode()).hexdigest(), crc32, component_of(name)))
    view = layout(files)
    with path.open("wb") as target:
        for part in cut(view, 0, view.size_bytes):
            if isinstance(part, Literal):
                target.write(part.data)
            else:
                target.seek(part.length, 1)
        target.truncate(view.size_bytes)
    return view.size_bytes


def save(address: str, path: Path) -> str:
    """Downloads to a file without room for zeros; the SHA-256."""
    digest, block = hashlib.sha256(), bytes(MIB)
    with httpx.stream("GET", address, verify=False, timeout=120) as answer, path.open("wb") as target:
        assert answer.status_code == 200
        for chunk in answer.iter_bytes(MIB):
            digest.update(chunk)
            if chunk == block:
                target.seek(len(chunk), 1)
            else:
                target.write(chunk)
        target.truncate()
    return digest.hexdigest()


@contextmanager
def peaks(server: Server) -> Iterator[dict[str, float]]:
    """The most that the memory of each kind of process grew, in MiB."""
    children = psutil.Process(server.process.pid).children()
    kinds = {kind: [child for child in children if kind in child.cmdline()] for kind in ("api", "worker")}
    start = {kind: _memory(processes) for kind, processes in kinds.items()}
    grown, ended = dict.fromkeys(kinds, 0.0), threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            for kind, processes in kinds.items():
                grown[kind] = max(grown[kind], _memory(processes) - start[kind])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield grown
    finally:
        ended.set()
        thread.join()


def _memory(processes: list[psutil.Process]) -> float:
    return sum(process.memory_full_info().uss for process in processes) / MIB


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("kind", ["disk", "s3"])
def test_a_package_of_6_gib_comes_in_and_out_whole_in_little_memory(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    environment: Mapping[str, str] = {}
    if kind == "s3":
        if psutil.virtual_memory().available < _MEMORY_BYTES:
            pytest.skip("less than 16 GiB of memory are free for the S3 server")
        place: Place = request.getfixturevalue("place")
        environment = place.environment()
    if shutil.disk_usage(tmp_path).free < _DISK_BYTES:
        pytest.skip("less than 20 GiB are free on the disk")
    server = start_server(
        tmp_path / "data", WEIGHHOUSE_WORKERS="1", WEIGHHOUSE_HF_ENDPOINT="http://127.0.0.1:9", **environment
    )
    try:
        with peaks(server) as grown:
            _in_and_out(server, tmp_path, kind)
        print(f"{kind}: memory " + ", ".join(f"{name} {most:.0f} MiB more" for name, most in grown.items()))
        assert all(most < 400 for most in grown.values())
    finally:
        stop_server(server)
        shutil.rmtree(tmp_path / "data", ignore_errors=True)


def _in_and_out(server: Server, folder: Path, kind: str) -> None:
    size = make_zip(folder / "in.zip")
    with (folder / "in.zip").open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    with client_of(server, server.admin_token) as client:
        client.timeout = httpx.Timeout(1200)
        with _timed(f"{kind}: up"), (folder / "in.zip").open("rb") as file:
            form: Any = {"name": fresh("large"), "version": "1.0.0"}
            answer = client.post("/package", data=form, files={"file": file}, headers={"Prefer": "respond-async"})
        assert answer.status_code in {201, 202}, answer.text
        package_id = answer.json()["package_id"]
        with _timed(f"{kind}: composed"):
            address = str(eventually(lambda: _address(client, package_id, kind), 900))
        with _timed(f"{kind}: down"):
            assert save(address, folder / "out.zip") == expected
        assert (folder / "out.zip").stat().st_size == size
        assert client.delete(f"/package/{package_id}").status_code == 200
    with zipfile.ZipFile(folder / "out.zip") as archive:
        assert {entry.filename: entry.file_size for entry in archive.infolist()} == SIZES
        assert kind == "s3" or archive.testzip() is None
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tqq", folder / "out.zip"], check=True, timeout=600)


def _address(client: httpx.Client, package_id: str, kind: str) -> str | None:
    address = str(client.get(f"/package/{package_id}").json()["download_url"])
    is_in_bucket = "X-Amz-Signature" in urlsplit(address).query
    return address if is_in_bucket == (kind == "s3") else None


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what} in {time.monotonic() - began:.1f} s", flush=True)
