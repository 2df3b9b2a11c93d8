"""Answers kept in the database, for every server of a registry."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from weighhouse.app import App
from weighhouse.registry.evidence_cache import MAX_VALUE_BYTES, DatabaseCache
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
