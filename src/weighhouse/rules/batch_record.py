"""What the batch command says of one model: exactly 26 fields in a fixed order (metrics specification, section 12)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from weighhouse.rules.evidence import Reason
from weighhouse.rules.metrics.net import Net
from weighhouse.rules.metrics.result import METRICS_VERSION, Result
from weighhouse.rules.metrics.size_score import USABLE_BYTES
from weighhouse.rules.metrics.weigh import METRICS, VERSIONS

CATEGORY = "MODEL"

NO_REPOSITORY = -1
"""What `reviewedness` is where there is no GitHub repository to look at: a public convention, used in this record only."""

_WITHOUT_REVIEWS = frozenset({Reason.NO_GITHUB_REPO, Reason.HOST_UNSUPPORTED})


def batch_record(
    name: str,
    results: Mapping[str, Result],
    net: Net,
    latencies_ms: Mapping[str, int],
    net_latency_ms: int,
    *,
    null: int | None = None,
) -> dict[str, Any]:
    """The 26 fields of one model, in their order.

    Args:
        name: Last part of the model's id.
        results: The result of every metric.
        latencies_ms: Wall time of every metric, evidence it waited for included.
        net_latency_ms: Wall time of the whole evaluation.
        null: What stands where there is no score.

    Raises:
        KeyError: A metric has no result or no latency.
    """
    record: dict[str, Any] = {"name": name, "category": CATEGORY}
    record["net_score"] = _or(net.score, null)
    record["net_score_latency"] = net_latency_ms
    for metric in METRICS:
        record[metric] = _value(results[metric], null)
        record[f"{metric}_latency"] = latencies_ms[metric]
    return record


def explanation(results: Mapping[str, Result], net: Net, latencies_ms: Mapping[str, int]) -> dict[str, Any]:
    """What `--explain` puts after the 26 fields: how sure the net score is, and the evidence record of every metric.

    Raises:
        KeyError: A metric has no result or no latency.
    """
    return {
        "metrics_version": METRICS_VERSION,
        "coverage": net.coverage,
        "net_low": net.low,
        "net_high": net.high,
        "evidence": {metric: _evidence(results[metric], latencies_ms[metric]) for metric in METRICS},
    }


def _value(result: Result, null: int | None) -> Any:
    if result.metric == "size_score":
        devices = result.inputs.get("devices", {}) if result.score is not None else {}
        return {device: _or(devices.get(device), null) for device in USABLE_BYTES}
    if result.metric == "reviewedness" and result.reason_code in _WITHOUT_REVIEWS:
        return NO_REPOSITORY
    return _or(result.score, null)


def _or(score: float | None, null: int | None) -> float | None:
    return null if score is None else score


def _evidence(result: Result, latency_ms: int) -> dict[str, Any]:
    """The evidence record of section 2."""
    return {
        "metric": result.metric,
        "version": VERSIONS[result.metric],
        "status": result.status.value,
        "score": result.score,
        "reason_code": result.reason_code.value if result.reason_code else None,
        "latency_ms": latency_ms,
        "method": result.method,
        "reasons": list(result.reasons),
        "inputs": dict(result.inputs),
        "sources": [asdict(source) for source in result.sources],
    }
