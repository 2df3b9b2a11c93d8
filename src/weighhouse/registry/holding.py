"""While a backup is made no blob goes: sweeps stand back, on every machine of the registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from weighhouse.rules.errors import Conflict

# The number is arbitrary; it only has to be this program's own.
_LOCK = 7235920
_MAY_SWEEP = text("SELECT pg_try_advisory_xact_lock_shared(:lock)").bindparams(lock=_LOCK)


class BackupUnderWay(Conflict):
    """One backup of a registry is made at a time."""

    def __init__(self) -> None:
        super().__init__("Another backup of this registry is being made. Wait until it has ended.")


@contextmanager
def blobs_held(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """No blob is removed within the block; returns when the sweeps that were under way have ended.

    The lock goes with the connection, so that nothing is held by a backup that was killed.

    Args:
        connection: In autocommit. What it reads later sees all that sweeps did before: the lock comes before the snapshot.

    Raises:
        BackupUnderWay: Another backup holds them.
    """
    connection.execute("SELECT set_config('lock_timeout', '30s', false)")
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    except psycopg.errors.LockNotAvailable:
        raise BackupUnderWay from None
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def may_sweep(tx: Session) -> bool:
    """Whether blobs may be removed until this transaction ends; false while a backup is made or about to begin."""
    return bool(tx.scalar(_MAY_SWEEP))
