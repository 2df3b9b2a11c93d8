"""Signed statements of what a package scored, which hold without the registry."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from uuid import UUID

from sqlalchemy import select

from weighhouse.app import App
from weighhouse.registry.packages import Description, describe_package
from weighhouse.registry.statement_keys import statement_key
from weighhouse.rules.dsse import envelope
from weighhouse.rules.errors import Conflict
from weighhouse.rules.keys import key_id
from weighhouse.rules.metrics.net import WEIGHTS
from weighhouse.rules.permissions import Caller
from weighhouse.rules.score_statement import Scores, score_statement
from weighhouse.store.tables import PackageFile


class NotWeighed(Conflict):
    """The package was not weighed yet, so there is nothing to state."""

    def __init__(self, package_id: UUID) -> None:
        super().__init__("This package is not weighed yet. Its metadata says when it is; ask again then.")
        self.package_id = package_id


def state_scores(app: App, caller: Caller, package_id: UUID) -> dict[str, Any]:
    """A DSSE envelope with what the package's last evaluation found, signed now.

    Raises:
        PermissionMissing: The caller may not search.
        PackageNotFound: There is no such package, or the caller may not see it.
        NotWeighed: It has no evaluation.
        Away: The database does not answer.
    """
    with app.db.read(snapshot=True) as tx:
        scores = _scores(describe_package(tx, caller, package_id))
        query = select(PackageFile.path, PackageFile.sha256).where(PackageFile.package_id == package_id)
        files = [(row.path, row.sha256.hex()) for row in tx.execute(query.order_by(PackageFile.path))]
    key = statement_key(app)
    statement = score_statement(
        scores,
        files,
        weighhouse_version=version("weighhouse"),
        registry=app.settings.public_url,
        at=datetime.now(UTC),
    )
    return envelope(statement, key, key_id(key.public_key()))


def _scores(description: Description) -> Scores:
    package = description.package
    if package.evaluation_id is None:
        raise NotWeighed(package.id)
    return Scores(
        package_id=package.id,
        name=package.name,
        version=package.version,
        manifest_sha256=package.manifest_sha256.hex(),
        verdict=package.verdict,
        evaluation_id=package.evaluation_id,
        evaluated_at=package.as_of,
        metrics_version=package.metrics_version,
        net_score=package.net_score,
        net_low=package.net_low,
        net_high=package.net_high,
        coverage=package.coverage,
        metrics=sorted(description.metrics, key=lambda row: (-WEIGHTS.get(row["metric"], 0), row["metric"])),
    )
