"""Sweeps what nobody names any more: blobs, staged bytes, ended tokens, old figures."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import Select, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.holding import may_sweep
from weighhouse.registry.totals import KEPT_CHANGES
from weighhouse.registry.zips import sweep_zips
from weighhouse.store.tables import (
    Blob,
    BlobScan,
    Boot,
    CachedEvidence,
    DirectUpload,
    DirectUploadFile,
    Ingest,
    IngestFile,
    ListingChange,
    LoginFailure,
    PackageFile,
    RefusedPackage,
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

KEPT_SCANS = timedelta(days=30)
"""How long the verdict of a content is kept that is not here any more, and why a package was refused."""

# Of the files that an ingest under way keeps, and of those that arrived for an upload that is not finished.
_FETCHED = select(IngestFile.sha256).join(Ingest, Ingest.id == IngestFile.ingest_id).where(Ingest.finished_at.is_(None))
_ARRIVED = (
    select(DirectUploadFile.sha256)
    .join(DirectUpload, DirectUpload.id == DirectUploadFile.upload_id)
    .where(DirectUploadFile.crc32.is_not(None), DirectUpload.expires_at > func.now())
)

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
    swept = sweep_idle(app, grace=grace) + sweep_unrecorded(app, before)
    app.blobs.sweep_staging(before)
    sweep_zips(app, before)
    with app.db.write() as tx:
        tx.execute(delete(Token).where(Token.expires_at < func.now() - timedelta(days=1)))
        tx.execute(delete(LoginFailure).where(LoginFailure.failed_at < func.now() - timedelta(hours=1)))
        tx.execute(delete(CachedEvidence).where(CachedEvidence.used_at < func.now() - KEPT_EVIDENCE))
        tx.execute(delete(CachedEvidence).where(CachedEvidence.key.in_(_excess_evidence())))
        tx.execute(delete(ListingChange).where(ListingChange.changed_at < func.now() - KEPT_CHANGES))
        tx.execute(delete(Ingest).where(Ingest.finished_at < func.now() - KEPT_INGESTS))
        tx.execute(delete(DirectUpload).where(DirectUpload.expires_at < func.now()))
        # A verdict outlives its content for a while: what comes back need not be scanned again.
        held = select(Blob.sha256).where(Blob.sha256 == BlobScan.sha256).exists()
        tx.execute(delete(BlobScan).where(BlobScan.scanned_at < func.now() - KEPT_SCANS, ~held))
        tx.execute(delete(RefusedPackage).where(RefusedPackage.refused_at < func.now() - KEPT_SCANS))
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
    return sweep_blobs(app, [bytes.fromhex(sha256) for sha256, _ in idle_blobs(app, grace=grace)])


def sweepable_blobs(app: App, *, grace: timedelta = GRACE) -> Iterator[tuple[str, int]]:
    """SHA-256 and size of each blob that a sweep would remove now.

    Raises:
        Away: The database or the store does not answer.
    """
    yield from idle_blobs(app, grace=grace)
    yield from unrecorded_blobs(app, datetime.now(UTC) - grace)


def idle_blobs(app: App, *, grace: timedelta = GRACE) -> Sequence[tuple[str, int]]:
    """SHA-256 and size of each recorded blob that no package holds.

    Args:
        grace: What was kept more lately is left out.

    Raises:
        Away: The database does not answer.
    """
    held = select(PackageFile.sha256).where(PackageFile.sha256 == Blob.sha256).exists()
    idle = select(Blob.sha256, Blob.size_bytes).where(~held, Blob.kept_at <= func.now() - grace)
    with app.db.read() as tx:
        return [(sha256.hex(), size_bytes) for sha256, size_bytes in tx.execute(idle)]


def sweep_blobs(app: App, sha256s: Iterable[bytes]) -> int:
    """Removes those of these blobs that no package holds; returns how many.

    The row is locked first. An upload that is recording the same content either locked it before, and then holds the
    blob by now, or waits for us and finds the bytes gone: it keeps its own copy until it has looked.
    While a backup is made none is removed: the next sweep takes them.

    Raises:
        Away: The database or the store does not answer.
    """
    swept = 0
    for batch in _batches(sorted(sha256s)):
        with app.db.write() as tx:
            if not may_sweep(tx):
                break
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


def sweep_unrecorded(app: App, before: datetime) -> int:
    """Removes old blobs that have no row: an upload died between keeping and recording them. Returns how many.

    Raises:
        Away: The database or the store does not answer.
    """
    swept = 0
    for sha256, _ in unrecorded_blobs(app, before):
        swept += _remove_unrecorded(app, bytes.fromhex(sha256))
    return swept


def unrecorded_blobs(app: App, before: datetime) -> Iterator[tuple[str, int]]:
    """SHA-256 and size of each blob that no row names and that is older than `before`.

    Raises:
        Away: The database or the store does not answer.
    """
    kept = iter(app.blobs.list(before))
    while batch := {bytes.fromhex(sha256): size_bytes for sha256, size_bytes in islice(kept, _BATCH)}:
        with app.db.read() as tx:
            known = set(tx.scalars(select(Blob.sha256).where(Blob.sha256.in_(batch))).all())
            known |= _awaited(tx, list(batch))
        yield from ((sha256.hex(), batch[sha256]) for sha256 in sorted(batch.keys() - known))


def _remove_unrecorded(app: App, sha256: bytes) -> bool:
    # Claiming the row for a moment waits for any upload that is recording it, and makes later ones wait for us.
    claim = insert(Blob).values(sha256=sha256, size_bytes=0, crc32=0).on_conflict_do_nothing().returning(Blob.sha256)
    removed = False
    try:
        with app.db.write() as tx:
            if may_sweep(tx) and tx.scalar(claim) is not None:
                # An ingest may take longer than the grace, and another may be at the same file.
                if not _awaited(tx, [sha256]):
                    app.blobs.delete(sha256.hex())
                    removed = True
                raise _Undo
    except _Undo:
        if removed:
            _log.info("removed unrecorded blob %s", sha256.hex())
    return removed


def _awaited(tx: Session, sha256s: Sequence[bytes]) -> set[bytes]:
    """Those of these contents that a package is about to need."""
    fetched = tx.scalars(_FETCHED.where(IngestFile.sha256.in_(sha256s)))
    arrived = tx.scalars(_ARRIVED.where(DirectUploadFile.sha256.in_(sha256s)))
    return {*fetched, *arrived}


def _batches(sha256s: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
    remaining = iter(sha256s)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
