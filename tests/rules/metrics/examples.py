"""The examples of the metrics specification that its net scores and its gate are told with."""

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.rules.metrics.net import WEIGHTS
from weighhouse.rules.metrics.result import Result, inconclusive, not_applicable, ok

A = {
    "license": 1.0,
    "ramp_up_time": 0.85,
    "bus_factor": 0.77,
    "performance_claims": 0.68,
    "dataset_and_code_score": 1.0,
    "dataset_quality": 0.90,
    "code_quality": 0.89,
    "reproducibility": 1.0,
    "size_score": 1.0,
    "reviewedness": 0.82,
    "tree_score": 0.70,
}
B = {name: score for name, score in A.items() if name not in ("tree_score", "reviewedness")}
C = {
    "license": 0.90,
    "ramp_up_time": 0.68,
    "performance_claims": 0.48,
    "dataset_and_code_score": 0.0,
    "reproducibility": 0.50,
    "size_score": 0.47,
}
D = {"license": 0.90, "size_score": 1.0}

_C_DEVICES = {"raspberry_pi": 0.0, "jetson_nano": 0.0, "desktop_pc": 0.33, "aws_server": 1.0}


def results_of(scores: dict[str, float], *, has_parents: bool = False) -> dict[str, Result]:
    """All eleven results: those scored, a root model without parents, the rest inconclusive."""
    results: dict[str, Result] = {}
    for name in WEIGHTS:
        if name in scores:
            inputs = {"devices": _C_DEVICES} if name == "size_score" and scores[name] == C[name] else {}
            results[name] = ok(name, scores[name], ["seen"], inputs=inputs)
        elif name == "tree_score" and not has_parents:
            results[name] = not_applicable(name, Reason.NO_PARENTS, "No parent is named")
        else:
            results[name] = inconclusive(name, Missing(Reason.UNREACHABLE, "Could not be had"))
    return results
