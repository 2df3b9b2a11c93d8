"""Sweeps what nobody names any more: blobs, staged bytes, ended tokens, old figures."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import Select, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from weighhouse.app import App
from weighhouse.registry.totals import KEPT_CHANGES
from weighhouse.registry.zips import sweep_zips
from weighhouse.store.tables import (
    Blob,
    Boot,
    CachedEvidence,
    Ingest,
    IngestFile,
    ListingChange,
    LoginFailure,
    PackageFile,
    Token,
)

GRACE = timedelta(hours=24)
"""How long bytes without a package are spared: an upload may be about to record them."""

KEPT_EVIDENCE = timedelta(days=90)
"""How long an answer of a source that nobody asked for again is kept."""

MAX_EVIDENCE_BYTES = 8 * 1024**3
"""How much of them is kept; those go first that were not used for the longest time."""

KEPT_INGESTS = timedelta(days=30)
"""How long it can be looked up what came of an ingest."""

# Of the files that an ingest under way keeps.
_FETCHED = select(IngestFile.sha256).join(Ingest, Ingest.id == IngestFile.ingest_id).where(Ingest.finished_at.is_(None))

_BATCH = 200

_log = logging.getLogger(__name__)


class _Undo(Exception):
    """Ends a transaction that must leave no trace."""


def sweep(app: App, *, grace: timedelta = GRACE) -> int:
    """Removes every blob that no package holds, staged bytes of uploads that died, and rows that have ended.

    Args:
        grace: What was kept or staged more lately stays.

    Returns:
        How many blobs were removed.

    Raises:
        Away: The database or the store does not answer.
    """
    before = datetime.now(UTC) - grace
    swept = sweep_idle(app, grace=grace) + _sweep_unrecorded(app, before)
    app.blobs.sweep_staging(before)
    sweep_zips(app, before)
    with app.db.write() as tx:
        tx.execute(delete(Token).where(Token.expires_at < func.now() - timedelta(days=1)))
        tx.execute(delete(LoginFailure).where(LoginFailure.failed_at < func.now() - timedelta(hours=1)))
        tx.execute(delete(CachedEvidence).where(CachedEvidence.used_at < func.now() - KEPT_EVIDENCE))
        tx.execute(delete(CachedEvidence).where(CachedEvidence.key.in_(_excess_evidence())))
        tx.execute(delete(ListingChange).where(ListingChange.changed_at < func.now() - KEPT_CHANGES))
        tx.execute(delete(Ingest).where(Ingest.finished_at < func.now() - KEPT_INGESTS))
        tx.execute(delete(Boot).where(Boot.seen_at < func.now() - timedelta(days=7)))
    if swept:
        _log.info("swept %d blobs", swept)
    return swept


def _excess_evidence() -> Select[tuple[str]]:
    """Keys of the answers that do not fit, counted from the one used last. Lengths are read without the values."""
    newest_first = (CachedEvidence.used_at.desc(), CachedEvidence.key)
    total = func.sum(func.octet_length(CachedEvidence.value)).over(order_by=newest_first).label("total")
    counted = select(CachedEvidence.key, total).subquery()
    return select(counted.c.key).where(counted.c.total > MAX_EVIDENCE_BYTES)


def sweep_idle(app: App, *, grace: timedelta = timedelta()) -> int:
    """Removes the recorded blobs that no package holds; uploads under way are safe even without a grace period.

    Raises:
        Away: The database or the store does not answer.
    """
    with app.db.read() as tx:
        held = select(PackageFile.sha256).where(PackageFile.sha256 == Blob.sha256).exists()
        idle = tx.scalars(select(Blob.sha256).where(~held, Blob.kept_at <= func.now() - grace)).all()
    return sweep_blobs(app, idle)


def sweep_blobs(app: App, sha256s: Iterable[bytes]) -> int:
    """Removes those of these blobs that no package holds; returns how many.

    The row is locked first. An upload that is recording the same content either locked it before, and then holds the
    blob by now, or waits for us and finds the bytes gone: it keeps its own copy until it has looked.

    Raises:
        Away: The database or the store does not answer.
    """
    swept = 0
    for batch in _batches(sorted(sha256s)):
        with app.db.write() as tx:
            locked = tx.scalars(
                select(Blob.sha256)
                .where(Blob.sha256.in_(batch))
                .order_by(Blob.sha256)
                .with_for_update(skip_locked=True)
            ).all()
            # A second statement, so that it sees the files of a transaction that we waited for.
            held = select(PackageFile.sha256).where(PackageFile.sha256 == Blob.sha256).exists()
            gone = tx.scalars(delete(Blob).where(Blob.sha256.in_(locked), ~held).returning(Blob.sha256)).all()
            for sha256 in gone:
                app.blobs.delete(sha256.hex())
        swept += len(gone)
    return swept


def forget_unrecorded(app: App, sha256s: Iterable[bytes]) -> int:
    """Removes those of these blobs that were never recorded: what they were kept for was refused. Returns how many.

    Raises:
        Away: The database or the store does not answer; what is left is swept in time.
    """
    return sum(_remove_unrecorded(app, sha256) for sha256 in sorted(set(sha256s)))


def _sweep_unrecorded(app: App, before: datetime) -> int:
    """Removes old blobs that have no row: an upload died between keeping and recording them."""
    swept = 0
    for batch in _batches(bytes.fromhex(sha256) for sha256, _ in app.blobs.list(before)):
        with app.db.read() as tx:
            known = set(tx.scalars(select(Blob.sha256).where(Blob.sha256.in_(batch))).all())
            known |= set(tx.scalars(_FETCHED.where(IngestFile.sha256.in_(batch))).all())
        for sha256 in sorted(set(batch) - known):
            swept += _remove_unrecorded(app, sha256)
    return swept


def _remove_unrecorded(app: App, sha256: bytes) -> bool:
    # Claiming the row for a moment waits for any upload that is recording it, and makes later ones wait for us.
    claim = insert(Blob).values(sha256=sha256, size_bytes=0, crc32=0).on_conflict_do_nothing().returning(Blob.sha256)
    removed = False
    try:
        with app.db.write() as tx:
            if tx.scalar(claim) is not None:
                # An ingest may take longer than the grace, and another may be at the same file.
                if tx.scalar(_FETCHED.where(IngestFile.sha256 == sha256).limit(1)) is None:
                    app.blobs.delete(sha256.hex())
                    removed = True
                raise _Undo
    except _Undo:
        if removed:
            _log.info("removed unrecorded blob %s", sha256.hex())
    return removed


def _batches(sha256s: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
    remaining = iter(sha256s)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
