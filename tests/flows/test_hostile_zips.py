"""Archives made to fill memory, disk or time: refused or flagged soon, by a real server that is measured meanwhile."""

import io
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, start_server, stop_server
from tests.doors.rest import client_of, fresh, post_package, problem
from tests.flows.test_crash import children

MIB = 1024 * 1024
# Of the processor: how long that takes by the clock depends on what else the machine does.
SECONDS = 2
PATIENCE_SECONDS = 20
MEMORY_BYTES = 100 * MIB
# The ratio counts from 64 MiB on, and a piece more may be under way by then.
DISK_BYTES = 80 * MIB


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        # Counting the lines that run takes twice as long as running them.
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        running = start_server(tmp_path_factory.mktemp("hostile") / "data", WEIGHHOUSE_WORKERS="1")
    with client_of(running, running.admin_token) as client:
        # What every process keeps from its first upload on is no archive's fault.
        assert post_package(client, fresh(), files={"a.bin": bytes(MIB)}).status_code == 201
    yield running
    stop_server(running)


@dataclass
class Watch:
    """How much more than at its start a server took while it was watched."""

    server: Server
    memory_bytes: int = 0
    disk_bytes: int = 0
    seconds: float = 0
    """By the clock."""
    work_seconds: float = 0
    """Of the processor, in all processes of the server but the database."""

    def __enter__(self) -> "Watch":
        self._processes = [child for role in ("api", "worker") for child in children(self.server, role)]
        self._before = self._taken()
        self._worked = self._work()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        self.work_seconds = self._work() - self._worked
        self._stop.set()
        self._thread.join()

    def _work(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._processes))

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            memory, disk = self._taken()
            self.memory_bytes = max(self.memory_bytes, memory - self._before[0])
            self.disk_bytes = max(self.disk_bytes, disk - self._before[1])

    def _taken(self) -> tuple[int, int]:
        memory = sum(process.memory_info().rss for process in self._processes)
        return memory, sum(_size(path) for path in (self.server.data_dir / "store" / "staging").iterdir())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0  # Removed while we looked.


def send(server: Server, content: bytes, name: str) -> httpx.Response:
    with client_of(server, server.admin_token) as client:
        form = {"name": name, "version": "1.0.0"}
        return client.post("/package", data=form, files={"file": ("p.zip", content)})


def bomb(size: int) -> bytes:
    """A ZIP of `size` bytes whose one member unpacks to a thousand times as much."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece, packed, unpacked, crc32 = bytes(16 * MIB), bytearray(), 0, 0
    while len(packed) < size - 200:
        packed += deflater.compress(piece) + deflater.flush(zlib.Z_SYNC_FLUSH)
        unpacked += len(piece)
        crc32 = zlib.crc32(piece, crc32)
    packed += deflater.flush()
    # Sizes beyond 32 bits are in ZIP64 blocks, and true: nothing but the ratio is wrong with it.
    name, full = b"weights.bin", 0xFFFFFFFF
    extra = struct.pack("<2H2Q", 1, 16, unpacked, len(packed))
    sizes = (crc32, full, full, len(name), len(extra))
    head = b"PK\x03\x04" + struct.pack("<5H3I2H", 45, 0, 8, 0, 33, *sizes) + name + extra
    fixed = struct.pack("<6H3I5H2I", 45, 45, 0, 8, 0, 33, *sizes, 0, 0, 0, 0, 0)
    entry = b"PK\x01\x02" + fixed + name + extra
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, len(entry), len(head) + len(packed), 0)
    return head + bytes(packed) + entry + end


def many_entries(count: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"{number}.txt"), b"")
    return target.getvalue()


@pytest.mark.parametrize(
    ("make", "status", "kind"),
    [
        (lambda: bomb(10 * MIB), 413, "unpacks-too-far"),
        (lambda: many_entries(100_000), 400, "bad-archive"),
    ],
    ids=["bomb", "entries"],
)
def test_what_would_fill_the_machine_is_refused_soon(own: Server, make: object, status: int, kind: str) -> None:
    content, name = make(), fresh("hostile")  # type: ignore[operator]  # a function of the table above
    with Watch(own) as watch:
        answer = send(own, content, name)
    problem(answer, status, kind)
    took = f"{watch.work_seconds:.2f} s of work in {watch.seconds:.2f} s"
    print(
        f"{len(content)} bytes: {took}, {watch.memory_bytes // MIB} MiB of memory, {watch.disk_bytes // MIB} MiB on disk"
    )
    assert watch.work_seconds < SECONDS
    assert watch.seconds < PATIENCE_SECONDS
    assert watch.memory_bytes < MEMORY_BYTES
    assert watch.disk_bytes < DISK_BYTES
    assert list((own.data_dir / "store" / "staging").iterdir()) == []
    with client_of(own, own.admin_token) as client:
        assert client.post("/packages", json=[{"name": name}]).json()["total"] == 0
