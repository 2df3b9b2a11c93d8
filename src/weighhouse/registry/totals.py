"""Totals of searches by name: counted once, remembered, and brought up to date by what changed since.

To count a common part of a name is to look at a hundred thousand names. What changed since is a handful of rows, so that
the next page of a search, or the same search by somebody else, costs the same however large the registry is.
"""

import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Integer, Select, Text, bindparam, cast, func, select, text

from weighhouse.store.database import Database
from weighhouse.store.tables import ListedName, ListingChange

KEPT_CHANGES = timedelta(days=1)
"""How long a change is kept: far longer than a total is remembered and a transaction lasts."""

# After this a total is counted anew, however often it was asked for: a database that was put back to an earlier moment
# under a running server has forgotten changes that were added here.
_REMEMBERED_SECONDS = 600
_MAX_REMEMBERED = 10_000

SNAPSHOT = select(cast(func.pg_current_snapshot(), Text)).scalar_subquery().label("snapshot")
"""Which transactions a statement sees."""

# What those who remember have not seen. A transaction that was open at their snapshot may be older than others that they
# saw: only the snapshot itself can tell. Rows out of a backup bear the numbers of another cluster's transactions; none
# of them was written by that transaction or by a part of it, which has a later number.
_UNSEEN = text(
    "listing_changes.transaction >= CAST(CAST(pg_snapshot_xmin(CAST(:snapshot AS pg_snapshot)) AS text) AS bigint) "
    "AND NOT pg_visible_in_snapshot("
    "CAST(CAST(listing_changes.transaction AS text) AS xid8), CAST(:snapshot AS pg_snapshot)) "
    "AND CAST(CAST(listing_changes.xmin AS text) AS bigint) >= listing_changes.transaction & 4294967295"
)


@dataclass(frozen=True)
class Counted:
    """A total, true for those who see the transactions of its snapshot."""

    total: int
    snapshot: str
    counted_at: float
    """When the names were looked at, by the process's monotonic clock."""

    @property
    def values(self) -> dict[str, Any]:
        """What `versions_now` is asked with."""
        return {"remembered": self.total, "snapshot": self.snapshot}


class Totals:
    """The totals that a process remembers of one database, by the pattern that the names match."""

    def __init__(self) -> None:
        self._counted: dict[str, Counted] = {}
        self._lock = threading.Lock()

    def find(self, pattern: str) -> Counted | None:
        """What is remembered of a pattern."""
        with self._lock:
            counted = self._counted.get(pattern)
            if counted is not None and counted.counted_at < time.monotonic() - _REMEMBERED_SECONDS:
                del self._counted[pattern]
                return None
            return counted

    def keep(self, pattern: str, total: int, snapshot: str, before: Counted | None) -> None:
        """Remembers a total as of a snapshot; `before` is the one that it was made from."""
        counted_at = time.monotonic() if before is None else before.counted_at
        with self._lock:
            self._counted.pop(pattern, None)
            if len(self._counted) >= _MAX_REMEMBERED:
                del self._counted[next(iter(self._counted))]  # The one that was not asked for for the longest time.
            self._counted[pattern] = Counted(total, snapshot, counted_at)


_remembered: WeakKeyDictionary[Database, Totals] = WeakKeyDictionary()


def totals_of(database: Database) -> Totals:
    """What this process remembers of a database."""
    return _remembered.setdefault(database, Totals())


def versions_of(matches: ColumnElement[bool]) -> Select[Any]:
    """How many versions stand in search under the names that match, without a look at the versions themselves.

    Args:
        matches: A condition on `ListedName`.
    """
    return select(func.coalesce(func.sum(ListedName.versions), 0)).where(matches)


def versions_now(matches: ColumnElement[bool]) -> Select[Any]:
    """The same from a total that is remembered: the statement runs with its `values`.

    Args:
        matches: A condition on `ListingChange`.
    """
    changed = func.coalesce(func.sum(ListingChange.versions), 0)
    return select(bindparam("remembered", type_=Integer()) + changed).where(matches, _UNSEEN)
