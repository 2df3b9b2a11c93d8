"""The audit trail read: verified, exported, and per package for those who may see it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row as Found
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.sealing import CONTENT, content_of, head_of
from weighhouse.rules.trail import BEGINNING, Link, Noted, next_link
from weighhouse.store.tables import AuditEntry, AuditPending, AuditSeal

_PAGE = 2000

# In one statement each, so that a sealer at work is seen before or after, never in between.
_STRAY = """
SELECT id FROM audit_log e
WHERE NOT EXISTS (SELECT FROM audit_seals s WHERE s.entry_id = e.id)
  AND NOT EXISTS (SELECT FROM audit_pending p WHERE p.entry_id = e.id)
LIMIT 1
"""
_LOST = """
SELECT entry_id FROM audit_pending p WHERE NOT EXISTS (SELECT FROM audit_log e WHERE e.id = p.entry_id) LIMIT 1
"""


@dataclass(frozen=True)
class TrailState:
    """How far the chain is, and what is not in it yet."""

    head: Link
    waiting: int
    waiting_since: datetime | None
    """When the oldest entry that waits was added, UTC."""


@dataclass(frozen=True)
class Broken:
    """The first place where the trail is not what it was.

    Args:
        seq: Its number in the chain; `None` for an entry that never came into it.
        entry: What is known of the entry there.
    """

    seq: int | None
    entry: str
    detail: str

    def __str__(self) -> str:
        return f"{f'entry {self.seq}' if self.seq is not None else 'an entry'} ({self.entry}): {self.detail}"


@dataclass
class Verified:
    """What was looked at, and the first thing that was wrong with it."""

    state: TrailState
    entries: int = 0
    head: Link = field(default=BEGINNING)
    """The last link that was found right."""
    broken: Broken | None = None


def trail_state(tx: Session) -> TrailState:
    """How far the chain is. One statement would see more, at the cost of reading all that waits."""
    head = head_of(tx)
    waits = select(func.count(), func.min(AuditEntry.acted_at)).select_from(AuditPending)
    waiting, since = tx.execute(waits.outerjoin(AuditEntry, AuditEntry.id == AuditPending.entry_id)).one()
    return TrailState(head, waiting, since)


def verify_trail(
    app: App,
    *,
    start: Noted | None = None,
    noted: Noted | None = None,
    moved: Callable[[int], None] = lambda entries: None,
) -> Verified:
    """Whether every entry is what was sealed, in its place, up to the head that the chain has now. In flat memory.

    Args:
        start: A head noted earlier, which is compared; what it covers was verified then, and is not read again.
        noted: A head noted earlier, which the chain still has to go through.
        moved: Told how many more entries were looked at.

    Raises:
        Away: The database does not answer.
    """
    with app.db.read(snapshot=True) as tx:
        state = trail_state(tx)
    found = Verified(state)
    found.broken = (
        _compare(app, state.head, start)
        or _follow(app, found, start.seq if start is not None else 0, moved)
        or _compare(app, state.head, noted)
        or _outside(app)
    )
    return found


def _compare(app: App, head: Link, noted: Noted | None) -> Broken | None:
    """What speaks against a noted head, if anything does."""
    if noted is None:
        return None
    if noted.seq > head.seq:
        return Broken(noted.seq, "the noted head", f"it is gone: the chain ends with entry {head.seq}")
    with app.db.read() as tx:
        sha256 = tx.scalar(select(AuditSeal.sha256).where(AuditSeal.seq == noted.seq))
    if sha256 != noted.sha256:
        has = f"its hash is {sha256.hex()}" if sha256 is not None else "it is gone"
        return Broken(noted.seq, "the noted head", f"{has}, and was {noted.sha256.hex()} when it was noted")
    return None


def _follow(app: App, found: Verified, after: int, moved: Callable[[int], None]) -> Broken | None:
    """Goes along the chain from one link to the next; returns what is wrong with the first that does not hold."""
    place = select(AuditSeal.seq, AuditSeal.chain, AuditSeal.sha256).where(AuditSeal.seq == after)
    with app.db.read() as tx:
        known = tx.execute(place).one_or_none()
    found.head = Link(*known) if known is not None else BEGINNING
    last = found.state.head.seq
    while found.head.seq < last:
        with app.db.read() as tx:
            page = tx.execute(_sealed(found.head.seq, last).order_by(AuditSeal.seq)).all()
        if not page:
            return _taken_out(found.head.seq + 1)
        for row in page:
            broken = _look(found, row)
            if broken is not None:
                return broken
        moved(len(page))
    return None


def _look(found: Verified, row: Found[Any]) -> Broken | None:
    """What is wrong with the link that should follow; if nothing is, it is the head from now on."""
    if row.seq != found.head.seq + 1:
        return _taken_out(found.head.seq + 1)
    if row.id is None:
        return Broken(row.seq, f"id {row.entry_id}", "it was removed")
    link, _ = next_link(found.head, content_of(row))
    if (link.chain, link.sha256) != (row.chain, row.sha256):
        entry = f"{row.acted_at:%Y-%m-%d %H:%M:%S}, {row.actor}: {row.action}, {row.subject}"
        return Broken(row.seq, entry, "it is not what was sealed, or its seal was changed")
    found.head = link
    found.entries += 1
    return None


def _taken_out(seq: int) -> Broken:
    return Broken(seq, "not known any more", "it was taken out of the chain")


def _outside(app: App) -> Broken | None:
    """An entry that came in or went without the chain knowing of it."""
    with app.db.alone() as connection:
        stray = connection.execute(_STRAY).fetchone()
        lost = connection.execute(_LOST).fetchone() if stray is None else None
    if stray is not None:
        return Broken(None, f"id {stray[0]}", "it is neither sealed nor waits to be: it was put in by hand")
    if lost is not None:
        return Broken(None, f"id {lost[0]}", "it was removed before it was sealed")
    return None


def _sealed(after: int, last: int) -> Select[Any]:
    """A page of links with their entries. By a range of numbers, so that a filter cannot make a page cost more."""
    columns = (*CONTENT, AuditSeal.seq, AuditSeal.chain, AuditSeal.sha256, AuditSeal.entry_id)
    return (
        select(*columns)
        .select_from(AuditSeal)
        .outerjoin(AuditEntry, AuditEntry.id == AuditSeal.entry_id)
        .where(AuditSeal.seq > after, AuditSeal.seq <= min(after + _PAGE, last))
    )
