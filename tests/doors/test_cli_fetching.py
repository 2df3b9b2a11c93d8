"""A download goes on where it stopped, with bytes of the same file only."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doors.range_server import RangeServer, serving
from weighhouse.doors.cli.client import Refused
from weighhouse.doors.cli.fetching import PartFile, fetch

_DATA = os.urandom(300_000)


@pytest.fixture
def store() -> Iterator[RangeServer]:
    with serving(_DATA) as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.zip.part"


def _run(store: RangeServer, path: Path, identity: str = "id", renew: Callable[[], str] | None = None) -> bytes:
    part = PartFile(path, identity)
    with part.held():
        fetch(renew or (lambda: store.url + "/p"), part, "p", patience=2, pause=0.0)
        return path.read_bytes()


def _ranges(store: RangeServer) -> list[str]:
    return [headers.get("Range", "") for _, _, headers in store.asked]


def test_a_broken_download_goes_on_in_the_same_run(store: RangeServer, path: Path) -> None:
    store.faults = ["cut", "cut", "ok"]
    assert _run(store, path) == _DATA
    assert _ranges(store) == ["", "bytes=150000-", "bytes=225000-"]


def test_a_later_run_goes_on_with_the_same_file(store: RangeServer, path: Path) -> None:
    store.faults = ["cut", *[500] * 3]
    with pytest.raises(Refused, match=r"146\.5 KiB of 293\.0 KiB are kept .* run the same command again"):
        _run(store, path)
    assert _run(store, path) == _DATA
    assert store.asked[-1][2]["Range"] == "bytes=150000-"
    assert store.asked[-1][2]["If-Range"] == '"one"'


def test_a_finished_part_is_not_asked_for_again(store: RangeServer, path: Path) -> None:
    _run(store, path)
    _run(store, path)
    assert len(store.asked) == 1


def test_bytes_of_a_changed_file_are_not_joined(store: RangeServer, path: Path) -> None:
    store.faults = ["cut", *[500] * 3]
    with pytest.raises(Refused):
        _run(store, path)
    store.data, store.etag = os.urandom(1000), '"two"'
    assert _run(store, path) == store.data


def test_bytes_of_another_download_are_not_joined(store: RangeServer, path: Path) -> None:
    store.faults = ["cut", *[500] * 3]
    with pytest.raises(Refused):
        _run(store, path)
    assert _run(store, path, "another") == _DATA
    assert _ranges(store)[-1] == ""


def test_a_wrong_range_is_not_joined(store: RangeServer, path: Path) -> None:
    store.faults = ["cut", "shift", "ok"]
    assert _run(store, path) == _DATA
    assert _ranges(store) == ["", "bytes=150000-", ""]


def test_without_a_strong_validator_it_starts_over(store: RangeServer, path: Path) -> None:
    store.etag = 'W/"weak"'
    store.faults = ["cut", "ok"]
    assert _run(store, path) == _DATA
    assert _ranges(store) == ["", ""]


def test_an_expired_address_is_renewed(store: RangeServer, path: Path) -> None:
    store.faults = ["cut", 403, "ok"]
    addresses = iter([store.url + "/first", store.url + "/second"])
    assert _run(store, path, renew=lambda: next(addresses)) == _DATA
    assert [asked for _, asked, _ in store.asked] == ["/first", "/first", "/second"]


def test_an_address_that_is_always_expired_ends(store: RangeServer, path: Path) -> None:
    store.faults = [403] * 9
    with pytest.raises(Refused, match="expires at once"):
        _run(store, path)
    assert len(store.asked) == 3


def test_a_missing_file_is_told_and_nothing_is_left(store: RangeServer, path: Path) -> None:
    store.faults = [404]
    store.body = b'{"detail": "The package was deleted."}'
    with pytest.raises(Refused, match=r"404 Not Found: The package was deleted\."):
        _run(store, path)
    assert list(path.parent.iterdir()) == []


def test_two_runs_do_not_write_one_file(store: RangeServer, path: Path) -> None:
    with PartFile(path, "id").held(), pytest.raises(Refused, match="Another download is writing"):
        _run(store, path)


def test_an_empty_file_is_whole(store: RangeServer, path: Path) -> None:
    store.data = b""
    assert _run(store, path) == b""


_COMMAND = """
import sys
import time
from pathlib import Path
from weighhouse.doors.cli.asking import RemoteCommand
from weighhouse.doors.cli.fetching import PartFile, fetch

def run():
    part = PartFile(Path(sys.argv[2]), "id")
    with part.held():
        fetch(lambda: sys.argv[1], part, "p")

RemoteCommand("run", callback=run).main([])
"""


def test_ctrl_c_keeps_what_is_there_says_so_and_exits_130(store: RangeServer, path: Path) -> None:
    store.faults = ["stall"]
    child = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, store.url, str(path)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with child:
        assert store.stalled.wait(20)
        # The half is read as it comes: wait until it is in the file, then press.
        while not path.exists() or path.stat().st_size < len(_DATA) // 4:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        told = child.communicate(timeout=20)[1]
    store.released.set()
    assert child.returncode == 130
    assert "are kept in" in told
    assert "run the same command again" in told
    kept = path.read_bytes()
    assert kept
    assert _DATA.startswith(kept)
    assert _run(store, path) == _DATA
    assert store.asked[-1][2]["Range"] == f"bytes={len(kept)}-"
