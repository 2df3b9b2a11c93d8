"""The folder that backups are kept in: each whole or not there, all of them sharing their blobs.

FOLDER/2026-01-31T08-00-00.000000Z/backup.json     what the backup is, written last
                                  /database.dump   the whole database
                                  /blobs.txt       SHA-256, size and CRC-32 of every blob that it needs
FOLDER/blobs/ab/cd/SHA256                          the blobs of all backups
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ValidationError

from weighhouse.registry.holding import BackupUnderWay
from weighhouse.rules.errors import Away, Invalid
from weighhouse.store.blobs import blob_key

DATABASE, CONTENTS, SUMMARY = "database.dump", "blobs.txt", "backup.json"

_UNFINISHED = "unfinished-"
_CHUNK_BYTES = 1024 * 1024


class BackupUnusable(Invalid):
    """This is no backup that can be restored."""


class BackupFailed(Away):
    """The folder of the backup does not take it."""


class Content(NamedTuple):
    """A blob that a backup needs."""

    sha256: str
    size_bytes: int
    crc32: int


class Summary(BaseModel):
    """What a backup is: the file `backup.json`."""

    format: Literal[1] = 1
    made_at: datetime
    weighhouse: str
    schema_revision: str
    database_sha256: str
    contents_sha256: str
    blobs: int
    blobs_bytes: int
    has_blobs: bool
    """Whether the blobs are kept beside it; those of a bucket may be kept otherwise."""
    lacking: list[str]
    """SHA-256 of blobs that were lost or damaged before the backup was made."""
    audit_head: str | None = None
    """The head of the audit trail, as `audit verify --head` takes it; `None` while nothing was sealed."""


class Backup(NamedTuple):
    """A whole backup."""

    path: Path
    summary: Summary

    def contents(self) -> Iterator[Content]:
        """The blobs that it needs, by SHA-256."""
        return read_contents(self.path)

    def blob(self, sha256: str) -> Path:
        """Where a blob is kept; the file may be lacking."""
        return blob_path(self.path.parent, sha256)


def read_contents(path: Path) -> Iterator[Content]:
    """The blobs that a backup needs, by SHA-256."""
    with (path / CONTENTS).open(encoding="ascii") as lines:
        for line in lines:
            sha256, size_bytes, crc32 = line.split()
            yield Content(sha256, int(size_bytes), int(crc32))


def blob_path(folder: Path, sha256: str) -> Path:
    """Where the backups of a folder keep a blob."""
    return folder / blob_key(sha256)


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A new folder for one backup, which gets its name when the block has ended well; else nothing is left of it.

    What a backup that was killed left behind is removed first.

    Raises:
        BackupUnderWay: Another process writes a backup into this folder.
        BackupFailed: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _lock(descriptor)
            for leftover in folder.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(leftover)
            name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
            fresh = folder / f"{_UNFINISHED}{name}"
            fresh.mkdir(mode=0o700)
            try:
                yield fresh
                # Names and links of as many folders as there are blobs: one call for all of them.
                os.sync()
                fresh.rename(folder / name)
                os.fsync(descriptor)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BackupFailed(f"The backup in {folder} could not be written: {error}. Nothing is left of it.") from error


def _lock(descriptor: int) -> None:
    """Keeps others out until the descriptor is closed, or the process ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BackupUnderWay from None


def find_backup(path: Path) -> Backup:
    """The backup at a path, or the newest one in a folder of backups; its own files are compared with their digests.

    Raises:
        BackupUnusable: There is none, it was changed, or a later release made it.
    """
    if not (path / SUMMARY).is_file():
        path = max((summary.parent for summary in path.glob(f"[0-9]*/{SUMMARY}")), default=path)
    try:
        summary = Summary.model_validate_json((path / SUMMARY).read_bytes())
        found = (digest_of(path / DATABASE), digest_of(path / CONTENTS))
    except OSError as error:
        raise BackupUnusable(f"{path} holds no backup: {error.strerror}. Name the folder of one.") from error
    except ValidationError as error:
        raise BackupUnusable(
            f"{path / SUMMARY} is not understood by this release. Restore with the release that made it, or a later one."
        ) from error
    if found != (summary.database_sha256, summary.contents_sha256):
        raise BackupUnusable(f"{path} was changed or damaged since it was made. Take an older one.")
    return Backup(path, summary)


def digest_of(file: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
