"""Row 15: a folder sent straight into a bucket, against boto3 that sends the same files."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from tests.counting_proxy import counted
from tests.swift_server import SwiftServer, shared

from bench.results import Row, Scale, alternately, ratio, spread
from bench.servers import Product, product

_MEBI = 1024 * 1024
_FILES = 20
_PARALLEL = 4
_BUCKET = "weighhouse-bench-direct"
_PROJECT = Path(__file__).parent.parent

# The same number of connections: so many files at a time, the parts of each one after the other.
_REFERENCE = """
import sys, pathlib, boto3
from concurrent.futures import ThreadPoolExecutor
from boto3.s3.transfer import TransferConfig
endpoint, bucket, folder, parallel = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
config = TransferConfig(use_threads=False)
with ThreadPoolExecutor(int(parallel)) as pool:
    files = sorted(pathlib.Path(folder).iterdir())
    list(pool.map(lambda file: client.upload_file(str(file), bucket, "reference/" + file.name, Config=config), files))
"""


@dataclass(frozen=True)
class _Sent:
    seconds: float
    peak_bytes: int
    said: str


def upload_direct(scale: Scale) -> list[Row]:
    """Row 15: time, bytes after a small change, and memory of client and server."""
    swift = scale.work / "swift"
    swift.mkdir()
    with shared(swift) as server, _credentials(server):
        client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=_BUCKET)
        storage_url = f"s3://{_BUCKET}"
        with product(scale.work / "direct", storage_url=storage_url, s3_endpoint_url=server.endpoint) as registry:
            return _measure(scale, server, registry)


def _measure(scale: Scale, server: SwiftServer, registry: Product) -> list[Row]:
    folder = scale.work / "model"
    idle = _send(registry.url, registry, _folder(folder, scale.file_bytes // 1000))
    idle_server = registry.api_memory_bytes()
    sent: list[_Sent] = []
    with _peak(registry) as peaks:
        times = alternately(
            scale.runs,
            lambda: _reference(server, _folder(folder, scale.file_bytes)),
            lambda: _timed(registry, folder, sent),
        )
    (folder / "README.md").write_text("# Changed\n")
    place = urlsplit(registry.url)
    with counted(str(place.hostname), int(place.port or 0)) as traffic:
        again = _send(traffic.url, registry, folder)
        passed = traffic.sent_bytes
    if not re.search(rf"1 of {_FILES + 1} files are sent", again.said):
        raise RuntimeError(again.said)
    client_bytes = max(one.peak_bytes for one in sent) - idle.peak_bytes
    detail = f"{spread(times[1])} against {spread(times[0])} s for {scale.file_bytes / 1e9:.2f} GB in {_FILES} files"
    return [
        Row("15a", "direct upload of 20 files", ratio(*times), 1.3, detail=detail),
        Row("15b", "sent after a change to one small file", passed / _MEBI, 1, "MiB"),
        Row("15c", "memory of the client above idle", client_bytes / _MEBI, 150, "MiB"),
        Row("15d", "memory of the servers above idle", (max(peaks) - idle_server) / _MEBI, 150, "MiB"),
    ]


@contextmanager
def _credentials(server: SwiftServer) -> Iterator[None]:
    """Those of the store, where boto3 and the registry look for them."""
    given = {"AWS_ACCESS_KEY_ID": server.access_key_id, "AWS_SECRET_ACCESS_KEY": server.secret_access_key}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _folder(folder: Path, size_bytes: int) -> Path:
    """A card and files that nobody has seen before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "README.md").write_text(f"# {secrets.token_hex(8)}\n")
    for number in range(_FILES):
        block = secrets.token_bytes(_MEBI)
        left = size_bytes // _FILES
        with (folder / f"{number:02}.bin").open("wb") as file:
            while left:
                left -= file.write(block[: min(left, _MEBI)])
    return folder


def _reference(server: SwiftServer, folder: Path) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-c", _REFERENCE, server.endpoint, _BUCKET, str(folder), str(_PARALLEL)]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - began
    _empty(server)
    return seconds


def _empty(server: SwiftServer) -> None:
    """Gives the store's memory back."""
    client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1")
    for number in range(_FILES):
        client.delete_object(Bucket=_BUCKET, Key=f"reference/{number:02}.bin")


def _timed(registry: Product, folder: Path, sent: list[_Sent]) -> float:
    sent.append(_send(registry.url, registry, folder))
    return sent[-1].seconds


def _send(url: str, registry: Product, folder: Path) -> _Sent:
    """The command as a user types it; it ends when the package is there, before it is weighed."""
    command = [
        sys.executable,
        "-m",
        "weighhouse",
        "upload",
        str(folder),
        "--version",
        f"1.0.{secrets.randbelow(10**9)}",
    ]
    command += ["--no-wait", "--json", "--parallel", str(_PARALLEL), "--server", url, "--token", registry.token]
    path = os.pathsep.join([str(_PROJECT / "src"), os.environ.get("PYTHONPATH", "")])
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stderr.read().decode()
    document = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    process.stdout.close()
    process.stderr.close()
    if process.returncode or "package_id" not in json.loads(document):
        raise RuntimeError(said)
    return _Sent(seconds, usage.ru_maxrss * 1024, said)


@contextmanager
def _peak(registry: Product) -> Iterator[list[int]]:
    """Memory of the API processes, looked at ten times a second until the block ends."""
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            seen.append(registry.api_memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
