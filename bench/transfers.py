"""Rows 4 to 7: large uploads and downloads."""

import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.load import get, go_through
from bench.results import Row, Scale, alternately, ratio, spread
from bench.servers import Product, nginx, product

_MEBI = 1024 * 1024
_PACKAGES = 500
_DISTINCT = 25
_MEDIUM_BYTES = 50_000_000
_CLIENTS = 100
_BOUNDARY = "weighhouse-bench-boundary"


def transfer_large(scale: Scale) -> list[Row]:
    """Rows 4 to 6: one large package in and out."""
    weights = scale.work / "model.safetensors"
    make_weights(weights, scale.file_bytes)
    static = scale.work / "static"
    static.mkdir()
    with product(scale.work / "data") as server:
        rows = _upload_rows(server, scale, weights)
        weights.unlink()
        address = _download_url(server, newest_id(server, "bench/large-0"))
        urllib.request.urlretrieve(address, static / "large.zip")
        with nginx(static, scale.work) as plain:
            for clients in (1, 8):
                rows.append(_download_row(server, scale, address, f"{plain}/large.zip", clients))
    shutil.rmtree(scale.work / "data")
    shutil.rmtree(static)
    return rows


def _upload_rows(server: Product, scale: Scale, weights: Path) -> list[Row]:
    growths: list[float] = []

    def disk_seconds() -> float:
        started = time.perf_counter()
        subprocess.run(["sha256sum", weights], check=True, capture_output=True)
        subprocess.run(["cp", weights, scale.work / "copy"], check=True)
        subprocess.run(["sync", scale.work / "copy"], check=True)
        seconds = time.perf_counter() - started
        (scale.work / "copy").unlink()
        return seconds

    def upload_seconds() -> float:
        # Each run stores new bytes: the first word of the weights is another one.
        number = len(growths)
        _stamp(weights, number)
        archive = zip_weights(scale.work / "fresh.zip", weights, "# Card\n")
        with _peak(server) as peak:
            started = time.perf_counter()
            upload(server, archive, f"bench/large-{number}", "1.0.0")
            seconds = time.perf_counter() - started
        growths.append(peak[0] / _MEBI)
        archive.unlink()
        return seconds

    references, subjects = alternately(scale.runs, disk_seconds, upload_seconds)
    gibi = scale.file_bytes / 1024**3
    detail = f"{spread(subjects)} s against {spread(references)} s for {gibi:g} GiB"
    archive = zip_weights(scale.work / "fresh.zip", weights, "# Card\n\nAnother edition.\n")
    before = _stored_bytes(server.data_dir / "store")
    upload(server, archive, f"bench/large-{scale.runs - 1}", "1.0.1")
    archive.unlink()
    more = (_stored_bytes(server.data_dir / "store") - before) / _MEBI
    return [
        Row(
            "4a",
            "upload of a large ZIP against sha256sum, cp and sync",
            ratio(references, subjects),
            2.5,
            detail=detail,
        ),
        Row("4b", "memory of the API processes during it", max(growths), 100, "MiB more", detail=spread(growths)),
        Row("5", "stored for the same weights with another card", more, 1, "MiB more"),
    ]


def _download_row(server: Product, scale: Scale, address: str, plain: str, clients: int) -> Row:
    growths = []

    def plain_rate() -> float:
        return go_through(plain, [get(plain)] * clients, clients=clients).megabytes_per_second

    def rate() -> float:
        with _peak(server) as peak:
            load = go_through(address, [get(address)] * clients, clients=clients)
        growths.append(peak[0] / _MEBI)
        if load.failures:
            raise RuntimeError(f"{load.failures} downloads failed")
        return load.megabytes_per_second

    references, subjects = alternately(scale.runs, plain_rate, rate)
    detail = f"{spread(subjects)} against {spread(references)} MB/s; memory {max(growths):.0f} MiB more (≤ 100)"
    what = f"download of a large ZIP, {clients} at once, MB/s against nginx"
    figure = ratio(references, subjects) if max(growths) < 100 else 0.0
    return Row(f"6{'a' if clients == 1 else 'b'}", what, figure, 0.4, "of it", True, detail)


def download_crowd(scale: Scale) -> list[Row]:
    """Row 7: many clients at once, each with a package of its own kind."""
    static = scale.work / "static"
    static.mkdir()
    weights = scale.work / "model.safetensors"
    with product(scale.work / "data") as server:
        for number in range(_PACKAGES):
            make_weights(weights, _MEDIUM_BYTES if number < _DISTINCT else 100_000)
            _stamp(weights, number)
            archive = zip_weights(scale.work / "one.zip", weights, f"# Package {number}\n")
            upload(server, archive, f"bench/crowd-{number}", "1.0.0", wait=False)
        _await_evaluated(server)
        addresses = [_download_url(server, newest_id(server, f"bench/crowd-{n}")) for n in range(_DISTINCT)]
        for number, address in enumerate(addresses):
            urllib.request.urlretrieve(address, static / f"{number}.zip")
        with nginx(static, scale.work) as plain:
            failures = 0

            def p99(url: str, targets: list[str]) -> float:
                nonlocal failures
                requests = [get(targets[n % len(targets)]) for n in range(_CLIENTS)]
                load = go_through(url, requests, clients=_CLIENTS)
                failures += load.failures
                return load.percentile_ms(0.99)

            references, subjects = alternately(
                scale.runs,
                lambda: p99(plain, [f"{plain}/{n}.zip" for n in range(_DISTINCT)]),
                lambda: p99(server.url, addresses),
            )
    shutil.rmtree(scale.work / "data")
    shutil.rmtree(static)
    detail = f"p99 {spread(subjects)} ms against {spread(references)} ms, {failures} failed"
    figure = ratio(references, subjects) if not failures else float("inf")
    return [Row("7", f"{_CLIENTS} clients at once, 50 MB each, p99 against nginx", figure, 3, detail=detail)]


def cold_start(catalogue: Path, scale: Scale) -> list[Row]:
    """Row 8: seconds from the command to the first good answer, on an existing data directory."""
    seconds = []
    for _ in range(scale.runs):
        with product(catalogue) as server:
            seconds.append(server.start_seconds)
    return [Row("8", "cold start to the first 200", statistics.median(seconds), 5, "s", detail=spread(seconds))]


def upload(server: Product, archive: Path, name: str, version: str, *, wait: bool = True) -> None:
    """Sends a ZIP as a form, its bytes by the kernel, and returns when it is taken in.

    Raises:
        RuntimeError: It is not.
    """
    fields = "".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in (("name", name), ("version", version))
    )
    part = 'Content-Disposition: form-data; name="file"; filename="package.zip"\r\nContent-Type: application/zip'
    before = f"{fields}--{_BOUNDARY}\r\n{part}\r\n\r\n".encode()
    after = f"\r\n--{_BOUNDARY}--\r\n".encode()
    size = archive.stat().st_size
    parts = urlsplit(server.url)
    head = (
        f"POST /package HTTP/1.1\r\nHost: {parts.netloc}\r\nX-Authorization: {server.token}\r\nConnection: close\r\n"
        + ("" if wait else "Prefer: respond-async\r\n")
        + f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        + f"Content-Length: {len(before) + size + len(after)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection, archive.open("rb") as file:
        connection.sendall(head.encode() + before)
        at = 0
        while at < size:
            at += os.sendfile(connection.fileno(), file.fileno(), at, size - at)
        connection.sendall(after)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if answer[9:12] not in (b"201", b"202"):
        raise RuntimeError(f"The upload of {name} was answered with {answer[:400]!r}")


@contextmanager
def _peak(server: Product) -> Iterator[list[int]]:
    """The most that the memory of the API processes grew within the block, in bytes."""
    start = server.api_memory_bytes()
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            peak[0] = max(peak[0], server.api_memory_bytes() - start)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def make_weights(path: Path, size: int) -> None:
    """A safetensors file of one tensor."""
    head = {"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    text = json.dumps(head).encode().ljust(256)
    block = os.urandom(min(size, 64 * _MEBI))
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for at in range(0, size, len(block)):
            file.write(block[: size - at])


def _stamp(weights: Path, number: int) -> None:
    with weights.open("r+b") as file:
        file.seek(-16, os.SEEK_END)
        file.write(number.to_bytes(16, "big"))


def zip_weights(archive: Path, weights: Path, card: str) -> Path:
    """A ZIP of a card and weights, at `archive`."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr("README.md", card)
        file.write(weights, "model.safetensors")
    return archive


def _stored_bytes(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def ask_json(server: Product, path: str, body: bytes | None = None) -> dict[str, object]:
    """The JSON that a server answers; `body` is posted."""
    headers = {"X-Authorization": server.token, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(server.url + path, body, headers), timeout=60) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def newest_id(server: Product, name: str) -> str:
    """The id of the newest version of a package."""
    found = ask_json(server, "/packages?limit=1", json.dumps([{"name": name}]).encode())["packages"]
    assert isinstance(found, list)
    return str(found[0]["id"])


def _download_url(server: Product, package_id: str) -> str:
    return str(ask_json(server, f"/package/{package_id}?full=true")["download_url"])


def _await_evaluated(server: Product) -> None:
    """Returns when the worker has nothing to do, so that it is not measured."""
    package_id = newest_id(server, f"bench/crowd-{_PACKAGES - 1}")
    deadline = time.monotonic() + 300
    while ask_json(server, f"/package/{package_id}/metadata")["status"] == "evaluating" and time.monotonic() < deadline:
        time.sleep(0.5)
