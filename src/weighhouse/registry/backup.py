"""A backup: the database and the list of its blobs as of one instant, and on disk the blobs themselves."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.backup_folder import (
    CONTENTS,
    DATABASE,
    SUMMARY,
    Backup,
    Content,
    Summary,
    blob_path,
    digest_of,
    find_backup,
    read_contents,
    unfinished,
)
from weighhouse.registry.holding import blobs_held
from weighhouse.store.blobs import BlobDamaged, BlobMissing
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.dump import dump

# Of recorded files, and of those that an ingest or an upload under way goes on with.
_CONTENTS = """
SELECT encode(sha256, 'hex'), size_bytes, crc32 FROM blobs
UNION
SELECT encode(sha256, 'hex'), size_bytes, crc32 FROM ingest_files JOIN ingests ON id = ingest_id
    WHERE finished_at IS NULL
UNION
SELECT encode(sha256, 'hex'), size_bytes, crc32 FROM direct_upload_files JOIN direct_uploads ON id = upload_id
    WHERE crc32 IS NOT NULL AND expires_at > now()
ORDER BY 1
"""
_HEAD = "SELECT seq || ':' || encode(sha256, 'hex') FROM audit_seals ORDER BY seq DESC LIMIT 1"


@dataclass
class Made:
    """A backup that was made, and how many of its blobs were not in the folder before."""

    backup: Backup
    new_blobs: int
    new_bytes: int


@dataclass
class _Copied:
    new_blobs: int
    new_bytes: int
    lacking: list[str]


def make_backup(
    app: App,
    folder: Path,
    *,
    with_blobs: bool = True,
    moved: Callable[[int], None] = lambda size_bytes: None,
) -> Made:
    """A backup of the registry, which may go on serving; uploads that end meanwhile are in the next one.

    A blob that is lost or damaged does not keep the rest from being backed up: the summary names it.

    Args:
        folder: Where backups are kept; blobs that an earlier one brought there are not copied again.
        moved: Told how many bytes of blobs are done.

    Raises:
        BackupUnderWay: Another backup is being made.
        BackupFailed, DumpFailed: It could not be written; nothing that looks whole is left.
        Away: The database or the store does not answer.
    """
    with unfinished(folder) as fresh, app.db.alone() as connection, blobs_held(connection):
        made_at = datetime.now(UTC)
        revision, head, blobs, blobs_bytes = _keep_database(app, connection, fresh)
        copied = _keep_blobs(app, fresh, moved) if with_blobs else _Copied(0, 0, [])
        # Had this connection broken, a sweep could have taken what was to be copied.
        connection.execute("SELECT 1")
        summary = Summary(
            made_at=made_at,
            weighhouse=version("weighhouse"),
            schema_revision=revision,
            database_sha256=digest_of(fresh / DATABASE),
            contents_sha256=digest_of(fresh / CONTENTS),
            blobs=blobs,
            blobs_bytes=blobs_bytes,
            has_blobs=with_blobs,
            lacking=copied.lacking,
            audit_head=head,
        )
        with _new_file(fresh / SUMMARY) as write:
            write(summary.model_dump_json(indent=2).encode() + b"\n")
    backup = find_backup(folder)
    with app.db.write() as tx:
        record(tx, None, "make backup", "registry", blobs=blobs, bytes=blobs_bytes, lacking=len(copied.lacking))
    return Made(backup, copied.new_blobs, copied.new_bytes)


def _keep_database(app: App, connection: psycopg.Connection[Any], fresh: Path) -> tuple[str, str | None, int, int]:
    """Writes database and list of blobs as of one instant; returns the schema's revision, the head of the audit trail,
    and how many blobs of how many bytes there are."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # Before the snapshot: what a reset empties is empty for older snapshots, too. This is the first that it locks.
        connection.execute("LOCK TABLE package_names IN ACCESS SHARE MODE")
        row = connection.execute("SELECT pg_export_snapshot(), version_num FROM alembic_version").fetchone()
        assert row is not None
        snapshot, revision = row
        head = connection.execute(_HEAD).fetchone()
        blobs, blobs_bytes = _keep_contents(connection, fresh / CONTENTS)
        os.close(os.open(fresh / DATABASE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        dump(app.db.url, fresh / DATABASE, snapshot=snapshot)
    return revision, head[0] if head is not None else None, blobs, blobs_bytes


def _keep_contents(connection: psycopg.Connection[Any], file: Path) -> tuple[int, int]:
    blobs = blobs_bytes = 0
    with _new_file(file) as write, connection.cursor(name="contents") as rows:
        rows.execute(_CONTENTS)
        for sha256, size_bytes, crc32 in rows:
            write(b"%s %d %d\n" % (sha256.encode(), size_bytes, crc32))
            blobs += 1
            blobs_bytes += size_bytes
    return blobs, blobs_bytes


def _keep_blobs(app: App, fresh: Path, moved: Callable[[int], None]) -> _Copied:
    """Brings the blobs that are not in the folder yet: by a hard link where it can, by a copy that is hashed elsewhere."""
    copied = _Copied(0, 0, [])
    for content in read_contents(fresh):
        target = blob_path(fresh.parent, content.sha256)
        if target.exists() and target.stat().st_size == content.size_bytes:
            moved(content.size_bytes)
            continue
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _link(app, content, target, moved) or _copy(app, content, fresh / "blob", target, moved):
            copied.new_blobs += 1
            copied.new_bytes += content.size_bytes
        else:
            copied.lacking.append(content.sha256)
    return copied


def _link(app: App, content: Content, target: Path, moved: Callable[[int], None]) -> bool:
    """Whether the blob has a second name now. A blob is never written to, so the link stays what it is."""
    try:
        if not isinstance(app.blobs, DiskBlobs) or app.blobs.size(content.sha256) != content.size_bytes:
            return False
        target.unlink(missing_ok=True)
        is_linked = app.blobs.link(content.sha256, target)
    except BlobMissing:
        return False
    if is_linked:
        moved(content.size_bytes)
    return is_linked


def _copy(app: App, content: Content, file: Path, target: Path, moved: Callable[[int], None]) -> bool:
    """Whether the blob is at `target` now: written to `file`, and moved there when it is whole and right."""
    digest = hashlib.sha256()
    try:
        with _new_file(file) as write:
            for chunk in app.blobs.read(content.sha256, 0, content.size_bytes):
                digest.update(chunk)
                write(chunk)
                moved(len(chunk))
    except (BlobMissing, BlobDamaged):
        file.unlink(missing_ok=True)
        return False
    if digest.hexdigest() != content.sha256:
        file.unlink()
        return False
    file.rename(target)
    return True


@contextmanager
def _new_file(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Writes a file that only its owner can read, and makes it durable."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        yield file.write
        file.flush()
        os.fsync(file.fileno())
