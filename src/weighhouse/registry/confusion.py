"""Names that look like another, and weights that are another's: found at the upload, put on record, listed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.monitor import in_utc
from weighhouse.registry.paging import Page, page_of
from weighhouse.registry.visible import LISTED
from weighhouse.rules import manifest
from weighhouse.rules.errors import Denied
from weighhouse.rules.known_lookalikes import known_lookalikes
from weighhouse.rules.lookalike_probes import probes_of
from weighhouse.rules.lookalikes import Finding, LookalikeKind, Severity, finding, kind_of_likeness
from weighhouse.rules.names import name_key, namespace_of
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.store.tables import WHOLE_KEY, ConfusionAudit, User

SHOWN = 20
"""Findings of one upload that are kept, the gravest."""

MIN_WEIGHT_BYTES = 1024
"""A smaller file is nobody's weights: many models share such ones."""

# The number is arbitrary; it only has to be this program's own, and that of no other of its locks.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7235922)")

# Each kind of key with a limit of its own: names in a thousand namespaces do not crowd out the one that is nearest. What the
# candidates are used comes with them, so that all of it is one statement.
_CANDIDATES = text(
    f"""
    WITH others AS (
      (SELECT name, name_key FROM package_names WHERE {WHOLE_KEY} = ANY(:whole_exact) AND {{of_others}} LIMIT 100)
      UNION (SELECT name, name_key FROM package_names WHERE lookalike_key = ANY(:exact) AND {{of_others}} LIMIT 100)
      UNION (SELECT name, name_key FROM package_names WHERE {WHOLE_KEY} = ANY(:whole_edited) AND {{of_others}} LIMIT 100)
      UNION (SELECT name, name_key FROM package_names WHERE lookalike_key = ANY(:edited) AND {{of_others}} LIMIT 100)
      UNION (SELECT name, name_key FROM package_names WHERE swapped_key = :swapped AND {{of_others}} LIMIT 100))
    SELECT name, coalesce((SELECT sum(downloads) FROM packages p JOIN download_counts c ON c.package_id = p.id
                           WHERE p.name_key = others.name_key), 0)::bigint AS downloads
    FROM others
    """.format(of_others="owner_id IS DISTINCT FROM :user_id AND name_key <> :name_key")
)
# Only what search shows: a package in quarantine is not told of. A content that this name had before was told of then.
_SAME_WEIGHTS = text(
    """
    SELECT p.name, max(p.name_key) AS name_key,
      coalesce((SELECT sum(downloads) FROM packages q JOIN download_counts c ON c.package_id = q.id
                WHERE q.name_key = max(p.name_key)), 0)::bigint AS downloads
    FROM (SELECT p.* FROM files f JOIN packages p ON p.id = f.package_id
          WHERE f.sha256 = ANY(:digests) AND p.name_key <> :name_key AND p.uploader_id IS DISTINCT FROM :user_id
            AND {listed} LIMIT 200) p
    GROUP BY p.name LIMIT 20
    """.format(listed=LISTED.format(row="p"))
)
_KNOWN_HERE = text(
    "SELECT DISTINCT sha256 FROM files f JOIN packages p ON p.id = f.package_id "
    "WHERE p.name_key = :name_key AND p.id <> :package_id AND f.sha256 = ANY(:digests)"
)


class NameConfusing(Denied):
    """The name looks like one that is already here."""

    def __init__(self, found: Finding) -> None:
        super().__init__(f"{found.reason} Choose a name that cannot be confused with it.")
        self.similar_name = found.existing
        self.kind = found.kind.value
        self.severity = found.severity.value


@dataclass(frozen=True)
class Noticed:
    """A finding on record, with the name of who uploaded, `None` when the user is gone."""

    row: ConfusionAudit
    username: str | None


def find_confusions(
    tx: Session, caller: Caller, name: str, package_id: UUID, files: Sequence[manifest.File], *, is_new: bool
) -> Sequence[Finding]:
    """What the name of a package that was just recorded, and its weights, can be taken for; the gravest first.

    Of two uploads of names that look alike, the one that commits second sees the first: until this transaction ends no other
    upload of a new name gets here. It is the last thing that a transaction does, so the others wait for milliseconds.

    Args:
        is_new: Whether this is the first upload of the name.
    """
    is_own = (namespace_of(name) or "").lower() == caller.username.lower()
    found = _same_weights(tx, caller, name, package_id, files, is_own_namespace=is_own)
    if is_new:
        tx.execute(_ONE_AT_A_TIME)
        found = [*find_lookalikes(tx, caller, name, is_own_namespace=is_own), *found]
    return sorted(found, key=lambda one: (list(Severity).index(one.severity), one.downloads), reverse=True)[:SHOWN]


def find_lookalikes(tx: Session, caller: Caller, name: str, *, is_own_namespace: bool = False) -> list[Finding]:
    """Names of others, and well-known ones, that this one may be taken for; in no order."""
    probes = probes_of(name)
    keys: Mapping[str, Any] = {
        "exact": list(probes.exact),
        "edited": list(probes.edited),
        "whole_exact": list(probes.whole_exact),
        "whole_edited": list(probes.whole_edited),
        "swapped": probes.swapped,
        "user_id": caller.user_id,
        "name_key": name_key(name),
    }
    found = [
        finding(name, row.name, kind, downloads=row.downloads, is_own_namespace=is_own_namespace)
        for row in tx.execute(_CANDIDATES, keys)
        if (kind := kind_of_likeness(name, row.name)) is not None
    ]
    here = {one.existing.lower() for one in found}
    known = known_lookalikes(name, is_own_namespace=is_own_namespace)
    return found + [one for one in known if one.existing.lower() not in here]


def _same_weights(
    tx: Session, caller: Caller, name: str, package_id: UUID, files: Sequence[manifest.File], *, is_own_namespace: bool
) -> list[Finding]:
    digests = {
        bytes.fromhex(file.sha256)
        for file in files
        if file.component is manifest.Component.WEIGHTS and file.size_bytes >= MIN_WEIGHT_BYTES
    }
    if not digests:
        return []
    asked = {"name_key": name_key(name), "package_id": package_id, "user_id": caller.user_id}
    digests -= set(tx.scalars(_KNOWN_HERE, asked | {"digests": list(digests)}))
    if not digests:
        return []
    kind = LookalikeKind.SAME_WEIGHTS
    return [
        finding(name, row.name, kind, downloads=row.downloads, is_own_namespace=is_own_namespace)
        for row in tx.execute(_SAME_WEIGHTS, asked | {"digests": list(digests)})
    ]


def require_clear(app: App, caller: Caller, findings: Sequence[Finding]) -> None:
    """Returns unless this registry refuses names that are as easily confused; admins are let through.

    Raises:
        NameConfusing: It does.
    """
    least = app.settings.confusion_block
    if least == "off" or caller.is_admin:
        return
    for found in findings:
        if found.severity.reaches(Severity(least)):
            raise NameConfusing(found)


def noticed(
    caller: Caller, name: str, found: Finding, *, package_id: UUID | None = None, is_blocked: bool = False
) -> ConfusionAudit:
    """The row that puts a finding on record."""
    return ConfusionAudit(
        package_id=package_id,
        name=name,
        similar_name=found.existing,
        kind=found.kind.value,
        severity=found.severity.value,
        similar_downloads=found.downloads,
        is_well_known=found.is_well_known,
        reason=found.reason,
        uploader_id=caller.user_id,
        is_blocked=is_blocked,
    )


def list_confusions(
    tx: Session,
    caller: Caller,
    *,
    severity: Severity | None = None,
    kind: LookalikeKind | None = None,
    name: str | None = None,
    similar_name: str | None = None,
    uploader: str | None = None,
    is_blocked: bool | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    cursor: UUID | None = None,
    limit: int = 50,
) -> Page[Noticed]:
    """What was noticed, newest first.

    Args:
        severity: The mildest shown.
        name, similar_name, uploader: Exactly these, whatever the letter case.
        cursor: Id of the last one seen.

    Raises:
        PermissionMissing: The caller is no admin.
    """
    caller.require(Permission.ADMIN)
    row = ConfusionAudit
    where: list[ColumnElement[bool]] = []
    if severity is not None:
        where.append(row.severity.in_([one.value for one in Severity if one.reaches(severity)]))
    if kind is not None:
        where.append(row.kind == kind.value)
    if is_blocked is not None:
        where.append(row.is_blocked == is_blocked)
    for column, wanted in ((row.name, name), (row.similar_name, similar_name), (User.username, uploader)):
        if wanted is not None:
            where.append(func.lower(column) == wanted.lower())
    if start is not None:
        where.append(row.noticed_at >= in_utc(start))
    if end is not None:
        where.append(row.noticed_at <= in_utc(end))
    joined = select(row, User.username).outerjoin(User, User.id == row.uploader_id).where(*where)
    total = tx.scalar(select(func.count()).select_from(joined.subquery())) or 0
    # Ids are in the order of time.
    query = joined.order_by(row.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(row.id < cursor)
    rows = [Noticed(found, username) for found, username in tx.execute(query)]
    return page_of(rows, limit, lambda one: str(one.row.id), total=total)
