"""The ingest gate: which models are let in, and what those that are not would need (metrics specification, section 12)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from weighhouse.rules.evidence import Reason
from weighhouse.rules.metrics.net import WEIGHTS, Net, weigh
from weighhouse.rules.metrics.result import Result, Status

THRESHOLD = 0.5
"""Lowest score that is let in, where the operator says nothing else."""

FIXES: Mapping[str, str] = MappingProxyType(
    {
        "ramp_up_time": "Add to the card: a description, a usage snippet that names this model, how to install it, its limits.",
        "bus_factor": "Link code that more than one person maintains.",
        "performance_claims": "State results in model-index with dataset, split and source, or ship the result files.",
        "license": "Declare a license that allows the use, ship its text, and respect the terms of the parent models.",
        "size_score": "Offer a smaller or quantised set of weights.",
        "dataset_and_code_score": "Name the datasets and link the code repository, with training script and requirements.",
        "dataset_quality": "Document the datasets: source, structure, licence, limits; publish them without loading scripts.",
        "code_quality": "Fix the lint findings, add tests, run them in CI.",
        "reproducibility": "Put a Python block on the card that loads this very model and runs.",
        "reviewedness": "Let a second person review changes before they are merged.",
        "tree_score": "Build on models that score better.",
    }
)
"""What would raise each score, in one sentence for its publisher."""


@dataclass(frozen=True)
class Failing:
    """A metric whose score is below its threshold, both rounded."""

    metric: str
    score: float
    threshold: float
    reasons: Sequence[str]
    fix: str


@dataclass(frozen=True)
class Unknown:
    """A metric that could not be judged, and why."""

    metric: str
    reason_code: Reason | None
    reasons: Sequence[str]


@dataclass(frozen=True)
class Decision:
    """What the gate says.

    `pass`: everything that applies was judged and is good enough. `hold`: what was judged is, the rest is not known.
    `refuse`: something is not, or too little is known for this registry's operator.
    """

    outcome: Literal["pass", "hold", "refuse"]
    net: Net
    failing: Sequence[Failing] = ()
    unknown: Sequence[Unknown] = ()
    why: Sequence[str] = ()
    """Why it refuses, apart from the failing metrics."""


def decide(
    results: Mapping[str, Result],
    *,
    thresholds: Mapping[str, float] | None = None,
    min_coverage: float = 0.0,
    refuses_hold: bool = False,
    verdict: str = "unscanned",
    objections: Sequence[str] = (),
) -> Decision:
    """Whether a model with these results is let in.

    Args:
        results: The result of every metric.
        thresholds: Lowest score by metric; 0.5 for each not named.
        min_coverage: Lowest share of the applicable weight that must have been judged.
        refuses_hold: Whether a metric that could not be judged refuses.
        verdict: What the scan of the files says.
        objections: Why the scan keeps it out, a sentence each.

    Raises:
        KeyError: A name is not a metric.
    """
    net = weigh(results)
    lowest = {name: (thresholds or {}).get(name, THRESHOLD) for name in WEIGHTS}
    failing = [
        Failing(name, score, lowest[name], result.reasons, FIXES[name])
        for name, result in results.items()
        if (score := gated_score(result)) is not None and score < lowest[name]
    ]
    unknown = [
        Unknown(name, result.reason_code, result.reasons)
        for name, result in results.items()
        if result.status is Status.INCONCLUSIVE
    ]
    why: list[str] = []
    if verdict == "unsafe":
        why.append("The scan found unsafe content in its files.")
    why += objections
    if net.coverage < min_coverage:
        why.append(f"Only {net.coverage:.0%} could be judged, and this registry asks for {min_coverage:.0%}.")
    if unknown and refuses_hold:
        names = ", ".join(one.metric for one in unknown)
        why.append(f"This registry lets in only what was judged in full; not known: {names}.")
    refuses = bool(failing or why)
    failing.sort(key=lambda one: (one.score - one.threshold, one.metric))
    return Decision("refuse" if refuses else "hold" if unknown else "pass", net, failing, unknown, why)


def gated_score(result: Result) -> float | None:
    """The score that is held against the threshold: of a size the best device's; `None` when there is none."""
    if result.status is not Status.OK:
        return None
    devices = result.inputs.get("devices")
    if result.metric == "size_score" and isinstance(devices, Mapping) and devices:
        return max(float(score) for score in devices.values())
    return result.score
