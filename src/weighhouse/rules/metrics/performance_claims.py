"""Are the claimed results specific enough to be checked, and do they hang together? (metrics specification, section 7)"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from weighhouse.rules.cards import Card, read_card
from weighhouse.rules.claims import (
    Figure,
    difference,
    in_result_file,
    in_table,
    is_loss,
    metric_name,
    range_of,
    valid,
)
from weighhouse.rules.evidence import Claim, Evidence, Missing, Source
from weighhouse.rules.metrics.result import Result, ok

NAME = "performance_claims"
METRIC_VERSION = "performance_claims/1"

COUNTED = 3
"""More claims than this do not help."""
EQUAL, CONTRADICTING = 0.01, 0.05
"""Relative differences from a shipped result file."""
TABLE_CAP = 0.60
CONTRADICTED_CAP = 0.30
MAX_CLAIMS = 2_000
MAX_RESULT_FILES = 20
MAX_VALUES = 1_000
"""Values of one metric on one dataset that are compared; a trainer's log has one for each evaluation."""

_RESULT_FILE = re.compile(r"(?:^|/)(?:(?:all|eval|test)_results|trainer_state|results_[^/]*)\.json$")
_CHECKPOINT = re.compile(r"(?:^|/)checkpoint-\d+/")
_SOURCE = re.compile(r"https?://\S+|arxiv:\S+|10\.\d{4,9}/\S+|doi:\S+", re.IGNORECASE)


@dataclass(frozen=True)
class Judged:
    """A claim and what is known about it. `shown` is the value as written, `value` the valid number or `None`."""

    metric: str
    shown: str
    value: float | None
    dataset: str | None
    specific: bool = False
    """Whether a split, configuration, task id, revision or date is given."""
    sourced: bool = False
    verified: bool = False
    """By the hub, or equal to a shipped result file."""
    contradicted_by: float | None = None
    from_table: bool = False

    @property
    def quality(self) -> float:
        """How well it can be checked, in [0, 1]; 0 for an unknown metric, an impossible or a contradicted value."""
        if self.value is None or self.contradicted_by is not None:
            return 0.0
        parts = 0.40 + 0.20 * bool(self.dataset) + 0.10 * self.specific + 0.15 * self.sourced + 0.15 * self.verified
        return round(min(TABLE_CAP, parts) if self.from_table else parts, 6)


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """The quality of the best three claims, less when there are fewer.

    Raises:
        Missing: Neither a card nor a result file could be read, or none was found where some could not be looked at.
    """
    shipped = _shipped(evidence)
    claims, missing = _claims(evidence)
    if claims:
        judged = _compared(_kept(claims)[:MAX_CLAIMS], shipped)
    else:
        # A file that nothing on the card refers to is a claim itself; it does not confirm itself.
        judged = _kept(_judged_figure(figure, from_table=False) for figure in shipped)[:MAX_CLAIMS]
    if not judged and missing is not None:
        raise missing
    best = sorted((claim.quality for claim in judged), reverse=True)[:COUNTED]
    contradicted = [claim for claim in judged if claim.contradicted_by is not None]
    total = score(best, len(judged), contradicted=bool(contradicted))
    inputs = {
        "claims": len(judged),
        "best_qualities": best,
        "contradicted": len(contradicted),
        "shipped_figures": len(shipped),
    }
    sources = (Source("package", evidence.name),)
    return ok(NAME, total, _reasons(judged, contradicted), inputs=inputs, method="card", sources=sources)


def score(best: Sequence[float], claims: int, *, contradicted: bool = False) -> float:
    """The score of the best qualities (at most three) among so many claims, not yet rounded.

    >>> round(score([0.85, 0.85], 2), 6)
    0.765
    """
    if not best:
        return 0.0
    total = sum(best) / len(best) * (0.7 + 0.1 * min(COUNTED, claims))
    return min(CONTRADICTED_CAP, total) if contradicted else total


def _claims(evidence: Evidence) -> tuple[list[Judged], Missing | None]:
    """The claims of metadata and tables, and why one of the two could not be looked at."""
    claims: list[Judged] = []
    missing: Missing | None = None
    try:
        claims += [_judged_claim(claim) for claim in evidence.claims()]
    except Missing as unread:
        missing = unread
    try:
        card = read_card(evidence.card())
    except Missing as unread:
        return [claim for claim in claims if not is_loss(claim.metric)], unread
    claims += _in_tables(card)
    return [claim for claim in claims if not is_loss(claim.metric)], missing


def _judged_claim(claim: Claim) -> Judged:
    metric = metric_name(claim.metric)
    # The task of a model-index entry is a mandatory heading; the task id of an evaluation-results entry names a benchmark's part.
    task = claim.task if claim.origin != "model-index" else None
    return Judged(
        metric=metric,
        shown=str(claim.value)[:40],
        value=valid(metric, claim.value),
        dataset=_folded(claim.dataset),
        specific=any((claim.split, claim.config, claim.revision, claim.date, task)),
        sourced=bool(_SOURCE.match((claim.source_url or "").strip())),
        verified=claim.verified,
    )


def _judged_figure(figure: Figure, *, from_table: bool) -> Judged:
    return Judged(
        metric=figure.metric,
        shown=str(figure.value)[:40],
        value=valid(figure.metric, figure.value),
        dataset=_folded(figure.dataset),
        from_table=from_table,
    )


def _in_tables(card: Card) -> list[Judged]:
    return [_judged_figure(figure, from_table=True) for table in card.tables for figure in in_table(table)]


def _folded(dataset: str | None) -> str | None:
    """The dataset's name without what people write differently: `SST-2` and `sst2` are one."""
    return re.sub(r"[\W_]+", "", dataset or "").lower() or None


def _shipped(evidence: Evidence) -> list[Figure]:
    """Figures of the result files in the package; a file that is no text is left out."""
    figures: list[Figure] = []
    try:
        paths = [file.path for file in evidence.files()]
    except Missing:
        return []
    named = [path for path in paths if _RESULT_FILE.search(path) and not _CHECKPOINT.search(path)]
    for path in named[:MAX_RESULT_FILES]:
        try:
            figures += in_result_file(evidence.text(path))
        except Missing:
            continue
    return figures


def _kept(claims: Iterable[Judged]) -> list[Judged]:
    """One claim per dataset and metric, the best; one without dataset only when the metric is claimed on none."""
    best: dict[tuple[str | None, str], Judged] = {}
    for claim in claims:
        key = claim.dataset, claim.metric
        if key not in best or claim.quality > best[key].quality:
            best[key] = claim
    on_datasets = {metric for dataset, metric in best if dataset is not None}
    return [claim for (dataset, metric), claim in best.items() if dataset is not None or metric not in on_datasets]


def _compared(claims: Sequence[Judged], shipped: Sequence[Figure]) -> list[Judged]:
    """The claims, each against what the package's own result files say of it."""
    values: dict[tuple[str, str | None], set[float]] = defaultdict(set)
    for figure in shipped:
        known = values[figure.metric, _folded(figure.dataset)]
        value = valid(figure.metric, figure.value)
        if value is not None and len(known) < MAX_VALUES:
            known.add(value)
    datasets: dict[str, set[str | None]] = defaultdict(set)
    for claim in claims:
        datasets[claim.metric].add(claim.dataset)
    return [_against(claim, values, alone=len(datasets[claim.metric]) == 1) for claim in claims]


def _against(claim: Judged, shipped: Mapping[tuple[str, str | None], Iterable[float]], *, alone: bool) -> Judged:
    """The claim as verified or contradicted by result files.

    Args:
        shipped: The valid values of each metric on each dataset, or on one that the file does not name.
        alone: Whether the claim's metric is claimed on one dataset only, so that a file that names none is about this claim.
    """
    on_dataset = shipped.get((claim.metric, claim.dataset)) if claim.dataset else None
    values = on_dataset or shipped.get((claim.metric, None))
    if claim.value is None or not values:
        return claim
    apart = {value: difference(claim.metric, claim.value, value) for value in values}
    nearest = min(apart, key=lambda value: (apart[value], value))
    if apart[nearest] <= EQUAL:
        return replace(claim, verified=True)
    if apart[nearest] > CONTRADICTING and (alone or on_dataset):
        return replace(claim, contradicted_by=nearest)
    return claim


def _reasons(judged: Sequence[Judged], contradicted: Sequence[Judged]) -> list[str]:
    if not judged:
        return ["The card and the files were read and claim no figure for a known metric"]
    reasons = [
        f"Claim contradicts the shipped result file: {claim.metric} {claim.shown}, the file has {claim.contradicted_by:g}"
        for claim in contradicted[:2]
    ]
    impossible = [claim for claim in judged if claim.value is None]
    for claim in impossible[:2]:
        known = range_of(claim.metric) is not None
        reasons.append(
            f"{claim.shown} is not a possible {claim.metric[:60]}"
            if known
            else f"{claim.metric[:60]} is not a known metric"
        )
    named = sum(claim.dataset is not None for claim in judged)
    sourced = sum(claim.sourced for claim in judged)
    verified = sum(claim.verified for claim in judged)
    noun = "claim" if len(judged) == 1 else "claims"
    reasons.append(
        f"{len(judged)} {noun}: {named} with a dataset, {sourced} with a source, {verified} verified or equal to a shipped file"
    )
    return reasons
