"""Claimed results: which metric a name means, which values it can have, and the claims in tables and result files."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from weighhouse.rules.cards import Table

MAX_FIGURES = 2_000
"""Figures read from one table or one result file; three decide the score."""


class Range(StrEnum):
    """The values that a metric can have."""

    BOUNDED = "bounded"
    """[0, 1], or (1, 100] as percent."""
    RATE = "rate"
    """At least 0."""
    PERPLEXITY = "perplexity"
    """At least 1."""
    FINITE = "finite"


_METRICS: Mapping[Range, re.Pattern[str]] = MappingProxyType(
    {
        Range.RATE: re.compile(r"\b(?:wer|cer|der|eer|ter|(?:word|character|diarization|equal) error rate)\b"),
        Range.PERPLEXITY: re.compile(r"\b(?:perplexity|ppl)\b"),
        Range.BOUNDED: re.compile(
            r"\b(?:accuracy|acc(?: norm)?|f1(?: score)?|f score|f-score|precision|recall|exact match|em|(?:roc ?)?auc|auroc|auprc"
            r"|m?ap|mrr|ndcg|hit rate|m?iou|jaccard|dice|(?:sacre|google )?bleu|rouge(?: ?-?(?:1|2|l|lsum))?|meteor|chrf"
            r"|bertscore|sensitivity|specificity|v measure|win rate|mc1|mc2|pass(?:@| at |@ )\d+)\b"
        ),
        Range.FINITE: re.compile(
            r"\b(?:pearson(?:r|s)?|spearman(?:r|s)?|kendall|matthews(?: correlation)?|mcc|correlation|r2|r squared|r?mse|mae"
            r"|mean (?:squared|absolute) error|fid|kid|inception score|psnr|ssim|lpips|clip ?score|(?:mean )?reward|elo|pesq|stoi"
            r"|(?:si )?sdr|mos|silhouette|comet|cider|spice|kappa)\b"
        ),
    }
)
_ALIASES = MappingProxyType(
    {
        "acc": "accuracy",
        "em": "exact match",
        "ppl": "perplexity",
        "word error rate": "wer",
        "character error rate": "cer",
        "auroc": "auc",
        "roc auc": "auc",
        "rocauc": "auc",
        "f1 score": "f1",
        "f score": "f1",
        "f-score": "f1",
        "sacrebleu": "bleu",
    }
)
_RUN_PREFIX = re.compile(r"^(?:eval|test|predict|val|validation|dev|best) (?=\w)")
_NUMBER = re.compile(
    r"([-+]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][-+]?\d{1,3})?)\s?(%?)\s?(?:(?:±|\+/-|\+-|\\pm|\().*)?"
)

_DATASET_COLUMN = re.compile(r"\b(?:data ?sets?|benchmarks?|tasks?|corpus|corpora|test set|split|domain|language)\b")
_MODEL_COLUMN = re.compile(
    r"\b(?:models?|methods?|systems?|checkpoints?|runs?|versions?|architecture|size|parameters|rank)\b"
)
_VALUE_COLUMN = re.compile(r"^(?:values?|scores?|results?|ours|performance|this model|)$")
_METRIC_COLUMN = re.compile(r"\bmetrics?\b")
_TRAINING_LOG = re.compile(r"^(?:epochs?|steps?|training loss|train loss|iterations?)$")
_NOT_A_DATASET = re.compile(
    r"\b(?:on|the|a|of|in|test|dev|val|validation|eval|evaluation|set|split|scores?|macro|micro|weighted|average|avg|mean|max|top|at|k"
    r"|ours|higher|lower|is|better|best|overall|strict|norm|shot|zero|few|\d+)\b|[^\w\s]"
)


@dataclass(frozen=True)
class Figure:
    """A metric, the dataset it was measured on if that is said, and the value as it was written."""

    metric: str
    value: Any
    dataset: str | None = None


def metric_name(text: str) -> str:
    """The metric that a name or a key of a result file means, in one spelling.

    >>> metric_name("eval_accuracy"), metric_name("F1 (macro)"), metric_name("acc,none")
    ('accuracy', 'f1 macro', 'accuracy')
    """
    name = " ".join(re.sub(r"[_():/]+", " ", text[:200].lower().split(",")[0]).split())
    name = _RUN_PREFIX.sub("", name)
    return _ALIASES.get(name, name)


def range_of(metric: str) -> Range | None:
    """The values that a metric of this name (from `metric_name`) can have; `None` when it is not a known metric."""
    return next((kind for kind, pattern in _METRICS.items() if pattern.search(metric)), None)


def is_loss(metric: str) -> bool:
    """Whether the name is that of a loss, which says how training went and is no claim."""
    return re.search(r"\bloss\b|loss$", metric) is not None


def number(value: Any) -> float | None:
    """The number that a value was written as: `20.0 ± 1.2` is 20.0, `93.2%` is 0.932.

    >>> number("20.0 ± 1.2"), number("93.2 %"), number("n/a"), number(True)
    (20.0, 0.932, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        # An int can be larger than any float.
        return float(value) if abs(value) < 1e300 else None
    if not isinstance(value, str) or len(value) > 100:
        return None
    found = _NUMBER.fullmatch(value.strip().strip("*_` "))
    if found is None:
        return None
    figure = float(found[1])
    if not math.isfinite(figure):
        return None
    return round(figure / 100, 12) if found[2] else figure


def valid(metric: str, value: Any) -> float | None:
    """The value, percent as a fraction where the metric is bounded; `None` when it is not a possible one.

    >>> valid("accuracy", 93.2), valid("accuracy", 170), valid("wer", 12.5), valid("perplexity", 0.4)
    (0.932, None, 12.5, None)
    """
    figure = number(value)
    kind = range_of(metric)
    if figure is None or not math.isfinite(figure):
        return None
    if kind is Range.BOUNDED:
        fraction = figure / 100 if figure > 1 else figure
        return fraction if 0 <= fraction <= 1 else None
    least = {Range.RATE: 0.0, Range.PERPLEXITY: 1.0}.get(kind, -math.inf) if kind else math.inf
    return figure if figure >= least else None


def difference(metric: str, claimed: float, shipped: float) -> float:
    """How far a claim is from a shipped figure, relative to the latter. Error rates may be in percent on one side."""
    scales = (1, 100, 0.01) if range_of(metric) is Range.RATE else (1,)
    return min(abs(claimed * scale - shipped) for scale in scales) / max(abs(shipped), 1e-12)


def in_table(table: Table) -> Sequence[Figure]:
    """The figures of known metrics in a table of a card; none from the log of a training run."""
    header = [cell.lower() for cell in table.header]
    if any(_TRAINING_LOG.match(cell) for cell in header):
        return ()
    columns = [(number_of, found) for number_of, cell in enumerate(header) if (found := _find(cell))]
    figures = _by_column(table, header, columns) if columns else _by_row(table, header)
    return [figure for figure, _ in zip(figures, range(MAX_FIGURES), strict=False)]


def in_result_file(text: str) -> Sequence[Figure]:
    """The figures of known metrics in a JSON result file: flat, by task as evaluation harnesses write it, or a trainer's log.

    Empty when it is not JSON.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return [figure for figure, _ in zip(_in_results(content), range(MAX_FIGURES), strict=False)]


def _in_results(content: Any) -> Iterator[Figure]:
    if not isinstance(content, dict):
        return
    yield from _flat(content, None)
    history = content.get("log_history")
    for entry in history if isinstance(history, list) else ():
        if isinstance(entry, dict):
            yield from _flat(entry, None)
    results = content.get("results")
    for dataset, values in (results if isinstance(results, dict) else content).items():
        if isinstance(values, dict):
            yield from _flat(values, str(dataset))


def _flat(values: Mapping[Any, Any], dataset: str | None) -> Iterator[Figure]:
    for key, value in values.items():
        if not isinstance(key, str) or key.startswith("train_") or "stderr" in key or number(value) is None:
            continue
        metric = metric_name(key)
        if range_of(metric) is not None and not is_loss(metric):
            yield Figure(metric, value, dataset)


def _find(cell: str) -> tuple[str, str | None] | None:
    """The metric that a cell names, and the dataset that the rest of it names."""
    text = " ".join(cell.lower().replace("_", " ").split())[:200]
    if is_loss(text):
        return None
    for pattern in _METRICS.values():
        if found := pattern.search(text):
            qualifier = re.search(r"\b(?:macro|micro|weighted)\b", text)
            name = metric_name(found[0]) + (f" {qualifier[0]}" if qualifier else "")
            rest = text[: found.start()] + " " + text[found.end() :]
            return name, rest.strip(" ()[]:-") if _NOT_A_DATASET.sub(" ", rest).strip() else None
    return None


def _by_column(
    table: Table, header: Sequence[str], columns: Sequence[tuple[int, tuple[str, str | None]]]
) -> Iterator[Figure]:
    taken = {column for column, _ in columns}
    named = next((n for n, cell in enumerate(header) if _DATASET_COLUMN.search(cell) and n not in taken), None)
    if named is None and 0 not in taken and not _MODEL_COLUMN.search(header[0]):
        named = 0
    for row in table.rows:
        for column, (metric, dataset) in columns:
            if number(row[column]) is not None:
                label = row[named] if named is not None and number(row[named]) is None else ""
                yield Figure(metric, row[column], dataset or label or None)


def _by_row(table: Table, header: Sequence[str]) -> Iterator[Figure]:
    labels = next((n for n, cell in enumerate(header) if _METRIC_COLUMN.search(cell)), 0)
    named = next((n for n, cell in enumerate(header) if _DATASET_COLUMN.search(cell) and n != labels), None)
    for row in table.rows:
        found = _find(row[labels])
        if found is None:
            continue
        for column, cell in enumerate(row):
            if column in (labels, named) or number(cell) is None:
                continue
            told = row[named] if named is not None else found[1]
            plain = _VALUE_COLUMN.match(header[column]) or _MODEL_COLUMN.search(header[column])
            yield Figure(found[0], cell, told or (None if plain else table.header[column]))
