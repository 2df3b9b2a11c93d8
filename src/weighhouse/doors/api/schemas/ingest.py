"""Shapes of models that come in from the hub."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from weighhouse.doors.api.schemas.packages import Uploaded
from weighhouse.doors.api.schemas.shape import Score, Shape, Text


class Ingest(Shape):
    """A model of the hub that is to be let in."""

    model_url: Text = Field(examples=["https://huggingface.co/google-bert/bert-base-uncased"], max_length=2048)
    revision: Text | None = Field(None, max_length=200, description="Branch, tag or commit; by default the newest.")
    name: Text | None = Field(None, max_length=1024, description="By default the model's id.")
    version: Text | None = Field(None, max_length=1024, description="By default the first 12 characters of the commit.")
    dataset_url: Text | None = Field(None, max_length=2048, examples=["https://huggingface.co/datasets/squad"])
    code_url: Text | None = Field(None, max_length=2048, examples=["https://github.com/user/repo"])
    all_weights: bool = Field(
        False, description="Whether the same weights in older formats are fetched beside safetensors."
    )


class NotKnown(Shape):
    """A metric that could not be judged."""

    metric: str
    reason_code: str | None
    reasons: list[str]


class Ingested(Uploaded):
    """A model that was let in."""

    gate: Literal["pass", "hold"] = Field(description="`hold`: what was judged is good enough, the rest is not known.")
    inconclusive: list[NotKnown]
    coverage: Score
    revision: str = Field(description="The commit that the files are of.")
    left_out: list[str] = Field(description="Files that hold the same weights once more, and were not fetched.")


class IngestState(Shape):
    """How far a model is on its way in, and what came of it."""

    ingest_id: UUID
    state: Literal["waiting", "fetching", "weighing", "admitted", "refused", "failed", "cancelled"]
    model_url: str
    revision: str = Field(description="The commit that is taken in.")
    name: str
    version: str
    files_total: int | None = Field(description="How many are fetched; null before that is known.")
    files_done: int
    bytes_total: int | None
    bytes_done: int
    package_id: UUID | None = Field(description="The package, once the model is admitted.")
    gate: Literal["pass", "hold"] | None
    net_score: Score | None
    coverage: Score | None
    inconclusive: list[NotKnown]
    left_out: list[str]
    warnings: list[str]
    problem: dict[str, Any] | None = Field(description="Why it was refused or failed, as a problem document.")
    asked_at: datetime
    finished_at: datetime | None


class IngestStates(Shape):
    """A page of ingests, newest first."""

    ingests: list[IngestState]
    next_cursor: str | None
