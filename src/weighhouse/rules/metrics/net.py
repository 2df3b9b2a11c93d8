"""The net score: weights, coverage and bounds over the eleven results (metrics specification, section 12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from weighhouse.rules.metrics.result import Result, Status, r2

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "ramp_up_time": 0.10,
        "bus_factor": 0.10,
        "performance_claims": 0.10,
        "license": 0.15,
        "size_score": 0.05,
        "dataset_and_code_score": 0.10,
        "dataset_quality": 0.10,
        "code_quality": 0.10,
        "reproducibility": 0.10,
        "reviewedness": 0.05,
        "tree_score": 0.05,
    }
)

MIN_COVERAGE = 0.50
"""Below this share of judged weight there is no net score."""


@dataclass(frozen=True)
class Net:
    """The net score, `None` when coverage is under 0.50, and how sure it is."""

    score: float | None
    coverage: float
    low: float
    high: float
    """`low` and `high` take every inconclusive metric as 0 and as 1."""


def coverage(scores: Mapping[str, float | None]) -> float:
    """Share of the applicable weight that could be judged.

    A metric that does not apply to this package is left out by the caller; it lowers nothing.

    Args:
        scores: Score in [0, 1] of each applicable metric, or `None` where the evidence could not be had.

    Raises:
        KeyError: A name is not a metric.

    >>> coverage({"license": 0.9, "tree_score": None})
    0.75
    """
    applicable = sum(WEIGHTS[name] for name in scores)
    judged = sum(WEIGHTS[name] for name, score in scores.items() if score is not None)
    return r2(judged / applicable) if applicable else 0.0


def weigh(results: Mapping[str, Result]) -> Net:
    """The net score of all results by metric name.

    Raises:
        KeyError: A name is not a metric.
    """
    scores = {name: result.score for name, result in results.items() if result.status is not Status.NOT_APPLICABLE}
    applicable = sum(WEIGHTS[name] for name in scores)
    judged = {name: score for name, score in scores.items() if score is not None}
    judged_weight = sum(WEIGHTS[name] for name in judged)
    gained = sum(WEIGHTS[name] * score for name, score in judged.items())
    share = coverage(scores)
    low = gained / applicable if applicable else 0.0
    high = (gained + applicable - judged_weight) / applicable if applicable else 1.0
    net = r2(gained / judged_weight) if judged_weight and share >= MIN_COVERAGE else None
    return Net(net, share, r2(low), r2(high))
