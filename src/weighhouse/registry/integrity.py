"""Whether what is kept is what was put in: blobs against their rows, packages against their files."""

import hashlib
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.housekeeping import GRACE, unrecorded_blobs
from weighhouse.rules import manifest
from weighhouse.store.blobs import BlobDamaged, BlobMissing
from weighhouse.store.tables import Blob, Package, PackageFile, TakenVersion

_BATCH = 500
# Of each kind so many are kept in memory and shown; all are counted.
_SHOWN = 1000


class Trouble(StrEnum):
    """What can be wrong with something that is kept."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    ORPHANED = "orphaned"
    CONTRADICTORY = "contradictory"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Args:
        subject: SHA-256 of a blob, or name and version of a package.
        packages: Name and version of those that it does harm to; at most ten.
    """

    trouble: Trouble
    subject: str
    detail: str
    packages: Sequence[str] = ()


@dataclass
class Report:
    """What was looked at, and what was wrong with it."""

    blobs_checked: int = 0
    bytes_read: int = 0
    packages_checked: int = 0
    counts: dict[Trouble, int] = field(default_factory=lambda: dict.fromkeys(Trouble, 0))
    findings: list[Finding] = field(default_factory=list)
    """The first thousand of each kind."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing that belongs to a package is harmed; bytes too many do no harm."""
        return not any(count for trouble, count in self.counts.items() if trouble is not Trouble.ORPHANED)

    def add(self, finding: Finding) -> None:
        """Takes a finding down."""
        self.counts[finding.trouble] += 1
        if self.counts[finding.trouble] <= _SHOWN:
            self.findings.append(finding)


class Kept(NamedTuple):
    """A blob as its row has it."""

    sha256: bytes
    size_bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Sample:
    """How many blobs are read: so many, or a share of all."""

    count: int | None = None
    share: float | None = None

    def of(self, total: int) -> int:
        """Blobs to read out of so many.

        >>> Sample(share=0.01).of(150), Sample(count=10).of(4), Sample().of(7)
        (2, 4, 7)
        """
        wanted = total if self.count is None else self.count
        if self.share is not None:
            wanted = -int(-total * self.share // 1)
        return min(wanted, total)


EVERYTHING = Sample()


class Pace:
    """Holds a reader back to so many bytes a second."""

    def __init__(
        self,
        bytes_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Without a number nothing is held back."""
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def took(self, size_bytes: int) -> None:
        """Returns when so many more bytes may be read; time that was not used up is not made good later."""
        if self._bytes_per_second is None:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + size_bytes / self._bytes_per_second
        self._sleep(self._free_at - now)


def blobs_total(app: App) -> tuple[int, int]:
    """How many blobs are recorded, and their bytes.

    Raises:
        Away: The database does not answer.
    """
    with app.db.read() as tx:
        count, size_bytes = tx.execute(select(func.count(), func.coalesce(func.sum(Blob.size_bytes), 0))).one()
        return count, int(size_bytes)


def verify_registry(
    app: App,
    *,
    sample: Sample = EVERYTHING,
    bytes_per_second: float | None = None,
    grace: timedelta = GRACE,
    moved: Callable[[int], None] = lambda size_bytes: None,
) -> Report:
    """What is wrong with the registry, which may go on serving; the audit log tells that it was looked at.

    Every package's rows are compared. Of the blobs only those of the sample are read.

    Args:
        bytes_per_second: Most bytes that are read in a second.
        grace: Bytes without a row that were kept more lately belong to an upload under way.
        moved: Told how many bytes of blobs are done.

    Raises:
        Away: The database or the store does not answer.
    """
    report = Report()
    pace = Pace(bytes_per_second)
    for kept in _chosen(app, sample):
        finding = _look_at_blob(app, kept, report, pace, moved)
        if finding is not None:
            report.add(finding)
    for sha256, size_bytes in unrecorded_blobs(app, datetime.now(UTC) - grace):
        report.add(Finding(Trouble.ORPHANED, sha256, f"{size_bytes} bytes that no row names"))
    for finding in contradictions(app, report):
        report.add(finding)
    with app.db.write() as tx:
        counts: dict[str, Any] = {str(trouble): count for trouble, count in report.counts.items()}
        record(tx, None, "verify registry", "registry", blobs=report.blobs_checked, bytes=report.bytes_read, **counts)
    return report


def _chosen(app: App, sample: Sample) -> Iterator[Kept]:
    """The blobs of a sample, each with the same chance, in the order of their digests and in flat memory.

    Each one is taken with the chance that the rest of the sample has among the rest of the blobs (Knuth's algorithm S).
    """
    left = blobs_total(app)[0]
    wanted = sample.of(left)
    is_whole = wanted == left
    for kept in _rows(app):
        if is_whole:
            yield kept
        elif random.random() * left < wanted:  # noqa: S311 - a sample, not a secret
            wanted -= 1
            yield kept
        left -= 1


def _rows(app: App) -> Iterator[Kept]:
    after = b""
    while True:
        rows = select(Blob.sha256, Blob.size_bytes, Blob.crc32).where(Blob.sha256 > after)
        with app.db.read() as tx:
            page = [Kept(*row) for row in tx.execute(rows.order_by(Blob.sha256).limit(_BATCH))]
        yield from page
        if len(page) < _BATCH:
            return
        after = page[-1].sha256


def _look_at_blob(app: App, kept: Kept, report: Report, pace: Pace, moved: Callable[[int], None]) -> Finding | None:
    sha256 = kept.sha256.hex()
    report.blobs_checked += 1
    try:
        # Asked for beforehand: a blob that is too long is not read for ever.
        found_bytes = app.blobs.size(sha256)
        fault = f"it has {found_bytes} bytes instead of {kept.size_bytes}" if found_bytes != kept.size_bytes else None
        if fault is None:
            fault = _read(app, kept, report, pace, moved)
    except BlobDamaged:
        fault = f"it ends before its {kept.size_bytes} bytes"
    except BlobMissing:
        return _if_still_there(app, kept)
    if fault is None:
        return None
    with app.db.read() as tx:
        return Finding(Trouble.CORRUPT, sha256, fault, _holders(tx, kept.sha256))


def _read(app: App, kept: Kept, report: Report, pace: Pace, moved: Callable[[int], None]) -> str | None:
    """What is wrong with the bytes of a blob."""
    digest, crc32 = hashlib.sha256(), 0
    for chunk in app.blobs.read(kept.sha256.hex(), 0, kept.size_bytes):
        digest.update(chunk)
        crc32 = zlib.crc32(chunk, crc32)
        report.bytes_read += len(chunk)
        moved(len(chunk))
        pace.took(len(chunk))
    if digest.digest() != kept.sha256:
        return f"its bytes have the SHA-256 {digest.hexdigest()}"
    if crc32 != kept.crc32:
        return f"its row has the CRC-32 {kept.crc32:08x}, its bytes have {crc32:08x}"
    return None


def _if_still_there(app: App, kept: Kept) -> Finding | None:
    """A finding, unless the blob was swept just now: the bytes go before the row does, and the lock waits for both."""
    with app.db.write() as tx:
        row = select(Blob.sha256).where(Blob.sha256 == kept.sha256).with_for_update(key_share=True, read=True)
        if tx.scalar(row) is None or app.blobs.exists(kept.sha256.hex()):
            return None
        return Finding(Trouble.MISSING, kept.sha256.hex(), "the store does not hold it", _holders(tx, kept.sha256))


def _holders(tx: Session, sha256: bytes) -> Sequence[str]:
    holds = select(PackageFile.package_id).where(PackageFile.sha256 == sha256)
    packages = select(Package.name, Package.version).where(Package.id.in_(holds)).order_by(Package.id).limit(10)
    return [f"{name} {version}" for name, version in tx.execute(packages)]


def contradictions(app: App, report: Report) -> Iterator[Finding]:
    """Packages whose rows do not go together: manifest digest, size and count of files, sizes of blobs.

    Args:
        report: Its count of packages goes up.

    Raises:
        Away: The database does not answer.
    """
    for package_id, subject in _packages(app):
        with app.db.read() as tx:
            faults = _faults(tx, package_id)
        report.packages_checked += 1
        if faults:
            yield Finding(Trouble.CONTRADICTORY, subject, "; ".join(faults), (subject,))


def _packages(app: App) -> Iterator[tuple[UUID, str]]:
    after = UUID(int=0)
    while True:
        page = select(Package.id, Package.name, Package.version).where(Package.id > after)
        with app.db.read() as tx:
            rows = tx.execute(page.order_by(Package.id).limit(_BATCH)).all()
        yield from ((row.id, f"{row.name} {row.version}") for row in rows)
        if len(rows) < _BATCH:
            return
        after = rows[-1].id


def _faults(tx: Session, package_id: UUID) -> Sequence[str]:
    """What does not go together; nothing for a package that is gone by now. One statement, so one instant."""
    published = tuple_(Package.name_key, Package.version) == tuple_(TakenVersion.name_key, TakenVersion.version)
    statement = (
        select(
            Package.manifest_sha256,
            Package.size_bytes.label("package_bytes"),
            Package.files_count,
            TakenVersion.manifest_sha256.label("taken_sha256"),
            PackageFile.path,
            PackageFile.sha256,
            PackageFile.size_bytes,
            Blob.size_bytes.label("blob_bytes"),
            Blob.crc32,
        )
        .join(TakenVersion, published)
        .outerjoin(PackageFile, PackageFile.package_id == Package.id)
        .outerjoin(Blob, Blob.sha256 == PackageFile.sha256)
        .where(Package.id == package_id)
    )
    rows = tx.execute(statement).all()
    if not rows:
        return []
    first = rows[0]
    files = [
        manifest.File(row.path, row.size_bytes, row.sha256.hex(), row.crc32, manifest.component_of(row.path))
        for row in rows
        if row.path is not None
    ]
    checks: Mapping[str, bool] = {
        "its files are not those of its manifest": manifest.digest(files) == first.manifest_sha256.hex(),
        "its version was taken with another manifest": first.taken_sha256 == first.manifest_sha256,
        "its number of files is wrong": len(files) == first.files_count,
        "its size is wrong": sum(file.size_bytes for file in files) == first.package_bytes,
        "a file and its blob differ in size": all(row.size_bytes == row.blob_bytes for row in rows if row.path),
    }
    return [fault for fault, is_right in checks.items() if not is_right]
