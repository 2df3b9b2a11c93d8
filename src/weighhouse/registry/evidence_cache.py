"""Answers of sources, kept in the database: every server and worker of this registry profits."""

import logging

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from weighhouse.rules.errors import Away
from weighhouse.store.database import Database
from weighhouse.store.tables import CachedEvidence

MAX_VALUE_BYTES = 4 * 1024 * 1024
"""Larger answers are fetched again: a row of that size costs more than the fetch."""

_TOUCH_AFTER_SECONDS = 3600

_log = logging.getLogger(__name__)


class DatabaseCache:
    """The `Cache` of a registry. A database that is away costs a fetch, not the answer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, key: str) -> tuple[str | None, bytes] | None:
        """The validator and value last put under `key`."""
        stale = CachedEvidence.used_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, _TOUCH_AFTER_SECONDS)
        try:
            with self._db.read() as tx:
                row = tx.execute(
                    select(CachedEvidence.validator, CachedEvidence.value, stale).where(CachedEvidence.key == key)
                ).one_or_none()
            if row is not None and row[2]:
                # Not at every use: sweeping needs to know the hour only.
                with self._db.write() as tx:
                    tx.execute(update(CachedEvidence).where(CachedEvidence.key == key).values(used_at=func.now()))
        except Away as away:
            _log.warning("the evidence cache was not read: %s", away)
            return None
        return (row[0], bytes(row[1])) if row else None

    def put(self, key: str, validator: str | None, value: bytes) -> None:
        """Keeps a value in place of the one before; one that is too large is not kept."""
        if len(value) > MAX_VALUE_BYTES:
            return
        row = {"key": key, "validator": validator, "value": value}
        statement = insert(CachedEvidence).values(row)
        changed = {"validator": validator, "value": value, "used_at": func.now()}
        try:
            with self._db.write() as tx:
                tx.execute(statement.on_conflict_do_update(index_elements=[CachedEvidence.key], set_=changed))
        except Away as away:
            _log.warning("the evidence cache was not written: %s", away)
