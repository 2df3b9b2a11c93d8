"""Records of an evaluation, of the size that those of real packages have."""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from weighhouse.rules.metrics.net import WEIGHTS

_METRICS = (*WEIGHTS, "size_score")
_REASONS = (
    "Missing: task, inputs and outputs, use and limits, description, run needs, paper or docs",
    "In part: usage snippet for this model, installation, loadable files",
    "The card declares Apache-2.0",
)


def evaluation_row(evaluation_id: UUID, package_id: UUID, as_of: datetime, score: float | None) -> Sequence[Any]:
    """A row of `evaluations`."""
    figures = (score, 0.8, (score or 0.4) * 0.9, min(1.0, (score or 0.4) * 1.1))
    return (evaluation_id, package_id, 1, as_of, "wh-metrics/1.0.0", "0" * 64, *figures, Jsonb(dict(WEIGHTS)), 120)


def metric_rows(evaluation_id: UUID, chance: random.Random, name: str) -> list[Sequence[Any]]:
    """The rows of `metrics` of one evaluation."""
    return [_metric_row(evaluation_id, metric, chance, name) for metric in dict.fromkeys(_METRICS)]


def _metric_row(evaluation_id: UUID, metric: str, chance: random.Random, name: str) -> Sequence[Any]:
    is_ok = chance.random() < 0.7
    inputs = {f"input_{n}": round(chance.random(), 3) for n in range(8)}
    sources = [{"ref": name, "kind": "package"}]
    score, code = (round(chance.random(), 2), None) if is_ok else (None, "no_dataset_named")
    status = "ok" if is_ok else "inconclusive"
    answer = (status, score, code, Jsonb(list(_REASONS[: chance.randint(1, 3)])), Jsonb(inputs))
    return (evaluation_id, metric, f"{metric}/1", *answer, "static", Jsonb(sources), 3)
