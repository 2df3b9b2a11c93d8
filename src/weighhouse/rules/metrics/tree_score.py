"""Do the models this one was built from score well? (metrics specification, section 11)"""

from collections.abc import Sequence
from datetime import datetime

from weighhouse.rules.evidence import Evidence, Missing, Parent, Reason, Source
from weighhouse.rules.metrics.result import Result, not_applicable, ok

NAME = "tree_score"
METRIC_VERSION = "tree_score/1"


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """The mean of the direct parents' net scores; ancestors enter through those alone.

    Raises:
        Missing: Parents are named and none has a net score, or the files that could name one could not be read.
    """
    named = evidence.parents()
    parents = [parent for parent in named if not parent.closes_cycle]
    circular = _circular([parent.name for parent in named if parent.closes_cycle])
    if not parents:
        why = circular[0] if circular else "No card or configuration file names a parent"
        return not_applicable(NAME, Reason.NO_PARENTS, why)
    scores = {
        parent.name: parent.net_score for parent in parents if parent.in_registry and parent.net_score is not None
    }
    if not scores:
        raise Missing(Reason.PARENTS_NOT_SCORED, _none_scored(parents))
    reasons = [f"{len(scores)} of {len(parents)} parents scored"]
    reasons += [f"{name[:80]} has a net score of {score:.2f}" for name, score in scores.items()]
    reasons = reasons[: 5 - len(circular)] + circular
    inputs = {"parents": len(parents), "net_scores": dict(scores)}
    sources = [Source("registry", f"{name} net={score}") for name, score in scores.items()]
    return ok(NAME, sum(scores.values()) / len(scores), reasons, inputs=inputs, method="registry", sources=sources)


def _circular(names: Sequence[str]) -> list[str]:
    return [f"{names[0][:80]} is ignored as a parent: it was itself built from this package"] if names else []


def _none_scored(parents: Sequence[Parent]) -> str:
    absent = [parent.name for parent in parents if not parent.in_registry]
    if absent:
        return f"{absent[0][:60]} is named as a parent and is not in this registry; ingest it to have it scored"
    return f"{parents[0].name[:60]} has no net score yet; evaluate it, then this package again"
