"""Shapes of what an evaluation found, and of what changed since the one before."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from weighhouse.doors.api.schemas.shape import Score, Shape

MetricStatus = Literal["ok", "inconclusive", "not_applicable"]


class MetricShown(Shape):
    """The evidence record of one metric."""

    metric: str
    version: str
    status: MetricStatus
    score: Score | None
    reason_code: str | None
    reasons: list[str]
    inputs: dict[str, Any]
    method: str
    sources: list[dict[str, str]]
    latency_ms: int


class SourceShown(Shape):
    """Where a fact came from."""

    kind: str = Field(examples=["git"])
    ref: str = Field(examples=["acme/code@3f2a…"], description="An immutable id.")


class MetricChange(Shape):
    """A metric that answers differently than in the evaluation before, or from other evidence."""

    metric: str
    version_before: str | None = Field(description="Null for a metric that there was not then.")
    version_after: str | None
    status_before: MetricStatus | None
    status_after: MetricStatus | None
    score_before: Score | None
    score_after: Score | None
    score_change: float | None = Field(description="Null unless there are two scores.")
    reasons_gone: list[str]
    reasons_new: list[str]
    sources_gone: list[SourceShown]
    sources_new: list[SourceShown]


class SincePrevious(Shape):
    """What changed since the evaluation before: the method, the evidence, and what came of it."""

    evaluation_id: UUID = Field(description="The evaluation before.")
    metrics_version: str = Field(description="The method of the evaluation before.")
    evidence_digest: str = Field(description="What the evaluation before looked at.")
    method_changed: bool
    evidence_changed: bool
    net_score_change: float | None = Field(description="Null unless there are two net scores.")
    metrics: list[MetricChange] = Field(description="Those whose answer changed, by name.")


class EvaluationShown(Shape):
    """One weighing of a package, and what changed since the one before."""

    evaluation_id: UUID
    evaluated_at: datetime
    metrics_version: str
    evidence_digest: str
    net_score: Score | None
    coverage: Score
    net_low: Score
    net_high: Score
    latency_ms: int
    since_previous: SincePrevious | None = Field(description="Null for the first evaluation of a package.")


class Evaluations(Shape):
    """A page of evaluations, newest first."""

    evaluations: list[EvaluationShown]
    next_cursor: str | None
