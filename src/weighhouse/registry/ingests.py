"""Models that were asked for: a call asks, a worker fetches and weighs, and anybody who asked may look how far it is."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.housekeeping import KEPT_INGESTS, forget_unrecorded
from weighhouse.registry.ingest import Ingested, ModelRefused, Wanted, Watch, ingest_model, pin
from weighhouse.registry.paging import Page, page_of
from weighhouse.rules.errors import Away, Conflict, Denied, Invalid, NotFound, RegistryError
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.sources.hub_answers import HubFile
from weighhouse.store import jobs
from weighhouse.store.tables import Ingest, IngestFile, User

ENDED = frozenset({"admitted", "refused", "failed", "cancelled"})

_NOTE_SECONDS = 1.0

_WITHOUT_JOB = text(
    "SELECT id FROM ingests WHERE finished_at IS NULL AND NOT EXISTS (SELECT FROM procrastinate_jobs "
    "WHERE task_name = :task AND status IN ('todo', 'doing') AND args->>'ingest_id' = CAST(ingests.id AS text)) "
    "FOR UPDATE SKIP LOCKED"
)

_log = logging.getLogger(__name__)


class IngestNotFound(NotFound):
    """There is no such ingest."""

    def __init__(self, ingest_id: UUID) -> None:
        super().__init__(
            f"There is no ingest {ingest_id} of yours. What came of one is kept for {KEPT_INGESTS.days} days."
        )


class AskerGone(Denied):
    """Who asked for the model may not have it taken in any more."""

    def __init__(self) -> None:
        super().__init__("The account that asked for this model is gone. Ask for it again with another.")


class IngestFailed(Away):
    """The model could not be taken in."""

    def __init__(self) -> None:
        super().__init__("Taking the model in failed several times; the registry's log says why. Ask for it again.")


class IngestCancelled(Conflict):
    """The ingest was cancelled."""

    def __init__(self) -> None:
        super().__init__(
            "This ingest was cancelled, and nothing of it is kept. Ask for the model again if it is wanted."
        )


class IngestEnded(Conflict):
    """An ingest that has ended cannot be cancelled."""

    def __init__(self, state: str) -> None:
        super().__init__(f"This ingest has ended already: it is {state}. A package that came of it is deleted as such.")
        self.state = state


class IngestHalted(Exception):
    """The worker ends; another one goes on with what is kept."""


def ask_for_ingest(app: App, caller: Caller, wanted: Wanted, *, is_patient: bool = False) -> UUID:
    """Has a worker take a model in; returns the id under which its way can be looked at.

    Args:
        is_patient: Whether an outage of the hub is waited out, for a caller who does not wait themselves.

    Raises:
        As `ingest_model`, of what is known before a file is fetched.
    """
    pinned = pin(app, caller, wanted)
    with app.db.write() as tx:
        row = Ingest(asker_id=caller.user_id, wanted=asdict(pinned))
        tx.add(row)
        tx.flush()
        _enqueue(tx, row, is_patient=is_patient)
        record(tx, caller, "ask for ingest", f"model {row.wanted['model_url']}", ingest_id=str(row.id))
    return row.id


def find_ingest(tx: Session, caller: Caller, ingest_id: UUID, *, lock: bool = False) -> Ingest:
    """How far an ingest is. For who asked for it, and for admins.

    Raises:
        PermissionMissing: The caller may not upload.
        IngestNotFound: There is none, or it is another's; the two look alike.
    """
    caller.require(Permission.UPLOAD)
    row = tx.get(Ingest, ingest_id, with_for_update=lock)
    if row is None or not (caller.is_admin or row.asker_id == caller.user_id):
        raise IngestNotFound(ingest_id)
    return row


def list_ingests(tx: Session, caller: Caller, *, cursor: UUID | None = None, limit: int = 50) -> Page[Ingest]:
    """The caller's ingests, newest first; for admins everybody's.

    Args:
        cursor: Id of the last ingest seen.

    Raises:
        PermissionMissing: The caller may not upload.
    """
    caller.require(Permission.UPLOAD)
    query = select(Ingest).order_by(Ingest.id.desc()).limit(limit + 1)
    if not caller.is_admin:
        query = query.where(Ingest.asker_id == caller.user_id)
    if cursor is not None:
        query = query.where(Ingest.id < cursor)
    return page_of(tx.scalars(query).all(), limit, lambda row: str(row.id))


def cancel_ingest(tx: Session, caller: Caller, ingest_id: UUID) -> Ingest:
    """Ends an ingest that is under way. A worker stops at the next piece, or when it comes to it, and removes what was kept.

    Raises:
        PermissionMissing, IngestNotFound: As `find_ingest`.
        IngestEnded: There is nothing left to cancel.
    """
    row = find_ingest(tx, caller, ingest_id, lock=True)
    if row.state in ENDED:
        raise IngestEnded(row.state)
    _change(tx, ingest_id, state="cancelled", outcome=_recorded(IngestCancelled()), finished_at=func.now())
    record(tx, caller, "cancel ingest", f"model {row.wanted['model_url']}")
    tx.refresh(row)
    return row


def take_up_lost(app: App) -> int:
    """Gives a job to each ingest that lost its own, as to a worker of a release that knew none; returns how many."""
    with app.db.write() as tx:
        lost = tx.scalars(_WITHOUT_JOB, {"task": jobs.INGEST}).all()
        for row in tx.scalars(select(Ingest).where(Ingest.id.in_(lost))):
            _enqueue(tx, row, is_patient=True)
    return len(lost)


def run_ingest(
    app: App,
    ingest_id: UUID,
    *,
    is_patient: bool = False,
    is_last_try: bool = True,
    is_ending: Callable[[], bool] = lambda: False,
) -> None:
    """Takes a model in that was asked for, and records what came of it. One that has ended stays as it is.

    Args:
        is_patient: Whether an outage is waited out also while somebody waits for the answer.
        is_last_try: Whether an outage ends it; else the caller tries again later.
        is_ending: Whether the worker has been told to end.

    Raises:
        Away: The hub, the database or the store does not answer, and this was not the last try.
        IngestHalted: The worker ends. What is kept by now is not fetched again.
    """
    with app.db.read() as tx:
        row = tx.get(Ingest, ingest_id)
        asker = tx.get(User, row.asker_id) if row is not None and row.asker_id is not None else None
    if row is None or row.state in ENDED:
        _forget(app, ingest_id)
        return
    progress = _Progress(app, ingest_id, is_ending)
    try:
        if asker is None:
            raise AskerGone
        ingest_model(app, _caller(row, asker), Wanted(**row.wanted), watch=progress)
    except IngestCancelled:
        _forget(app, ingest_id, progress.sha256s)
    except IngestHalted:
        _note(app, ingest_id, state="waiting")
        raise
    except Away as away:
        # Who still waits for the answer is told at once.
        is_watched = datetime.now(UTC) - row.asked_at < timedelta(seconds=app.settings.evaluation_wait_seconds)
        if not is_last_try and (is_patient or not is_watched):
            _note(app, ingest_id, state="waiting")
            raise
        _fail(app, ingest_id, away)
    except RegistryError as error:
        _fail(app, ingest_id, error)


def fail_ingest(app: App, ingest_id: UUID) -> None:
    """Ends an ingest that a defect of ours stopped each time."""
    _fail(app, ingest_id, IngestFailed())


class _Progress(Watch):
    """Writes down how far an ingest is, at most once a second, and ends it when it is not wanted any more."""

    def __init__(self, app: App, ingest_id: UUID, is_ending: Callable[[], bool]) -> None:
        self._app = app
        self._ingest_id = ingest_id
        self._is_ending = is_ending
        self._guard = threading.Lock()
        self._bytes = 0
        self._files = 0
        self._noted_at = time.monotonic()
        self.sha256s: set[bytes] = set()
        """Of the files that this attempt keeps so far."""

    def before(self) -> Mapping[str, File]:
        """Those that an attempt before wrote down."""
        with self._app.db.read() as tx:
            rows = tx.scalars(select(IngestFile).where(IngestFile.ingest_id == self._ingest_id)).all()
        return {
            row.path: File(row.path, row.size_bytes, row.sha256.hex(), row.crc32, component_of(row.path))
            for row in rows
        }

    def found(self, files: Sequence[HubFile]) -> None:
        total = sum(file.size_bytes for file in files)
        self._write(state="fetching", files_total=len(files), files_done=0, bytes_total=total, bytes_done=0)

    def moved(self, count: int) -> None:
        if self._is_ending():
            raise IngestHalted
        with self._guard:
            self._bytes += count
            if time.monotonic() - self._noted_at < _NOTE_SECONDS:
                return
            self._noted_at = time.monotonic()
            done = {"bytes_done": self._bytes, "files_done": self._files}
        try:
            self._write(**done)
        except Away as away:
            # Nothing hangs on it: a fetch of hours is not ended by a database that is restarted.
            _log.info("how far ingest %s is was not written down: %s", self._ingest_id, away)

    def kept(self, file: File) -> None:
        digest = bytes.fromhex(file.sha256)
        kept = {"path": file.path, "sha256": digest, "size_bytes": file.size_bytes, "crc32": file.crc32}
        wanted = select(Ingest.id).where(Ingest.id == self._ingest_id, Ingest.finished_at.is_(None))
        with self._guard:
            self._files += 1
            self.sha256s.add(digest)
        with self._app.db.write() as tx:
            # The lock makes whoever ends the ingest wait: no file is written down afterwards.
            if tx.scalar(wanted.with_for_update(read=True)) is None:
                raise IngestCancelled
            tx.execute(insert(IngestFile).values(ingest_id=self._ingest_id, **kept).on_conflict_do_nothing())

    def fetched(self) -> None:
        self._write(state="weighing", bytes_done=self._bytes, files_done=self._files)

    def refused(self) -> None:
        with self._app.db.write() as tx:
            tx.execute(delete(IngestFile).where(IngestFile.ingest_id == self._ingest_id))

    def admitted(self, tx: Session, ingested: Ingested) -> None:
        values = {"state": "admitted", "package_id": ingested.recorded.package.id, "outcome": _outcome(ingested)}
        if not _finish(tx, self._ingest_id, **values):
            raise IngestCancelled

    def _write(self, **values: Any) -> None:
        if not _note(self._app, self._ingest_id, **values):
            raise IngestCancelled


def _enqueue(tx: Session, row: Ingest, *, is_patient: bool) -> None:
    # One after another where only one can win: the others need not fetch.
    lock = f"ingest {row.wanted['name'].lower()} {row.wanted['version']}"
    jobs.enqueue(tx, jobs.INGEST, queue=jobs.TRANSFERS, lock=lock, ingest_id=str(row.id), is_patient=is_patient)


def _caller(row: Ingest, asker: User) -> Caller:
    """Who asked, with what they may do now. No token is used: the call that asked took one."""
    permissions = frozenset(map(Permission, asker.permissions))
    return Caller(asker.id, asker.username, permissions, row.id, 0, 0, row.asked_at)


def _forget(app: App, ingest_id: UUID, sha256s: Iterable[bytes] = ()) -> None:
    """Removes what an ingest that has ended still keeps, and these files."""
    with app.db.write() as tx:
        left = tx.scalars(
            delete(IngestFile).where(IngestFile.ingest_id == ingest_id).returning(IngestFile.sha256)
        ).all()
    forget_unrecorded(app, {*left, *sha256s})


def _note(app: App, ingest_id: UUID, **values: Any) -> bool:
    """Writes down how far an ingest is; whether it is still under way."""
    with app.db.write() as tx:
        return _change(tx, ingest_id, **values)


def _finish(tx: Session, ingest_id: UUID, **values: Any) -> bool:
    """Ends an ingest; whether it was still under way."""
    is_changed = _change(tx, ingest_id, **values, finished_at=func.now())
    tx.execute(delete(IngestFile).where(IngestFile.ingest_id == ingest_id))
    return is_changed


def _change(tx: Session, ingest_id: UUID, **values: Any) -> bool:
    changed = update(Ingest).where(Ingest.id == ingest_id, Ingest.finished_at.is_(None)).values(**values)
    return tx.scalar(changed.returning(Ingest.id)) is not None


def _fail(app: App, ingest_id: UUID, error: RegistryError) -> None:
    state = "refused" if isinstance(error, ModelRefused) else "failed"
    with app.db.write() as tx:
        _finish(tx, ingest_id, state=state, outcome=_recorded(error))


def _recorded(error: RegistryError) -> Mapping[str, Any]:
    """An error as it is kept until somebody asks: the doors make a problem document of it."""
    members = {name: value for name, value in error.members.items() if value not in (None, "")}
    if isinstance(error, Invalid) and error.field:
        members["errors"] = [{"field": error.field, "detail": error.detail}]
    recorded = {"kind": type(error).__name__, "detail": error.detail, "members": members}
    plain: Mapping[str, Any] = orjson.loads(orjson.dumps(recorded, default=str))
    return plain


def _outcome(ingested: Ingested) -> Mapping[str, Any]:
    decision = ingested.decision
    return {
        "gate": decision.outcome,
        "inconclusive": [
            {
                "metric": one.metric,
                "reason_code": one.reason_code.value if one.reason_code else None,
                "reasons": list(one.reasons),
            }
            for one in decision.unknown
        ],
        "net_score": decision.net.score,
        "coverage": decision.net.coverage,
        "revision": ingested.revision,
        "left_out": list(ingested.left_out),
        "warnings": [f"{found.existing}: {found.reason}" for found in ingested.recorded.lookalikes],
    }
