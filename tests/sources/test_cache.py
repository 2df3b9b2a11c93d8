"""Answers kept in a folder."""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighhouse.sources.cache import MAX_AGE_SECONDS, FolderCache, NoCache


@settings(max_examples=30)
@given(st.text(max_size=50), st.one_of(st.none(), st.text(max_size=50)), st.binary(max_size=200))
def test_what_is_put_is_got(key: str, validator: str | None, value: bytes) -> None:
    # A folder for each example: what one puts is another's that must not be there.
    with tempfile.TemporaryDirectory() as folder:
        cache = FolderCache(Path(folder) / "cache")
        cache.put(key, "older", b"older")
        cache.put(key, validator, value)
        assert cache.get(key) == (validator, value)
        assert cache.get(key + "x") is None


def answers(folder: Path) -> list[Path]:
    """The files of the answers that are kept."""
    return [file for file in folder.glob("*/*") if file.is_file()]


def age(path: Path, seconds: float) -> None:
    """Makes a file one that was last used so long ago."""
    at = time.time() - seconds
    os.utime(path, (at, at))


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: b"", lambda content: b"\0" * 40, lambda content: b"{}\n" + content],
)
def test_a_damaged_file_holds_nothing(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cache = FolderCache(tmp_path)
    cache.put("key", "etag", b"value")
    (path,) = answers(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("key") is None


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path / "cache")
    cache.put("key", None, b"private")
    for path in (tmp_path / "cache").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = FolderCache(tmp_path / "file" / "cache")
    cache.put("key", None, b"value")
    assert cache.get("key") is None


def test_readers_see_whole_answers_while_others_write(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    values = [bytes([number]) * 50_000 for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(cache.put, "key", None, value) for value in values * 10]
        seen = [cache.get("key") for _ in range(50)]
        for one in writing:
            one.result()
    assert all(one is None or one[1] in values for one in seen)


def test_what_was_not_used_for_the_longest_time_makes_room(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path, max_bytes=3500)
    for number in range(5):
        cache.put(f"key {number}", None, bytes(900))
        for path in answers(tmp_path):
            age(path, time.time() - path.stat().st_mtime + 7200)
    # A use counts like a write.
    assert cache.get("key 1") is not None
    cache.sweep()
    kept = [number for number in range(5) if cache.get(f"key {number}") is not None]
    assert kept == [1, 3, 4]


def test_what_nobody_used_for_long_goes_and_other_files_stay(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    cache.put("old", None, b"value")
    (old,) = answers(tmp_path)
    leftover = old.parent / "answer-abcd1234"
    leftover.write_bytes(b"half an answ")
    others = [tmp_path / "notes.txt", old.parent / "notes.txt", tmp_path / "photos" / "a.png"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    for path in (old, leftover, *others):
        age(path, MAX_AGE_SECONDS + 60)
    cache.put("new", None, b"value")
    cache.sweep()
    assert (cache.get("old"), cache.get("new")) == (None, (None, b"value"))
    assert not leftover.exists()
    assert all(path.read_text() == "mine" for path in others)


def test_the_first_answer_of_a_run_sweeps_unless_one_did_lately(tmp_path: Path) -> None:
    FolderCache(tmp_path).put("old", None, b"value")
    (old,) = answers(tmp_path)
    age(old, MAX_AGE_SECONDS + 60)
    FolderCache(tmp_path).put("soon after", None, b"value")
    assert old.exists()
    age(tmp_path / "swept", 7200)
    FolderCache(tmp_path).put("later", None, b"value")
    assert not old.exists()


def test_a_run_that_writes_very_much_sweeps_again(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path, max_bytes=10_000)
    for number in range(100):
        cache.put(str(number), None, bytes(1000))
        assert sum(path.stat().st_size for path in answers(tmp_path)) < 25_000


def test_readers_and_writers_are_not_disturbed_by_those_who_sweep(tmp_path: Path) -> None:
    def work(number: int) -> None:
        cache = FolderCache(tmp_path, max_bytes=20_000)
        for turn in range(40):
            key = str((number * 7 + turn) % 30)
            cache.put(key, None, key.encode() * 500)
            assert cache.get(key) in {None, (None, key.encode() * 500)}
            cache.sweep()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [None] * 4


def test_no_cache_keeps_nothing() -> None:
    NoCache().put("key", None, b"value")
    assert NoCache().get("key") is None
