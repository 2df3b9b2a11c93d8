"""What a registry states, signed, about a package: these files, looked at then and so, scored this."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from weighhouse.rules.dsse import STATEMENT_TYPE, BadSignature

PREDICATE_TYPE = "https://weighhouse.example/attestations/scores/v1"
MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"


@dataclass(frozen=True)
class Scores:
    """An evaluation of a package, to be signed."""

    package_id: UUID
    name: str
    version: str
    manifest_sha256: str
    verdict: str
    evaluation_id: UUID
    evaluated_at: datetime
    metrics_version: str
    net_score: float | None
    net_low: float
    net_high: float
    coverage: float
    metrics: Sequence[Mapping[str, Any]]
    """`metric`, `version`, `status`, `score`, `reason_code`, `reasons` of each."""


def score_statement(
    scores: Scores, files: Iterable[tuple[str, str]], *, weighhouse_version: str, registry: str | None, at: datetime
) -> dict[str, Any]:
    """The statement.

    Args:
        files: Path and SHA-256 of every file.
        registry: Its public address, where it has one.
        at: When it is signed.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": path, "digest": {"sha256": sha256}} for path, sha256 in files],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "package": {
                "id": str(scores.package_id),
                "name": scores.name,
                "version": scores.version,
                "manifest_sha256": scores.manifest_sha256,
            },
            "evaluator": {"name": "weighhouse", "version": weighhouse_version, "registry": registry},
            "stated_at": _moment(at),
            "evaluated_at": _moment(scores.evaluated_at),
            "evaluation_id": str(scores.evaluation_id),
            "metrics_version": scores.metrics_version,
            "verdict": scores.verdict,
            "net_score": scores.net_score,
            "net_low": scores.net_low,
            "net_high": scores.net_high,
            "coverage": scores.coverage,
            "metrics": [{key: metric[key] for key in _KEPT} for metric in scores.metrics],
        },
    }


_KEPT = ("metric", "version", "status", "score", "reason_code", "reasons")


def require_scores(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a verified statement says of a package's scores.

    Raises:
        BadSignature: It states something else.
    """
    predicate = statement.get("predicate")
    if statement.get("predicateType") != PREDICATE_TYPE or not isinstance(predicate, Mapping):
        raise BadSignature(f"The statement is about something else than scores: it is no {PREDICATE_TYPE}.")
    return predicate


def stated_files(statement: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of each file that a verified statement is about, by path.

    Raises:
        BadSignature: It names a file twice, or none at all.
    """
    try:
        subjects = [(str(one["name"]), str(one["digest"]["sha256"])) for one in statement["subject"]]
    except (KeyError, TypeError) as error:
        raise BadSignature("The statement does not say which files it is about.") from error
    files = dict(subjects)
    if len(files) != len(subjects) or not files:
        raise BadSignature("The statement names a file twice, or no file at all.")
    return files


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
