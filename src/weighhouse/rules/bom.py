"""The bill of materials of a package: a CycloneDX ML-BOM, as the JSON of its specification, version 1.6.

Put together here and not with the specification's own library, which writes no model cards.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from weighhouse.rules.licenses import normalise
from weighhouse.rules.manifest import Component

SPEC_VERSION = "1.6"
MEDIA_TYPE = f"application/vnd.cyclonedx+json; version={SPEC_VERSION}"

_MODEL_REF = "model"


@dataclass(frozen=True)
class Part:
    """A file of the package."""

    path: str
    sha256: str
    size_bytes: int
    component: str


@dataclass(frozen=True)
class Metric:
    """What one metric said; `score` is `None` where it could not, or need not, be judged."""

    name: str
    version: str
    status: str
    score: float | None
    reasons: Sequence[str]


@dataclass(frozen=True)
class Parent:
    """A model that this one was made from; `package_id` and `version` are `None` where the registry does not have it."""

    name: str
    relation: str
    package_id: UUID | None = None
    version: str | None = None


@dataclass(frozen=True)
class Subject:
    """A package without its files, which `manifest_sha256` stands for."""

    package_id: UUID
    name: str
    version: str
    description: str | None
    license: str | None
    manifest_sha256: str
    uploaded_at: datetime
    verdict: str
    evaluated_at: datetime | None
    metrics_version: str | None
    net_score: float | None
    coverage: float | None
    metrics: Sequence[Metric]
    parents: Sequence[Parent]
    model_url: str | None = None
    dataset_url: str | None = None
    code_url: str | None = None
    signature: str | None = None
    """`trusted`, `unknown` or `invalid`; `None` for a package that nobody signed."""


def bill_of_materials(subject: Subject, files: Iterable[Part], weighhouse_version: str) -> dict[str, Any]:
    """The bill of materials; the same package with the same evaluation always has the same.

    Args:
        files: In the order in which they are to be listed.
    """
    parts = [_part(file) for file in files]
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{subject.package_id}",
        "version": 1,
        "metadata": {
            "timestamp": _moment(subject.evaluated_at or subject.uploaded_at),
            "tools": {"components": [{"type": "application", "name": "weighhouse", "version": weighhouse_version}]},
            "component": _model(subject),
        },
        "components": parts,
        "dependencies": [{"ref": _MODEL_REF, "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def _model(subject: Subject) -> dict[str, Any]:
    card: dict[str, Any] = {
        "quantitativeAnalysis": {"performanceMetrics": _figures(subject)},
        "properties": list(_details(subject)),
    }
    if subject.dataset_url:
        data = {"type": "dataset", "name": subject.dataset_url, "contents": {"url": subject.dataset_url}}
        card["modelParameters"] = {"datasets": [data]}
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL_REF,
        "name": subject.name,
        "version": subject.version,
        "modelCard": card,
        "properties": [
            _property("weighhouse:package_id", str(subject.package_id)),
            _property("weighhouse:manifest_sha256", subject.manifest_sha256),
            _property("weighhouse:verdict", subject.verdict),
        ],
    }
    if subject.signature is not None:
        model["properties"].append(_property("weighhouse:signature", subject.signature))
    if subject.description:
        model["description"] = subject.description
    if subject.license:
        model["licenses"] = [_license(subject.license)]
    if links := list(_links(subject)):
        model["externalReferences"] = links
    if subject.parents:
        model["pedigree"] = {"ancestors": [_ancestor(parent) for parent in subject.parents]}
    return model


def _figures(subject: Subject) -> list[dict[str, str]]:
    scores = {"net_score": subject.net_score} | {metric.name: metric.score for metric in subject.metrics}
    return [{"type": f"weighhouse:{name}", "value": str(score)} for name, score in scores.items() if score is not None]


def _details(subject: Subject) -> Iterable[dict[str, str]]:
    if subject.metrics_version is not None:
        yield _property("weighhouse:metrics_version", subject.metrics_version)
    if subject.coverage is not None:
        yield _property("weighhouse:coverage", str(subject.coverage))
    for metric in subject.metrics:
        yield _property(f"weighhouse:{metric.name}:status", metric.status)
        for reason in metric.reasons:
            yield _property(f"weighhouse:{metric.name}:reason", reason)


def _license(stated: str) -> dict[str, Any]:
    """As an SPDX expression where it is one; else by the name that the package gives it."""
    known = normalise(stated)
    if known.expression and "LicenseRef-" not in known.expression:
        return {"expression": known.expression}
    return {"license": {"name": stated}}


def _links(subject: Subject) -> Iterable[dict[str, str]]:
    for kind, url in (("distribution", subject.model_url), ("vcs", subject.code_url)):
        if url:
            yield {"type": kind, "url": url}


def _ancestor(parent: Parent) -> dict[str, Any]:
    ancestor: dict[str, Any] = {
        "type": "machine-learning-model",
        "name": parent.name,
        "properties": [_property("weighhouse:relationship_type", parent.relation)],
    }
    if parent.version is not None:
        ancestor["version"] = parent.version
    if parent.package_id is not None:
        ancestor["properties"].append(_property("weighhouse:package_id", str(parent.package_id)))
    return ancestor


def _part(file: Part) -> Mapping[str, Any]:
    return {
        "type": "data" if file.component == Component.DATASETS else "file",
        "bom-ref": f"file:{file.path}",
        "name": file.path,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        "properties": [
            _property("weighhouse:component", file.component),
            _property("weighhouse:size_bytes", str(file.size_bytes)),
        ],
    }


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
