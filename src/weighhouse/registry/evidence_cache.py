"""Answers of sources, kept in the database: every server and worker of this registry profits."""

import hashlib
import logging
from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.rules.errors import Away
from weighhouse.store.database import Database
from weighhouse.store.tables import CachedEvidence

PIECE_BYTES = 4 * 1024 * 1024
"""A row of more costs memory on every hop; larger answers take several."""

MAX_VALUE_BYTES = 64 * 1024 * 1024
"""Larger answers are fetched again."""

_TOUCH_AFTER_SECONDS = 3600

_log = logging.getLogger(__name__)


class DatabaseCache:
    """The `Cache` of a registry. A database that is away costs a fetch, not the answer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, key: str) -> tuple[str | None, bytes] | None:
        """The validator and value last put under `key`."""
        stale = CachedEvidence.used_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, _TOUCH_AFTER_SECONDS)
        query = select(CachedEvidence.key, CachedEvidence.validator, CachedEvidence.value, stale)
        try:
            with self._db.read() as tx:
                row = tx.execute(query.where(CachedEvidence.key.in_([key, _contents_key(key)]))).first()
                if row is None:
                    return None
                pieces = [] if row[0] == key else _piece_keys(key, bytes(row[2]))
                value = _joined(tx, pieces) if pieces else bytes(row[2])
            if row[3] and value is not None:
                # Not at every use: sweeping needs to know the hour only.
                with self._db.write() as tx:
                    used = update(CachedEvidence).where(CachedEvidence.key.in_([row[0], *pieces]))
                    tx.execute(used.values(used_at=func.now()))
        except Away as away:
            _log.warning("the evidence cache was not read: %s", away)
            return None
        return None if value is None else (row[1], value)

    def put(self, key: str, validator: str | None, value: bytes) -> None:
        """Keeps a value in place of the one before; one that is too large is not kept."""
        if len(value) > MAX_VALUE_BYTES:
            return
        pieces = [value[at : at + PIECE_BYTES] for at in range(0, len(value), PIECE_BYTES)]
        try:
            with self._db.write() as tx:
                if len(pieces) <= 1:
                    _keep(tx, key, validator, value)
                    tx.execute(delete(CachedEvidence).where(CachedEvidence.key == _contents_key(key)))
                    return
                contents = f"{len(pieces)} {hashlib.sha256(value).hexdigest()}".encode()
                for name, piece in zip(_piece_keys(key, contents), pieces, strict=True):
                    _keep(tx, name, None, piece)
                _keep(tx, _contents_key(key), validator, contents)
                tx.execute(delete(CachedEvidence).where(CachedEvidence.key == key))
        except Away as away:
            _log.warning("the evidence cache was not written: %s", away)


def _keep(tx: Session, key: str, validator: str | None, value: bytes) -> None:
    statement = insert(CachedEvidence).values(key=key, validator=validator, value=value)
    changed = {"validator": validator, "value": value, "used_at": func.now()}
    tx.execute(statement.on_conflict_do_update(index_elements=[CachedEvidence.key], set_=changed))


def _contents_key(key: str) -> str:
    # No key of a source has a line break in it.
    return f"{key}\npieces"


def _piece_keys(key: str, contents: bytes) -> Sequence[str]:
    """Where the pieces are. Their names hold the digest of the whole, so that pieces of two values never mix."""
    count, _, digest = contents.decode().partition(" ")
    return [f"{key}\n{digest}\n{number}" for number in range(int(count))]


def _joined(tx: Session, keys: Sequence[str]) -> bytes | None:
    """The whole of these pieces; `None` when one was swept."""
    query = select(CachedEvidence.key, CachedEvidence.value).where(CachedEvidence.key.in_(keys))
    found = {key: bytes(value) for key, value in tx.execute(query)}
    return b"".join(found[key] for key in keys) if len(found) == len(keys) else None
