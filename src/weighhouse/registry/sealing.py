"""The seals of the audit trail: entries are added freely, and put into the chain in batches by one sealer at a time."""

import logging
import threading
from typing import Any

from sqlalchemy import Row as Found
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.rules.errors import Away
from weighhouse.rules.trail import BEGINNING, Link, next_link
from weighhouse.store.database import Database
from weighhouse.store.tables import AuditEntry, AuditPending, AuditSeal

SEAL_SECONDS = 1.0
"""How long an entry waits at most, while a server runs and keeps up."""

BATCH = 2000

# The number is arbitrary; it only has to be this program's own.
_LOCK = 7235921
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)").bindparams(lock=_LOCK)
_WAITING = text("SELECT EXISTS (SELECT FROM audit_pending)")
_SEAL = text("""
WITH sealed AS (
    INSERT INTO audit_seals (seq, entry_id, chain, sha256)
    SELECT * FROM unnest(CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]), CAST(:chains AS int[]), CAST(:hashes AS bytea[]))
    RETURNING entry_id
)
DELETE FROM audit_pending USING sealed WHERE audit_pending.entry_id = sealed.entry_id
""")

CONTENT = (
    AuditEntry.id,
    AuditEntry.acted_at,
    AuditEntry.actor_id,
    AuditEntry.actor,
    AuditEntry.action,
    AuditEntry.subject,
    AuditEntry.package_id,
    AuditEntry.address,
    AuditEntry.request_id,
    AuditEntry.outcome,
    AuditEntry.detail,
)
"""All that an entry says, and so all that its hash covers."""

_NAMES = tuple(column.key for column in CONTENT)

_log = logging.getLogger(__name__)


def content_of(row: Found[Any]) -> dict[str, Any]:
    """An entry by the names of its columns, out of a row that begins with those of `CONTENT`."""
    return dict(zip(_NAMES, row, strict=False))


def head_of(tx: Session) -> Link:
    """The last link of the chain."""
    last = select(AuditSeal.seq, AuditSeal.chain, AuditSeal.sha256).order_by(AuditSeal.seq.desc()).limit(1)
    row = tx.execute(last).one_or_none()
    return Link(*row) if row is not None else BEGINNING


def seal_entries(db: Database, *, batch: int = BATCH) -> int:
    """Puts into the chain what waits for it, until nothing does or another sealer is at it; returns how many entries.

    Raises:
        Away: The database does not answer. What was not sealed still waits.
    """
    total = 0
    while sealed := _seal_batch(db, batch):
        total += sealed
    return total


def _seal_batch(db: Database, batch: int) -> int:
    with db.write() as tx:
        if not tx.scalar(_WAITING) or not tx.scalar(_TRY_LOCK):
            return 0
        # After the lock, and in a statement of its own: it sees all that the sealer before committed.
        head = head_of(tx)
        waiting = select(*CONTENT).join(AuditPending, AuditPending.entry_id == AuditEntry.id)
        rows = tx.execute(waiting.order_by(AuditPending.entry_id).limit(batch)).all()
        links = []
        for row in rows:
            head, _ = next_link(head, content_of(row))
            links.append(head)
        if links:
            tx.execute(
                _SEAL,
                {
                    "seqs": [link.seq for link in links],
                    "ids": [row.id for row in rows],
                    "chains": [link.chain for link in links],
                    "hashes": [link.sha256 for link in links],
                },
            )
    return len(links)


class Sealer:
    """Seals what waits, every second, beside the requests; of all processes of all servers one at a time."""

    def __init__(self, app: App) -> None:
        # Not the requests' connections: those are greeted after they were idle, and these never are for long.
        self._db = Database(app.db.url.render_as_string(hide_password=False), connections=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)

    def start(self) -> None:
        """Begins to seal."""
        self._thread.start()

    def stop(self) -> None:
        """Seals what is left and ends."""
        self._stop.set()
        self._thread.join(timeout=10)
        self._db.close()

    def _run(self) -> None:
        while not self._stop.wait(SEAL_SECONDS):
            self._seal()
        self._seal()

    def _seal(self) -> None:
        try:
            seal_entries(self._db)
        except Away as away:
            # Nothing is lost: entries wait in the database.
            _log.info("audit entries wait to be sealed: %s", away)
        except Exception:
            # The next try may be luckier, and health must not hang on it: say it, and go on.
            _log.exception("audit entries could not be sealed")
