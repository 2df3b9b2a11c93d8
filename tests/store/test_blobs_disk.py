import errno
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from weighhouse.rules.errors import Away
from weighhouse.store import blobs_disk, blobs_disk_staging
from weighhouse.store.blobs import BlobDamaged, StoreAway, blob_key
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.blobs_disk_staging import sync

MIB = 1024 * 1024
SOON = timedelta(hours=1)


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[DiskBlobs]:
    with DiskBlobs(tmp_path / "store") as store:
        yield store


def keep(blobs: DiskBlobs, content: bytes) -> str:
    with blobs.stage() as staging:
        staging.write(content)
        staged = staging.finish()
    blobs.adopt(staged)
    blobs.discard(staged)
    return staged.sha256


def path_of(tmp_path: Path, digest: str) -> Path:
    return tmp_path / "store" / blob_key(digest)


def staged_files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "store" / "staging").iterdir())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size`, as on a disk without space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_only_the_owner_reads_what_is_kept(blobs: DiskBlobs, tmp_path: Path) -> None:
    digest = keep(blobs, b"content")
    path = path_of(tmp_path, digest)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (
        path.parent,
        path.parent.parent,
        path.parent.parent.parent,
        tmp_path / "store",
        tmp_path / "store/staging",
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_blob_is_an_open_file_for_the_system(blobs: DiskBlobs) -> None:
    with blobs.open(keep(blobs, b"content")) as file:
        assert os.pread(file.fileno(), 100, 3) == b"tent"


def test_a_write_that_finds_no_space_leaves_nothing(blobs: DiskBlobs, tmp_path: Path) -> None:
    with file_size_limit(MIB), pytest.raises(StoreAway, match="operator"):
        keep(blobs, os.urandom(5 * MIB))
    assert staged_files(tmp_path) == []
    keep(blobs, os.urandom(2 * MIB))
    assert staged_files(tmp_path) == []


def test_a_full_disk_is_unhealthy_until_there_is_space(blobs: DiskBlobs, tmp_path: Path) -> None:
    with file_size_limit(0), pytest.raises(Away):
        blobs.check()
    assert staged_files(tmp_path) == []
    blobs.check()


def test_a_flush_that_fails_is_never_tried_again(
    blobs: DiskBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No test may break a disk, so the flush itself is replaced.
    calls = []

    def broken(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "input/output error")

    with blobs.stage() as staging:
        staging.write(b"content")
        with monkeypatch.context() as patch:
            patch.setattr(blobs_disk, "sync", broken)
            staged = staging.finish()
            with pytest.raises(StoreAway, match="EIO"):
                blobs.settle(staged)
    with pytest.raises(StoreAway, match="EIO"):
        blobs.adopt(staged)
    assert len(calls) == 1
    assert staged_files(tmp_path) == []
    assert not blobs.exists(staged.sha256)


def test_a_flush_that_fails_while_the_file_grows_fails_the_file(
    blobs: DiskBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(blobs_disk_staging, "sync", broken)
    with pytest.raises(StoreAway, match="EIO"):
        keep(blobs, bytes(40 * MIB))
    assert staged_files(tmp_path) == []


def test_content_that_is_kept_already_is_not_flushed_unless_it_goes(
    blobs: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(blobs, b"content")
    calls: list[int] = []

    def counted(fd: int) -> None:
        calls.append(fd)
        sync(fd)

    monkeypatch.setattr(blobs_disk, "sync", counted)
    with blobs.stage() as staging:
        staging.write(b"content")
        staged = staging.finish()
    blobs.settle(staged)
    assert calls == []
    blobs.delete(staged.sha256)
    blobs.adopt(staged)
    assert len(calls) == 1
    assert b"".join(blobs.read(staged.sha256)) == b"content"


def test_a_damaged_blob_is_told_and_healed_by_the_next_upload(blobs: DiskBlobs, tmp_path: Path) -> None:
    digest = keep(blobs, b"content")
    reading = blobs.read(digest)
    path_of(tmp_path, digest).write_bytes(b"con")
    with pytest.raises(BlobDamaged):
        list(reading)
    assert keep(blobs, b"content") == digest
    assert b"".join(blobs.read(digest)) == b"content"


def test_files_that_are_no_blobs_are_left_alone(blobs: DiskBlobs, tmp_path: Path) -> None:
    digest = keep(blobs, b"content")
    (path_of(tmp_path, digest).parent / "notes.txt").write_text("mine")
    assert [name for name, _ in blobs.list(datetime.now(UTC) + SOON)] == [digest]


def test_adopting_an_old_blob_saves_it_from_the_sweep(blobs: DiskBlobs, tmp_path: Path) -> None:
    digest = keep(blobs, b"content")
    os.utime(path_of(tmp_path, digest), (1, 1))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert list(blobs.list(yesterday)) == [(digest, 7)]
    keep(blobs, b"content")
    assert list(blobs.list(yesterday)) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreAway, match="ENOTDIR"):
        DiskBlobs(tmp_path / "file" / "store")


def test_no_message_tells_a_path(blobs: DiskBlobs, tmp_path: Path) -> None:
    (tmp_path / "store" / "staging").rmdir()
    with pytest.raises(StoreAway) as caught:
        blobs.check()
    assert str(tmp_path) not in caught.value.detail


CHILD = """
import os, sys
from pathlib import Path
from weighhouse.store.blobs_disk import DiskBlobs
with DiskBlobs(Path(sys.argv[1])) as blobs:
    print("ready", flush=True)
    while True:
        staged = []
        for size in (10, 5_000, 300_000, 0):
            with blobs.stage() as staging:
                for _ in range(3):
                    staging.write(os.urandom(size))
                staged.append(staging.finish())
        blobs.adopt(*staged)
        print(*(item.sha256 for item in staged), flush=True)
        blobs.discard(*staged)
"""


def killed_at_random(root: Path, rounds: int, seed: int) -> set[str]:
    """Digests whose keeping was acknowledged by a child before it was killed."""
    moments, acknowledged = random.Random(seed), set[str]()
    command, env = [sys.executable, "-c", CHILD, str(root)], {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(rounds):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0, 0.15))
            child.send_signal(signal.SIGKILL)
            lines = child.stdout.read()
        # A line without its end was not acknowledged.
        acknowledged |= {digest for line in lines.split("\n")[:-1] for digest in line.split()}
    return acknowledged


def assert_old_or_new(root: Path, acknowledged: set[str]) -> None:
    found = [path for path in (root / "blobs").rglob("*") if path.is_file()]
    for path in found:
        digest = sha256(path.read_bytes()).hexdigest()
        assert path.relative_to(root).as_posix() == blob_key(digest)
    assert acknowledged <= {path.name for path in found}
    with DiskBlobs(root) as blobs:
        blobs.sweep_staging(datetime.now(UTC) + SOON)
        assert list((root / "staging").iterdir()) == []
        assert {name for name, _ in blobs.list(datetime.now(UTC) + SOON)} == {path.name for path in found}


def test_a_process_killed_at_any_moment_leaves_whole_blobs_only(tmp_path: Path) -> None:
    acknowledged = killed_at_random(tmp_path / "store", 8, seed=8)
    assert acknowledged
    assert_old_or_new(tmp_path / "store", acknowledged)


@pytest.mark.long
def test_a_process_killed_at_many_moments_leaves_whole_blobs_only(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    assert_old_or_new(tmp_path / "store", killed_at_random(tmp_path / "store", 150, seed))
