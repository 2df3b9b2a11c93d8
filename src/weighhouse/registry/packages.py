"""Describe, release and delete a package."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, delete, func, literal_column, select, update
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.housekeeping import sweep_blobs
from weighhouse.registry.paging import Page, page_of
from weighhouse.registry.visible import LISTED, PackageNotFound, find_package, is_quarantined, is_visible_to
from weighhouse.registry.zips import remove_zips, zip_keys
from weighhouse.rules.errors import Away, Conflict
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.store.blobs import package_key
from weighhouse.store.database import compiled
from weighhouse.store.tables import Evaluation, Package, PackageFile, TakenVersion

FILES_SHOWN = 1000

_log = logging.getLogger(__name__)


class NotQuarantined(Conflict):
    """The package is not in quarantine."""

    def __init__(self) -> None:
        super().__init__("This package is not in quarantine, so there is nothing to release.")


@dataclass(frozen=True)
class Description:
    """Everything that is known of a package, at one instant."""

    package: Row[Any]
    """Its columns by name, and those of its evaluation, `None` where it has none."""
    downloads: int
    average_rating: float | None
    ratings: int
    metrics: Sequence[Mapping[str, Any]]
    files: Sequence[Mapping[str, Any]]
    """The first 1,000, by path."""
    components: Sequence[str]
    parents: Sequence[Mapping[str, Any]]


# Parts of one statement, so that all are of one instant and cost one round trip; PostgreSQL builds the lists.
_PARTS = {
    "downloads": "SELECT downloads FROM download_counts WHERE package_id = packages.id",
    "ratings": """
        SELECT json_build_array(round(avg(score), 2)::float8, count(*)) FROM ratings WHERE package_id = packages.id""",
    "metrics": """
        SELECT json_agg(json_build_object(
          'metric', metric, 'version', version, 'status', status, 'score', score, 'latency_ms', latency_ms,
          'method', method, 'reason_code', reason_code, 'reasons', reasons, 'inputs', inputs, 'sources', sources))
        FROM metrics WHERE evaluation_id = packages.evaluation_id""",
    "files": f"""
        SELECT json_agg(json_build_object(
          'path', path, 'size_bytes', size_bytes, 'sha256', encode(sha256, 'hex'),
          'component', component, 'verdict', verdict, 'reasons', reasons))
        FROM (SELECT * FROM files WHERE package_id = packages.id ORDER BY path LIMIT {FILES_SHOWN}) f""",
    "components": "SELECT array_agg(DISTINCT component) FROM files WHERE package_id = packages.id",
    "parents": f"""
        SELECT json_agg(json_build_object(
          'id', t.id, 'name', coalesce(t.name, l.parent_name), 'version', t.version,
          'relationship_type', l.relationship_type, 'named_in', l.named_in) ORDER BY l.parent_key)
        FROM lineage l LEFT JOIN LATERAL (
          SELECT id, name, version FROM packages t
          WHERE (t.name_key = l.parent_key OR t.model_key = l.parent_key) AND t.id <> packages.id
            AND {LISTED.format(row="t")}
          ORDER BY t.name_key = l.parent_key DESC, t.version_key DESC LIMIT 1) t ON true
        WHERE l.package_id = packages.id""",
}
_COLUMNS = (
    *(column for column in Package.__table__.columns if column.name not in {"name_key", "version_key", "model_key"}),
    *(Evaluation.metrics_version, Evaluation.as_of, Evaluation.coverage, Evaluation.net_low, Evaluation.net_high),
    *(literal_column(f"({query})").label(name) for name, query in _PARTS.items()),
)
_DESCRIBE = compiled(
    select(*_COLUMNS)
    .outerjoin(Evaluation, Evaluation.id == Package.evaluation_id)
    .where(Package.id == bindparam("package_id"), is_visible_to(bindparam("user_id"), bindparam("is_admin")))
)


def describe_package(tx: Session, caller: Caller, package_id: UUID) -> Description:
    """A package with its scores, files, parents and figures.

    Raises:
        PermissionMissing: The caller may not search.
        PackageNotFound: There is none, or the caller may not see it.
    """
    caller.require(Permission.SEARCH)
    asked = {"package_id": package_id, "user_id": caller.user_id, "is_admin": caller.is_admin}
    row = tx.connection().exec_driver_sql(_DESCRIBE.string, _DESCRIBE.params | asked).one_or_none()
    if row is None:
        raise PackageNotFound(package_id)
    return Description(
        package=row,
        downloads=row.downloads or 0,
        average_rating=row.ratings[0],
        ratings=row.ratings[1],
        metrics=row.metrics or [],
        files=row.files or [],
        components=row.components or [],
        parents=row.parents or [],
    )


def storage_path(app: App, package: Package) -> str:
    """The address of a package's ZIP in the store."""
    key = package_key(package.name, package.version)
    return app.zips.location(key) if app.zips is not None else f"local:///{key}"


def list_files(
    tx: Session, caller: Caller, package_id: UUID, *, cursor: str | None = None, limit: int = 50
) -> Page[PackageFile]:
    """The files of a package's manifest, by path.

    Args:
        cursor: The path of the last file seen.

    Raises:
        PermissionMissing: The caller may not search.
        PackageNotFound: There is none, or the caller may not see it.
    """
    caller.require(Permission.SEARCH)
    package = find_package(tx, caller, package_id)
    query = select(PackageFile).where(PackageFile.package_id == package_id).order_by(PackageFile.path).limit(limit + 1)
    if cursor is not None:
        query = query.where(PackageFile.path > cursor)
    return page_of(tx.scalars(query).all(), limit, lambda file: file.path, total=package.files_count)


def release_package(tx: Session, caller: Caller, package_id: UUID, reason: str) -> Package:
    """Frees a package from quarantine; who did it and why stays in the audit log.

    Raises:
        PermissionMissing: The caller is no admin.
        PackageNotFound: There is no such package.
        NotQuarantined: It is not in quarantine.
    """
    caller.require(Permission.ADMIN)
    package = find_package(tx, caller, package_id, lock=True)
    if not is_quarantined(package):
        raise NotQuarantined
    tx.execute(update(Package).where(Package.id == package_id).values(released_at=func.now(), release_reason=reason))
    subject = f"package {package.name} {package.version}"
    record(tx, caller, "release package", subject, package_id=package_id, reason=reason)
    tx.refresh(package)
    return package


def delete_package(app: App, caller: Caller, package_id: UUID, *, release: bool = False) -> Package:
    """Removes a package, and the files that no other package holds. Its version stays taken unless released.

    The rows go first, in one transaction: from then on nobody sees the package. A store that fails afterwards leaves
    bytes that nothing names, which the next sweep removes.

    Args:
        release: Whether the version may be published again, with other content.

    Raises:
        PermissionMissing: The caller is no admin.
        PackageNotFound: There is no such package.
    """
    caller.require(Permission.ADMIN)
    with app.db.write() as tx:
        package = find_package(tx, caller, package_id, lock=True)
        zips = zip_keys(tx, package_id)
        blobs = tx.scalars(select(PackageFile.sha256).where(PackageFile.package_id == package_id).distinct()).all()
        tx.execute(delete(Package).where(Package.id == package_id))
        if release:
            tx.execute(
                delete(TakenVersion).where(
                    TakenVersion.name_key == package.name_key, TakenVersion.version == package.version
                )
            )
        subject = f"package {package.name} {package.version}"
        record(tx, caller, "delete package", subject, package_id=package_id, release=release)
    try:
        remove_zips(app, zips)
        sweep_blobs(app, blobs)
    except Away as away:
        _log.warning("deleted %s %s, its files wait for the next sweep: %s", package.name, package.version, away)
    return package
