"""Scans: every content once a version of the scanner, and what becomes of the packages that have it."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.housekeeping import sweep_blobs
from weighhouse.registry.visible import is_listed, is_quarantined
from weighhouse.registry.zips import remove_zips, zip_keys
from weighhouse.rules.errors import Away, Invalid
from weighhouse.rules.manifest import File
from weighhouse.rules.scan.scanner import SCANNER_VERSION
from weighhouse.rules.scan.verdict import Finding, Level, Verdict, worst
from weighhouse.sources.scanning import Scanned
from weighhouse.store.blobs import BlobDamaged, BlobMissing
from weighhouse.store.tables import (
    AuditEntry,
    BlobScan,
    ComposedZip,
    Package,
    PackageFile,
    RefusedPackage,
    TakenVersion,
)

SCANNER = int(SCANNER_VERSION)

MAX_ATTEMPTS = 3
"""How often a content is tried whose scan ends without a verdict."""

PACKAGE_SECONDS = 15 * 60.0
"""How long one package is scanned; the rest of it is `unscanned` until the background comes to it."""

_HELD = frozenset({"quarantine", "refuse"})
_SHOWN = 20
_ROWS, _STORE_SECONDS, _PACKAGES = 500, 2.0, 50

_CURRENT = """
    LEFT JOIN blob_scans s ON s.sha256 = g.sha256 AND s.name = regexp_replace(g.path, '^.*/', '') COLLATE "C"
      AND s.scanner_version = :version"""

# Of these packages, in the order of their contents, from one content on.
_LACKING = text(f"""
    SELECT DISTINCT g.sha256, regexp_replace(g.path, '^.*/', '') COLLATE "C" AS name, g.size_bytes
    FROM files g {_CURRENT}
    WHERE g.package_id = ANY(:ids) AND (s.sha256 IS NULL OR s.fault IS NOT NULL AND s.attempts < {MAX_ATTEMPTS})
      AND (g.sha256, regexp_replace(g.path, '^.*/', '') COLLATE "C") > (:sha256, :name)
    ORDER BY 1, 2 LIMIT {_ROWS}
""")

_SUMMARY = text(f"""
    SELECT g.package_id, array_agg(DISTINCT coalesce(s.verdict, 'unscanned')) AS verdicts, bool_or(s.sha256 IS NULL) AS is_cut,
      bool_or(s.sha256 IS NULL OR s.fault IS NOT NULL AND s.attempts < {MAX_ATTEMPTS}) AS is_open
    FROM files g {_CURRENT} WHERE g.package_id = ANY(:ids) GROUP BY g.package_id
""")

_TELL_FILES = text(f"""
    UPDATE files f SET verdict = told.verdict, reasons = told.reasons
    FROM (
      SELECT g.package_id, g.path, coalesce(s.verdict, 'unscanned') AS verdict, CASE
        WHEN s.sha256 IS NULL THEN '["The file was not scanned yet."]'::jsonb
        ELSE (SELECT coalesce(jsonb_agg(concat(one ->> 'inner_path' || ': ', one ->> 'message',
            ' (byte ' || (one ->> 'position') || ')') ORDER BY one ->> 'level' <> s.verdict, number), '[]')
          FROM (SELECT one, number FROM jsonb_array_elements(s.reasons) WITH ORDINALITY AS r (one, number)
            WHERE one ->> 'level' <> 'safe' ORDER BY one ->> 'level' <> s.verdict, number LIMIT {_SHOWN}) AS few)
        END AS reasons
      FROM files g {_CURRENT} WHERE g.package_id = ANY(:ids)) AS told
    WHERE f.package_id = told.package_id AND f.path = told.path
      AND (f.verdict, f.reasons) IS DISTINCT FROM (told.verdict, told.reasons)
""")

_log = logging.getLogger(__name__)


class PackageRefused(Invalid):
    """This registry takes no package with such files."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(
            "The scan of its files keeps this package out of the registry, and nothing of it is kept.", field="file"
        )
        self.reasons = reasons


@dataclass(frozen=True)
class Content:
    """What is scanned: bytes, and the last part of the path that a loader finds them under."""

    sha256: bytes
    name: str
    size_bytes: int


def scan_package(app: App, package_id: UUID) -> bool:
    """Scans what was not scanned yet of a package, and does with it what the policy says; whether it is still there.

    Raises:
        Away: The database or the store does not answer.
    """
    _scan_lacking(app, [package_id], time.monotonic() + PACKAGE_SECONDS)
    return package_id in apply_policy(app, [package_id])


def scan_files(app: App, files: Iterable[File]) -> None:
    """Scans what was not scanned yet of files that are no package yet.

    Raises:
        Away: The database or the store does not answer.
    """
    until = time.monotonic() + PACKAGE_SECONDS
    contents = iter(sorted({_key(file): Content(*_key(file), file.size_bytes) for file in files}.items()))
    while batch := dict(islice(contents, _ROWS)):
        is_known = BlobScan.fault.is_(None) | (BlobScan.attempts >= MAX_ATTEMPTS)
        with app.db.read() as tx:
            known = tx.execute(select(BlobScan.sha256, BlobScan.name).where(_these(batch), is_known)).all()
        for row in known:
            batch.pop((row.sha256, row.name), None)
        _scan(app, batch.values(), until)


def objections(app: App, files: Sequence[File]) -> tuple[str, Sequence[str]]:
    """The verdict on files that were scanned, and why the policy does not let them in; no reason when it does.

    Unsafe content never comes in from the hub, whatever the policy says of uploads.
    """
    by_key: dict[tuple[bytes, str], str] = {_key(file): file.path for file in files}
    found: dict[tuple[bytes, str], tuple[str, Sequence[Mapping[str, Any]]]] = {}
    keys = iter(by_key)
    while batch := list(islice(keys, _ROWS)):
        with app.db.read() as tx:
            rows = tx.execute(
                select(BlobScan.sha256, BlobScan.name, BlobScan.verdict, BlobScan.reasons).where(_these(batch))
            )
            found |= {(row.sha256, row.name): (row.verdict, row.reasons) for row in rows}
    verdict = worst([Level(found[key][0]) if key in found else Level.UNSCANNED for key in by_key])
    if verdict != "unsafe" and app.settings.scan_policy[verdict] != "refuse":
        return verdict, ()
    why = [
        f"{by_key[key]}: {one['message']}"
        for key, (level, reasons) in found.items()
        if level == verdict
        for one in reasons
        if one["level"] == verdict
    ]
    return verdict, why[:_SHOWN] or ["A file was not scanned."]


def first_hold(policy: Mapping[str, str]) -> bool | None:
    """Whether a package is kept in quarantine until it is scanned: where it might be refused, or what is unscanned is."""
    return True if "refuse" in policy.values() or policy["unscanned"] in _HELD else None


def require_not_refused(tx: Session, package_id: UUID) -> None:
    """Returns when a package was not refused.

    Raises:
        PackageRefused: It was.
    """
    refused = tx.get(RefusedPackage, package_id)
    if refused is not None:
        raise PackageRefused(refused.reasons)


def rescan(app: App, *, seconds: float = 30.0) -> int:
    """Scans packages whose verdict is of an older scanner, for so long at most; returns how many have a new one.

    What is left is for the next time; no content that was scanned is scanned twice.

    Raises:
        Away: The database or the store does not answer.
    """
    until, done = time.monotonic() + seconds, 0
    is_old = Package.scanner_version.is_(None) | (Package.scanner_version < SCANNER)
    last: UUID | None = None
    while time.monotonic() < until:
        query = select(Package.id).where(is_old, Package.status != "evaluating").order_by(Package.id).limit(_PACKAGES)
        with app.db.read() as tx:
            ids = tx.scalars(query.where(Package.id > last) if last else query).all()
        if not ids:
            break
        _scan_lacking(app, ids, until)
        done += len(apply_policy(app, ids, is_first=False))
        last = ids[-1]
    return done


def apply_policy(app: App, package_ids: Sequence[UUID], *, is_first: bool = True) -> Sequence[UUID]:
    """Gives packages the verdict of their files and does what the policy says; those that have one and are still there.

    Args:
        is_first: Whether a package may be refused, and has a verdict before all of it is scanned.

    Raises:
        Away: The database or the store does not answer.
    """
    with app.db.write() as tx:
        refused = _settle(tx, app.settings.scan_policy, package_ids, is_first=is_first)
        blobs, zips = _remove_refused(tx, refused)
        kept = tx.scalars(
            select(Package.id).where(Package.id.in_(package_ids), Package.scanner_version.is_not(None) | is_first)
        ).all()
    drop_quarantined(app, package_ids)
    if refused:
        try:
            remove_zips(app, zips)
            sweep_blobs(app, blobs)
        except Away as away:
            _log.warning("what refused packages had waits for the next sweep: %s", away)
    return kept


def settle_verdict(tx: Session, policy: Mapping[str, str], package_id: UUID) -> None:
    """Gives a package that is being recorded the verdict of its files, which were scanned before."""
    tx.flush()
    _settle(tx, policy, [package_id], is_first=True)


def drop_quarantined(app: App, package_ids: Sequence[UUID]) -> None:
    """Drops the ZIPs that the bucket holds of those of these packages that are in quarantine: their addresses end.

    The quarantine is committed before, and a row goes after its object. So nobody gets a new address, and whoever tries
    again after an outage finds what is left.

    Raises:
        Away: The database or the store does not answer.
    """
    if app.zips is None:
        return
    held = select(ComposedZip.key).join(Package, Package.id == ComposedZip.package_id)
    with app.db.read() as tx:
        keys = tx.scalars(held.where(Package.id.in_(package_ids), ~is_listed())).all()
    if keys:
        remove_zips(app, keys)
        with app.db.write() as tx:
            tx.execute(
                delete(ComposedZip).where(ComposedZip.key.in_(held.where(Package.id.in_(package_ids), ~is_listed())))
            )


def _settle(
    tx: Session, policy: Mapping[str, str], package_ids: Sequence[UUID], *, is_first: bool
) -> Sequence[tuple[Package, str]]:
    """Writes the verdicts; packages that are to be refused, with their verdict, stay as they are."""
    rows = tx.scalars(select(Package).where(Package.id.in_(package_ids)).order_by(Package.id).with_for_update()).all()
    # A newer release beside this one may have been here.
    packages = {row.id: row for row in rows if (row.scanner_version or 0) <= SCANNER}
    given = {"ids": list(packages), "version": SCANNER}
    summaries = [row for row in tx.execute(_SUMMARY, given) if is_first or not row.is_cut]
    tx.execute(_TELL_FILES, given | {"ids": [row.package_id for row in summaries]})
    refused = []
    for row in summaries:
        package, verdict = packages[row.package_id], worst([Level(one) for one in row.verdicts])
        if is_first and policy[verdict] == "refuse" and _is_new(package):
            refused.append((package, str(verdict)))
        else:
            _judge(tx, package, verdict, policy[verdict], is_open=row.is_open)
    tx.flush()
    return refused


def _is_new(package: Package) -> bool:
    """Whether nobody could download a package yet."""
    return package.scanner_version is None and package.evaluation_id is None and is_quarantined(package)


def _judge(tx: Session, package: Package, verdict: Level, action: str, *, is_open: bool) -> None:
    before, was_held = Level(package.verdict), is_quarantined(package)
    is_worse = verdict is not before and worst([before, verdict]) is verdict
    package.verdict = str(verdict)
    is_held = action in _HELD
    package.is_quarantined = None if is_held == (verdict is Level.UNSAFE) else is_held
    if is_worse:
        # An admin released something better than this.
        package.released_at = package.release_reason = None
    is_changed = package.scanner_version is not None and verdict is not before
    package.scanner_version = None if is_open else SCANNER
    if is_changed or (is_quarantined(package) and not was_held):
        what = "quarantine package" if is_quarantined(package) else "change verdict"
        detail = {"verdict": str(verdict), "before": str(before), "scanner_version": SCANNER}
        tx.add(_entry(package, what, detail))


def _remove_refused(tx: Session, refused: Sequence[tuple[Package, str]]) -> tuple[Sequence[bytes], Sequence[str]]:
    """Removes packages as if they had never come; contents and ZIPs that may go with them."""
    blobs: list[bytes] = []
    zips: list[str] = []
    for package, verdict in refused:
        files = select(PackageFile.path, PackageFile.reasons).where(
            PackageFile.package_id == package.id, PackageFile.verdict == verdict
        )
        reasons = [f"{path}: {one}" for path, said in tx.execute(files.limit(_SHOWN)) for one in said][:_SHOWN]
        blobs += tx.scalars(select(PackageFile.sha256).where(PackageFile.package_id == package.id).distinct())
        zips += zip_keys(tx, package.id)
        tx.add(RefusedPackage(package_id=package.id, reasons=reasons))
        tx.add(_entry(package, "refuse package", {"verdict": verdict, "reasons": reasons}))
        tx.execute(delete(Package).where(Package.id == package.id))
        mine = (TakenVersion.name_key == package.name_key, TakenVersion.version == package.version)
        tx.execute(delete(TakenVersion).where(*mine))
    return blobs, zips


def _entry(package: Package, action: str, detail: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        actor="scanner", action=action, subject=f"package {package.name} {package.version}", detail=detail
    )


def _scan_lacking(app: App, package_ids: Sequence[UUID], until: float) -> None:
    last: tuple[bytes, str] = (b"", "")
    while True:
        given = {"ids": list(package_ids), "version": SCANNER, "sha256": last[0], "name": last[1]}
        with app.db.read() as tx:
            contents = [Content(*row) for row in tx.execute(_LACKING, given)]
        _scan(app, contents, until)
        if len(contents) < _ROWS or time.monotonic() > until:
            return
        last = contents[-1].sha256, contents[-1].name


def _scan(app: App, contents: Iterable[Content], until: float) -> None:
    """Scans contents and stores what was found, a few at a time, so that a worker that follows goes on."""
    rows: list[dict[str, Any]] = []
    stored_at = time.monotonic()
    for content in contents:
        if time.monotonic() > until:
            break
        rows.append(_row(content, _scan_one(app, content)))
        if time.monotonic() - stored_at > _STORE_SECONDS:
            _store(app, rows)
            rows, stored_at = [], time.monotonic()
    _store(app, rows)


def _scan_one(app: App, content: Content) -> Scanned:
    sha256 = content.sha256.hex()

    def read(start: int, length: int) -> bytes:
        return b"".join(app.blobs.read(sha256, start, length))

    try:
        return app.scanning.scan(read, content.name, content.size_bytes)
    except (BlobMissing, BlobDamaged) as error:
        finding = Finding(Level.UNSCANNED, "unreadable", error.detail)
        return Scanned(Verdict(Level.UNSCANNED, (finding,)), 0, "unreadable")


def _row(content: Content, scanned: Scanned) -> dict[str, Any]:
    return {
        "sha256": content.sha256,
        "name": content.name,
        "scanner_version": SCANNER,
        "verdict": str(scanned.verdict.level),
        "reasons": [asdict(finding) for finding in scanned.verdict.findings],
        "size_bytes": content.size_bytes,
        "scan_ms": scanned.milliseconds,
        "fault": scanned.fault if scanned.verdict.level is Level.UNSCANNED else None,
    }


def _store(app: App, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    new = insert(BlobScan)
    changed = {column: new.excluded[column] for column in ("verdict", "reasons", "scan_ms", "fault")}
    upsert = new.on_conflict_do_update(
        index_elements=[BlobScan.sha256, BlobScan.name, BlobScan.scanner_version],
        set_=changed | {"scanned_at": func.now(), "attempts": BlobScan.attempts + 1},
        # A verdict stays, also when another worker stumbled over the same content.
        where=BlobScan.fault.is_not(None),
    )
    with app.db.write() as tx:
        # One order for everybody: no two workers wait for each other.
        tx.execute(upsert, sorted(rows, key=lambda row: (row["sha256"], row["name"])))


def _these(keys: Iterable[tuple[bytes, str]]) -> Any:
    return tuple_(BlobScan.sha256, BlobScan.name).in_(list(keys)) & (BlobScan.scanner_version == SCANNER)


def _key(file: File) -> tuple[bytes, str]:
    return bytes.fromhex(file.sha256), file.path.rpartition("/")[2]
