"""Answers kept in a folder."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighhouse.sources.cache import FolderCache, NoCache


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


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: b"", lambda content: b"\0" * 40, lambda content: b"{}\n" + content],
)
def test_a_damaged_file_holds_nothing(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cache = FolderCache(tmp_path)
    cache.put("key", "etag", b"value")
    (path,) = (file for file in tmp_path.rglob("*") if file.is_file())
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


def test_no_cache_keeps_nothing() -> None:
    NoCache().put("key", None, b"value")
    assert NoCache().get("key") is None
