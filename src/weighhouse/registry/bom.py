"""A package's bill of materials: what it is made of, where it comes from and what it scored."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from weighhouse.registry.packages import Description, describe_package
from weighhouse.rules import bom
from weighhouse.rules.metrics.net import WEIGHTS
from weighhouse.rules.permissions import Caller
from weighhouse.store.tables import PackageFile


@dataclass(frozen=True)
class BillOfMaterials:
    """A bill whose files are not read yet: its tag says whether somebody has it already."""

    subject: bom.Subject
    etag: str


def find_bom(tx: Session, caller: Caller, package_id: UUID) -> BillOfMaterials:
    """The bill of a package, without its files.

    Raises:
        PermissionMissing: The caller may not search.
        PackageNotFound: There is none, or the caller may not see it.
    """
    subject = _subject(describe_package(tx, caller, package_id))
    # The manifest's digest stands for the files, so they need not be read to tell bills apart.
    said = orjson.dumps([subject, _weighhouse_version()], option=orjson.OPT_SORT_KEYS)
    return BillOfMaterials(subject, f'"{hashlib.sha256(said).hexdigest()}"')


def write_bom(tx: Session, found: BillOfMaterials) -> Mapping[str, Any]:
    """The bill as the JSON object of CycloneDX, with every file of the manifest by path."""
    columns = (PackageFile.path, PackageFile.sha256, PackageFile.size_bytes, PackageFile.component)
    query = select(*columns).where(PackageFile.package_id == found.subject.package_id).order_by(PackageFile.path)
    files = (bom.Part(row.path, row.sha256.hex(), row.size_bytes, row.component) for row in tx.execute(query))
    return bom.bill_of_materials(found.subject, files, _weighhouse_version())


def _subject(description: Description) -> bom.Subject:
    package = description.package
    return bom.Subject(
        package_id=package.id,
        name=package.name,
        version=package.version,
        description=package.description,
        license=package.license,
        manifest_sha256=package.manifest_sha256.hex(),
        uploaded_at=package.uploaded_at,
        verdict=package.verdict,
        evaluated_at=package.as_of,
        metrics_version=package.metrics_version,
        net_score=package.net_score,
        coverage=package.coverage,
        metrics=_metrics(description),
        parents=[_parent(parent) for parent in description.parents],
        model_url=package.model_url,
        dataset_url=package.dataset_url,
        code_url=package.code_url,
        signature=package.signature and package.signature["state"],
    )


def _metrics(description: Description) -> list[bom.Metric]:
    """Heaviest first, so that the order is always the same."""
    rows = sorted(description.metrics, key=lambda row: (-WEIGHTS.get(row["metric"], 0), row["metric"]))
    return [bom.Metric(row["metric"], row["version"], row["status"], row["score"], row["reasons"]) for row in rows]


def _parent(row: Mapping[str, Any]) -> bom.Parent:
    package_id = UUID(row["id"]) if row["id"] is not None else None
    return bom.Parent(row["name"], row["relationship_type"], package_id, row["version"])


def _weighhouse_version() -> str:
    return version("weighhouse")
