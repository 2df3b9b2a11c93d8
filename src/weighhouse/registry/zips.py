"""The ZIPs that a bucket holds: asked for, composed by a job, offered, dropped and swept.

The row comes before the object and says what is true of it. Nobody relies on the object alone: an operator may drop any of
them by hand, and a version that was freed may be published again under the same key.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.visible import is_quarantined
from weighhouse.rules import manifest
from weighhouse.rules.manifest import Component, File
from weighhouse.rules.zipview import ZipView, layout
from weighhouse.store import jobs
from weighhouse.store.blobs import package_key
from weighhouse.store.tables import Blob, ComposedZip, Package, PackageFile
from weighhouse.store.zips_s3 import Composed, Interrupted, Zips

WHOLE = manifest.variant_name(())
"""The variant that is composed when a package is published; others wait until somebody asks."""

RETRY_AFTER = timedelta(minutes=10)
"""How long after a failure a download has the ZIP tried again."""

LOST_AFTER = timedelta(hours=6)
"""How long a ZIP is being composed before its job is taken for lost. A second job beside a living one does no harm."""

_BATCH = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Whereabouts:
    """Where a ZIP is to be had.

    Args:
        address: Presigned, in the bucket; `None` when it is not there.
        is_coming: Whether it is worth waiting for.
    """

    address: str | None
    is_coming: bool = False


@dataclass(frozen=True)
class Dropped:
    """A ZIP that was dropped from the bucket."""

    key: str
    size_bytes: int


def zip_view(tx: Session, package_id: UUID, variant: str) -> ZipView:
    """The ZIP of a package's files, or of those of some components.

    Args:
        variant: File name of the ZIP, as `manifest.variant_name` makes it.
    """
    query = (
        select(PackageFile.path, PackageFile.size_bytes, PackageFile.sha256, Blob.crc32, PackageFile.component)
        .join(Blob, Blob.sha256 == PackageFile.sha256)
        .where(PackageFile.package_id == package_id)
    )
    files = (
        File(path, size_bytes, sha256.hex(), crc32, Component(component))
        for path, size_bytes, sha256, crc32, component in tx.execute(query)
    )
    return layout(manifest.select(files, manifest.components_of(variant)).files)


def download_name(package: Package, variant: str) -> str:
    """What a downloaded ZIP is called, wherever it comes from."""
    return f"{package.name.replace('/', '-')}-{package.version}-{variant}"


def request_zip(tx: Session, package: Package, variant: str) -> None:
    """Has a ZIP composed, unless it is there or on its way; however many ask, one job does it."""
    key = package_key(package.name, package.version, variant)
    row = {"package_id": package.id, "variant": variant, "key": key, "state": "building"}
    is_new = tx.scalar(insert(ComposedZip).values(row).on_conflict_do_nothing().returning(ComposedZip.key)) is not None
    if not is_new:
        mine = (ComposedZip.package_id == package.id, ComposedZip.variant == variant)
        tx.execute(update(ComposedZip).where(*mine).values(asked_at=func.now()))
        is_due = ((ComposedZip.state == "failed") & (ComposedZip.changed_at < func.now() - RETRY_AFTER)) | (
            (ComposedZip.state == "building") & (ComposedZip.changed_at < func.now() - LOST_AFTER)
        )
        is_new = _begin_anew(tx, *mine, is_due)
    if is_new:
        _enqueue(tx, package.id, variant, key)


def locate_zip(app: App, package: Package, variant: str) -> Whereabouts:
    """Where a ZIP is that was asked for.

    A ZIP that is said to be ready is looked at, with one small request that costs nothing beside the download that it
    stands for. So one that was dropped or replaced by hand is noticed by the first who asks, and composed again.

    Raises:
        Away: The database or the store does not answer.
    """
    zips = app.zips
    if zips is None:
        return Whereabouts(None)
    with app.db.read() as tx:
        known = tx.get(ComposedZip, (package.id, variant))
    if known is None or known.state == "failed":
        return Whereabouts(None)
    if known.state == "building":
        return Whereabouts(None, is_coming=True)
    if zips.etag(known.key) == known.etag:
        filename, seconds = download_name(package, variant), app.settings.download_url_seconds
        return Whereabouts(zips.address(known.key, filename=filename, seconds=seconds))
    _log.warning("%s is not in the bucket as it was composed; it is composed again", known.key)
    with app.db.write() as tx:
        seen = (ComposedZip.key == known.key, ComposedZip.etag == known.etag)
        if _begin_anew(tx, *seen):
            _enqueue(tx, package.id, variant, known.key)
    return Whereabouts(None, is_coming=True)


def compose_zip(app: App, package_id: UUID, variant: str, *, is_stopping: Callable[[], bool] = lambda: False) -> None:
    """Composes a ZIP that was asked for; one that is there, or whose package is gone, needs nothing.

    Its blobs stay while it is composed: the files of its package name them. When the package is deleted meanwhile, what
    was composed is thrown away.

    Args:
        is_stopping: Whether this process is about to end; the job is then to be tried again.

    Raises:
        Away: The database or the store does not answer; the job is to be tried again.
        Interrupted: The process is about to end; likewise.
    """
    zips = app.zips
    with app.db.read(snapshot=True) as tx:
        wanted = tx.get(ComposedZip, (package_id, variant))
        package = tx.get(Package, package_id)
        if zips is None or wanted is None or package is None or wanted.state != "building":
            return
        view = zip_view(tx, package_id, variant)
    if is_quarantined(package):
        _forget(app, wanted)
        return
    if zips.fault is not None:
        fail_zip(app, package_id, variant, zips.fault)
        return
    upload_id = _claim(app, zips, wanted)
    if upload_id is None:
        return

    def may_go_on() -> bool:
        return not is_stopping() and _is_claimed(app, wanted.key, upload_id)

    try:
        composed = zips.compose(wanted.key, upload_id, view, may_go_on=may_go_on)
    except Interrupted:
        if not is_stopping() and not _is_claimed(app, wanted.key, upload_id):
            _log.info("%s is not wanted any more", wanted.key)
            return
        raise
    _record(app, zips, wanted.key, upload_id, composed)


def fail_zip(app: App, package_id: UUID, variant: str, fault: str) -> None:
    """Says that a ZIP could not be composed; downloads come from the registry's own stream."""
    _log.warning("the %s of package %s cannot be composed in the bucket: %s", variant, package_id, fault)
    mine = (ComposedZip.package_id == package_id, ComposedZip.variant == variant, ComposedZip.state == "building")
    change = {"state": "failed", "fault": fault, "upload_id": None, "changed_at": func.now()}
    with app.db.write() as tx:
        tx.execute(update(ComposedZip).where(*mine).values(change))


def drop_zips(app: App, *, unasked_for: timedelta = timedelta(), dry_run: bool = False) -> Sequence[Dropped]:
    """Drops composed ZIPs from the bucket; each comes back when it is asked for.

    A ZIP whose presigned address may still be good is spared.

    Args:
        unasked_for: For how long nobody has asked for those that go.
        dry_run: Whether to tell only which would go.

    Raises:
        Away: The database or the store does not answer.
    """
    zips = app.zips
    if zips is None:
        return ()
    spared = max(unasked_for, timedelta(seconds=app.settings.download_url_seconds))
    is_old = (ComposedZip.state == "ready", ComposedZip.asked_at < func.now() - spared)
    with app.db.read() as tx:
        found = tx.scalars(select(ComposedZip).where(*is_old).order_by(ComposedZip.key))
        old = [Dropped(one.key, one.size_bytes or 0) for one in found]
    if dry_run:
        return old
    dropped = []
    for one in old:
        with app.db.write() as tx:
            # Within the transaction: who asks for it again waits for the commit, and is not made to lose the new one.
            gone = delete(ComposedZip).where(ComposedZip.key == one.key, *is_old).returning(ComposedZip.key)
            if tx.scalar(gone) is not None:
                zips.delete(one.key)
                dropped.append(one)
    return dropped


def zip_keys(tx: Session, package_id: UUID) -> Sequence[str]:
    """Keys of the ZIPs of a package, those that are being composed too."""
    return tx.scalars(select(ComposedZip.key).where(ComposedZip.package_id == package_id)).all()


def remove_zips(app: App, keys: Iterable[str]) -> None:
    """Removes the ZIPs of a package that is gone. One that is being composed is thrown away by its own job.

    Raises:
        Away: The store does not answer; the next sweep removes what is left.
    """
    if app.zips is not None:
        for key in keys:
            app.zips.delete(key)


def sweep_zips(app: App, before: datetime) -> int:
    """Removes ZIPs that no package has, and uploads of them that died; returns how many.

    Args:
        before: What is younger is spared.

    Raises:
        Away: The database or the store does not answer.
    """
    zips = app.zips
    if zips is None:
        return 0
    swept = 0
    for keys in _batches(zips.list(before)):
        with app.db.read() as tx:
            known = set(tx.scalars(select(ComposedZip.key).where(ComposedZip.key.in_(keys))))
        for key in sorted(set(keys) - known):
            zips.delete(key)
            swept += 1
    for key, upload_id in zips.list_uploads(before):
        if not _is_claimed(app, key, upload_id):
            zips.abort(key, upload_id)
            swept += 1
    return swept


def _batches(keys: Iterator[str]) -> Iterator[Sequence[str]]:
    while batch := list(islice(keys, _BATCH)):
        yield batch


def _begin_anew(tx: Session, *where: ColumnElement[bool]) -> bool:
    """Whether a ZIP was there that is to be composed again."""
    change = {"state": "building", "etag": None, "size_bytes": None, "fault": None, "changed_at": func.now()}
    statement = update(ComposedZip).where(*where).values(change).returning(ComposedZip.key)
    return tx.scalar(statement) is not None


def _enqueue(tx: Session, package_id: UUID, variant: str, key: str) -> None:
    # By its key: where a freed version is published again, the jobs of both packages write to the same one.
    jobs.enqueue(tx, jobs.COMPOSE, queue=jobs.ZIPS, lock=key, package_id=str(package_id), variant=variant)


def _claim(app: App, zips: Zips, wanted: ComposedZip) -> str | None:
    """The upload that composes a ZIP from now on, `None` when nobody wants it any more."""
    if wanted.upload_id is not None:
        zips.abort(wanted.key, wanted.upload_id)  # Of a job that died.
    zips.delete(wanted.key)
    upload_id = zips.begin(wanted.key)
    mine = (ComposedZip.package_id == wanted.package_id, ComposedZip.variant == wanted.variant)
    seen = (ComposedZip.state == "building", ComposedZip.upload_id.is_not_distinct_from(wanted.upload_id))
    with app.db.write() as tx:
        claim = update(ComposedZip).where(*mine, *seen).values(upload_id=upload_id).returning(ComposedZip.key)
        is_mine = tx.scalar(claim) is not None
    if is_mine:
        return upload_id
    zips.abort(wanted.key, upload_id)
    return None


def _is_claimed(app: App, key: str, upload_id: str) -> bool:
    """Whether an upload is still the one that composes a ZIP."""
    with app.db.read() as tx:
        seen = (ComposedZip.key == key, ComposedZip.upload_id == upload_id)
        return tx.scalar(select(ComposedZip.key).where(*seen)) is not None


def _record(app: App, zips: Zips, key: str, upload_id: str, composed: Composed) -> None:
    change = {
        "state": "ready",
        "etag": composed.etag,
        "size_bytes": composed.size_bytes,
        "upload_id": None,
        "changed_at": func.now(),
    }
    mine = (ComposedZip.key == key, ComposedZip.upload_id == upload_id)
    with app.db.write() as tx:
        is_mine = tx.scalar(update(ComposedZip).where(*mine).values(change).returning(ComposedZip.key)) is not None
    if not is_mine:
        # The package was deleted in the last moment. If its version is here again, the next who asks notices the loss.
        zips.delete(key)


def _forget(app: App, wanted: ComposedZip) -> None:
    """A package in quarantine has no ZIP; once it is released, the first who asks has it composed."""
    mine = (ComposedZip.package_id == wanted.package_id, ComposedZip.variant == wanted.variant)
    with app.db.write() as tx:
        tx.execute(delete(ComposedZip).where(*mine, ComposedZip.state == "building"))
