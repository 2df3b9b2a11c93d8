"""The audit trail read: verified, exported, and per package for those who may see it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy import Row as Found
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.paging import Page, page_of
from weighhouse.registry.sealing import CONTENT, content_of, head_of
from weighhouse.registry.visible import find_package
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.rules.trail import BEGINNING, DONE, Link, Noted, canonical, next_link
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


@dataclass(frozen=True)
class Wanted:
    """Which entries are asked for; `None` asks for all.

    Args:
        start: The earliest instant; without a zone it is UTC.
        end: The latest instant.
        package: An id, NAME or NAME@VERSION; letter case does not count.
        user: An id or a name: what they did and, by name, what was done to their account.
    """

    start: datetime | None = None
    end: datetime | None = None
    package: str | None = None
    user: str | None = None


def export_trail(app: App, wanted: Wanted) -> Iterator[bytes]:
    """The trail in the order of the chain, as JSON lines, many at a time; last come entries that wait to be sealed.

    A line is the form that its hash covers, with the hash itself as `sha256`. Of an entry that waits `seq`, `chain` and
    `sha256` are null; at most 2,000 of these are told. No transaction is open while lines are taken.

    Raises:
        Away: The database does not answer.
    """
    where = _where(wanted)
    after, is_over = 0, False
    while not is_over:
        with app.db.read(snapshot=True) as tx:
            last = head_of(tx).seq
            is_over = after >= last
            rows = tx.execute(
                _waiting(where) if is_over else _sealed(after, last).where(*where).order_by(AuditSeal.seq)
            )
            lines = [_line(row) for row in rows if row.id is not None]
        after += _PAGE
        if lines:
            yield b"".join(lines)


def list_trail(
    tx: Session,
    caller: Caller,
    package_id: UUID,
    *,
    wanted: Wanted,
    action: str | None = None,
    outcome: str | None = None,
    cursor: UUID | None = None,
    limit: int = 50,
) -> Page[Mapping[str, Any]]:
    """What was done to a package, newest first. `seq` is null while an entry waits to be sealed.

    Who is neither its uploader nor an admin sees what was done, but no downloads, refusals and addresses.

    Args:
        cursor: Id of the last entry seen.

    Raises:
        PermissionMissing: The caller may not search.
        PackageNotFound: There is no such package.
    """
    caller.require(Permission.SEARCH)
    package = find_package(tx, caller, package_id)
    sees_all = caller.is_admin or package.uploader_id == caller.user_id
    query = (
        select(*CONTENT, AuditSeal.seq)
        .outerjoin(AuditSeal, AuditSeal.entry_id == AuditEntry.id)
        .where(AuditEntry.package_id == package_id, *_where(wanted))
    )
    if not sees_all:
        query = query.where(AuditEntry.outcome == DONE, AuditEntry.action != "download package")
    if action is not None:
        query = query.where(AuditEntry.action == action)
    if outcome is not None:
        query = query.where(AuditEntry.outcome == outcome)
    if cursor is not None:
        query = query.where(AuditEntry.id < cursor)
    rows = tx.execute(query.order_by(AuditEntry.id.desc()).limit(limit + 1))
    hidden = {} if sees_all else {"address": None, "request_id": None}
    entries = [{**row._mapping, **hidden} for row in rows]
    return page_of(entries, limit, lambda entry: str(entry["id"]))


def _where(wanted: Wanted) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if wanted.start is not None:
        where.append(AuditEntry.acted_at >= _utc(wanted.start))
    if wanted.end is not None:
        where.append(AuditEntry.acted_at <= _utc(wanted.end))
    if wanted.package is not None:
        where.append(_is_of_package(wanted.package))
    if wanted.user is not None:
        user_id = _id(wanted.user)
        name = wanted.user.lower()
        is_theirs = or_(func.lower(AuditEntry.actor) == name, func.lower(AuditEntry.subject) == f"user {name}")
        where.append(AuditEntry.actor_id == user_id if user_id is not None else is_theirs)
    return where


def _is_of_package(package: str) -> ColumnElement[bool]:
    package_id = _id(package)
    if package_id is not None:
        return AuditEntry.package_id == package_id
    name, _, version = package.lower().partition("@")
    subject, exactly = func.lower(AuditEntry.subject), f"package {name} {version}".rstrip()
    if version:
        return subject == exactly
    return or_(subject == exactly, subject.startswith(f"{exactly} ", autoescape=True))


def _waiting(where: list[ColumnElement[bool]]) -> Select[Any]:
    waiting = select(*CONTENT).join(AuditPending, AuditPending.entry_id == AuditEntry.id)
    return waiting.where(*where).order_by(AuditEntry.id).limit(_PAGE)


def _line(row: Found[Any]) -> bytes:
    place = row._mapping
    sha256 = place.get("sha256")
    numbers = {"seq": place.get("seq"), "chain": place.get("chain"), "sha256": sha256.hex() if sha256 else None}
    return canonical({**content_of(row), **numbers}) + b"\n"


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _utc(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
