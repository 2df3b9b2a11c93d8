"""Answers kept in the database, for every server of a registry."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select, update

from weighhouse.app import App
from weighhouse.registry.evidence_cache import MAX_VALUE_BYTES, PIECE_BYTES, DatabaseCache
from weighhouse.store.database import Database
from weighhouse.store.tables import CachedEvidence


def test_what_is_put_is_got_and_replaced(registry: App) -> None:
    cache = DatabaseCache(registry.db)
    assert cache.get("key") is None
    cache.put("key", '"etag"', b"\0value")
    assert DatabaseCache(registry.db).get("key") == ('"etag"', b"\0value")
    cache.put("key", None, b"")
    assert cache.get("key") == (None, b"")


def test_what_is_too_large_is_not_kept(registry: App) -> None:
    cache = DatabaseCache(registry.db)
    cache.put("key", None, b"x" * (MAX_VALUE_BYTES + 1))
    assert cache.get("key") is None


def test_a_large_value_takes_several_rows_and_comes_back_whole(registry: App) -> None:
    cache = DatabaseCache(registry.db)
    large = bytes(range(256)) * (PIECE_BYTES // 100)
    cache.put("key", '"etag"', b"small")
    cache.put("key", '"other"', large)
    assert cache.get("key") == ('"other"', large)
    with registry.db.read() as tx:
        sizes = tx.scalars(select(func.octet_length(CachedEvidence.value))).all()
    assert sorted(sizes)[1:] == [len(large) - 2 * PIECE_BYTES, PIECE_BYTES, PIECE_BYTES]
    cache.put("key", None, b"small again")
    assert cache.get("key") == (None, b"small again")


def test_a_large_value_of_which_a_part_was_swept_is_not_there(registry: App) -> None:
    cache = DatabaseCache(registry.db)
    cache.put("key", None, bytes(PIECE_BYTES + 1))
    with registry.db.write() as tx:
        tx.execute(delete(CachedEvidence).where(func.octet_length(CachedEvidence.value) == 1))
    assert cache.get("key") is None
    cache.put("key", None, bytes(PIECE_BYTES + 1))
    assert cache.get("key") == (None, bytes(PIECE_BYTES + 1))


def test_every_part_of_a_large_value_is_used_with_it(registry: App) -> None:
    cache = DatabaseCache(registry.db)
    cache.put("key", None, bytes(PIECE_BYTES + 1))
    old = datetime.now(UTC) - timedelta(days=3)
    with registry.db.write() as tx:
        tx.execute(update(CachedEvidence).values(used_at=old))
    cache.get("key")
    with registry.db.read() as tx:
        assert all(at > old for at in tx.scalars(select(CachedEvidence.used_at)))


def test_a_use_is_taken_down_by_the_hour(registry: App) -> None:
    cache = DatabaseCache(registry.db)
    cache.put("key", None, b"value")
    old = datetime.now(UTC) - timedelta(days=3)
    with registry.db.write() as tx:
        tx.execute(update(CachedEvidence).values(used_at=old))
    cache.get("key")
    with registry.db.read() as tx:
        used_at = tx.scalar(select(CachedEvidence.used_at))
    assert used_at is not None
    assert datetime.now(UTC) - used_at < timedelta(minutes=5)


def test_a_database_that_is_away_holds_nothing_and_raises_nothing() -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    cache = DatabaseCache(away)
    cache.put("key", None, b"value")
    assert cache.get("key") is None
    away.close()
