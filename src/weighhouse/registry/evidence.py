"""The evidence of a package: its files, what this registry knows of its parents, and what the world says of it."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.demonstration import open_demonstration
from weighhouse.registry.evidence_cache import DatabaseCache
from weighhouse.registry.subject import Subject
from weighhouse.rules.errors import Malformed
from weighhouse.rules.evidence import Parent
from weighhouse.rules.manifest import Component, File
from weighhouse.rules.parents import ParentRef
from weighhouse.rules.urls import HubId, hub_id
from weighhouse.sources.budget import Budget
from weighhouse.sources.gather import PackageSources
from weighhouse.sources.hub import HubSource
from weighhouse.sources.repository import GitRepositories
from weighhouse.store.tables import Blob, LineageEdge, MetricRow, Package, PackageFile


def find_subject(tx: Session, package_id: UUID) -> Subject | None:
    """The package to be weighed, `None` when it is gone."""
    package = tx.get(Package, package_id)
    if package is None:
        return None
    return Subject(
        name=package.name,
        files=_files(tx, package_id),
        package_id=package_id,
        model_url=package.model_url,
        dataset_url=package.dataset_url,
        code_url=package.code_url,
        revision=package.source_revision,
        verdict=package.verdict,
    )


@contextlib.contextmanager
def open_evidence(app: App, subject: Subject) -> Iterator[PackageSources]:
    """The evidence of a subject, its connections open within the block; its files' bytes are in the store."""

    def read(sha256: str, start: int, length: int) -> bytes:
        return b"".join(app.blobs.read(sha256, start, length))

    def look_up(references: Sequence[ParentRef]) -> Sequence[Parent]:
        with app.db.read(snapshot=True) as tx:
            return list(_parents(tx, subject.package_id, references))

    settings, budget, cache = app.settings, Budget(), DatabaseCache(app.db)
    with (
        HubSource(
            endpoint=settings.hf_endpoint,
            token=settings.hf_token.get_secret_value() if settings.hf_token else None,
            cache=cache,
            budget=budget,
            revisions=_revisions(subject, settings.hf_endpoint),
        ) as hub,
        GitRepositories(
            api_url=settings.github_api_url,
            token=settings.github_token.get_secret_value() if settings.github_token else None,
            cache=cache,
            budget=budget,
        ) as repositories,
        open_demonstration(app, subject, _model_id(subject, settings.hf_endpoint)) as demonstration,
    ):
        yield PackageSources(
            name=subject.name,
            files=subject.files,
            read=read,
            look_up=look_up,
            model_url=subject.model_url,
            dataset_url=subject.dataset_url,
            code_url=subject.code_url,
            hub=hub,
            repositories=repositories,
            hub_endpoint=settings.hf_endpoint,
            try_out=demonstration.run if demonstration else None,
        )


def _revisions(subject: Subject, endpoint: str) -> Mapping[str, str]:
    """The revision of the model that the subject is: the one it was taken from, else the one its address names."""
    found = _hub_id(subject, endpoint)
    revision = subject.revision or (found.revision if found else None)
    return {found.id: revision} if found and revision else {}


def _model_id(subject: Subject, endpoint: str) -> str:
    """The id by which cards load the model."""
    found = _hub_id(subject, endpoint)
    return found.id if found else subject.name


def _hub_id(subject: Subject, endpoint: str) -> HubId | None:
    try:
        return hub_id(subject.model_url, "model_url", endpoint=endpoint) if subject.model_url else None
    except Malformed:
        return None


def _files(tx: Session, package_id: UUID) -> Sequence[File]:
    query = (
        select(PackageFile.path, PackageFile.size_bytes, PackageFile.sha256, Blob.crc32, PackageFile.component)
        .join(Blob, Blob.sha256 == PackageFile.sha256)
        .where(PackageFile.package_id == package_id)
        .order_by(PackageFile.path)
    )
    return [File(row[0], row[1], row[2].hex(), row[3], Component(row[4])) for row in tx.execute(query)]


def _parents(tx: Session, package_id: UUID | None, references: Sequence[ParentRef]) -> Iterator[Parent]:
    """What the registry knows of each parent: the newest version of that name, or the package of that model."""
    keys = [reference.name.lower() for reference in references]
    size = MetricRow.inputs["weights_bytes"].as_integer().label("weights_bytes")
    weighed = and_(MetricRow.evaluation_id == Package.evaluation_id, MetricRow.metric == "size_score")
    query = (
        select(Package.id, Package.name_key, Package.model_key, Package.net_score, Package.license, size)
        .outerjoin(MetricRow, weighed)
        .where(or_(Package.name_key.in_(keys), Package.model_key.in_(keys)), Package.id != package_id)
        .order_by(Package.name_key, Package.version_key.desc())
    )
    rows = tx.execute(query).all()
    above = _ancestors(tx, [row.id for row in rows])
    for reference in references:
        key = reference.name.lower()
        named = [row for row in rows if row.name_key == key] or [row for row in rows if row.model_key == key]
        if not named:
            if not reference.maybe_local_name:
                yield Parent(reference.name, reference.relation, reference.named_in)
            continue
        found = named[0]
        yield Parent(
            name=reference.name,
            relation=reference.relation,
            named_in=reference.named_in,
            in_registry=True,
            net_score=found.net_score,
            license=found.license,
            closes_cycle=package_id in above.get(found.id, frozenset()),
            weights_bytes=found.weights_bytes,
        )


def _ancestors(tx: Session, package_ids: Sequence[UUID]) -> Mapping[UUID, frozenset[UUID]]:
    """Ids of all ancestors of each of these packages, at most 32 steps up."""
    start = select(Package.id.label("origin"), Package.id.label("id"), Package.id.label("via")).where(
        Package.id.in_(package_ids)
    )
    tree = start.cte("tree", recursive=True)
    parent = select(Package).subquery()
    step = (
        select(tree.c.origin, parent.c.id, LineageEdge.package_id)
        .select_from(tree)
        .join(LineageEdge, LineageEdge.package_id == tree.c.id)
        .join(parent, or_(parent.c.name_key == LineageEdge.parent_key, parent.c.model_key == LineageEdge.parent_key))
    )
    tree = tree.union(step)
    found: dict[UUID, set[UUID]] = {}
    for origin, ancestor in tx.execute(select(tree.c.origin, tree.c.id).distinct()):
        if origin != ancestor:
            found.setdefault(origin, set()).add(ancestor)
    return {origin: frozenset(ancestors) for origin, ancestors in found.items()}
