"""A registry out of a backup: into an empty database and an empty store, everything checked on its way."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import text

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.backup_folder import DATABASE, Backup, BackupUnusable, Content
from weighhouse.registry.integrity import Finding, Report, contradictions
from weighhouse.registry.trail import Broken, verify_trail
from weighhouse.rules.errors import Conflict
from weighhouse.rules.trail import parse_head
from weighhouse.store.blobs import BlobMissing, Staged
from weighhouse.store.database import knows_revision, migrate
from weighhouse.store.dump import load

_BATCH = 64
_CHUNK_BYTES = 1024 * 1024


class RegistryInUse(Conflict):
    """A backup is restored into an empty registry only."""


@dataclass
class Restored:
    """What came back, and what did not."""

    packages: int = 0
    blobs: int = 0
    lacking: Sequence[str] = field(default=())
    """SHA-256 of blobs that are neither in the backup, whole, nor in the store."""
    contradictions: Sequence[Finding] = field(default=())
    trail_broken: Broken | None = None
    """Where the audit trail is not what it was when the backup was made."""


def restore_backup(app: App, backup: Backup, *, moved: Callable[[int], None] = lambda size_bytes: None) -> Restored:
    """What came back. Blobs first, then the whole database in one transaction, then its schema is brought up to date.

    Raises:
        RegistryInUse: The database or the store is not empty.
        BackupUnusable: A later release made it.
        DumpFailed: The database does not take it; it is as empty as before.
        Away: The database or the store does not answer.
    """
    if not knows_revision(backup.summary.schema_revision):
        raise BackupUnusable(
            f"The backup was made by Weighhouse {backup.summary.weighhouse}, which is later than this release. "
            "Install that one."
        )
    _require_empty(app, backup)
    lacking = _bring_blobs(app, backup, moved) if backup.summary.has_blobs else _look_for_blobs(app, backup, moved)
    load(app.db.url, backup.path / DATABASE)
    migrate(app.db.url.render_as_string(hide_password=False))
    report = Report()
    contradictory = list(contradictions(app, report))
    blobs = backup.summary.blobs - len(lacking)
    noted = backup.summary.audit_head
    trail = verify_trail(app, noted=parse_head(noted) if noted is not None else None)
    with app.db.write() as tx:
        made_at = backup.summary.made_at.isoformat()
        record(tx, None, "restore backup", "registry", made_at=made_at, blobs=blobs, lacking=len(lacking))
    return Restored(report.packages_checked, blobs, lacking, contradictory, trail.broken)


def _require_empty(app: App, backup: Backup) -> None:
    with app.db.read() as tx:
        is_used = tx.scalar(
            text("SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = ANY (current_schemas(false)))")
        )
    if is_used:
        raise RegistryInUse("The database holds tables already. Restore into an empty one.")
    if not backup.summary.has_blobs:
        return
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    if next(iter(app.blobs.list(tomorrow)), None) is not None:
        raise RegistryInUse("The store holds files already. Restore into an empty one.")


def _bring_blobs(app: App, backup: Backup, moved: Callable[[int], None]) -> Sequence[str]:
    """Copies the blobs into the store, each hashed on its way; returns those that could not be."""
    lacking: list[str] = []
    contents = backup.contents()
    while batch := list(islice(contents, _BATCH)):
        staged = {content: _stage(app, backup, content, moved) for content in batch}
        arrived = [one for one in staged.values() if one is not None]
        right = [one for content, one in staged.items() if one is not None and _is_content(one, content)]
        app.blobs.adopt(*right)
        app.blobs.discard(*arrived)
        lacking += sorted({content.sha256 for content in batch} - {one.sha256 for one in right})
    return lacking


def _stage(app: App, backup: Backup, content: Content, moved: Callable[[int], None]) -> Staged | None:
    with suppress(FileNotFoundError), backup.blob(content.sha256).open("rb") as file, app.blobs.stage() as staging:
        while chunk := file.read(_CHUNK_BYTES):
            staging.write(chunk)
            moved(len(chunk))
        return staging.finish()
    return None


def _is_content(staged: Staged, content: Content) -> bool:
    return (staged.sha256, staged.size_bytes, staged.crc32) == content


def _look_for_blobs(app: App, backup: Backup, moved: Callable[[int], None]) -> Sequence[str]:
    """Those that the store does not hold at their full size; the blobs were kept by other means."""
    lacking: list[str] = []
    for content in backup.contents():
        size_bytes = None
        with suppress(BlobMissing):
            size_bytes = app.blobs.size(content.sha256)
        if size_bytes != content.size_bytes:
            lacking.append(content.sha256)
        moved(content.size_bytes)
    return lacking
