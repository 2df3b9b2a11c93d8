"""Is the training data documented and structured well enough to be trusted? (metrics specification, section 8.2)

Sources: *Datasheets for Datasets*; *Data Cards*; Croissant 1.0/1.1; *Navigating Dataset Documentations in AI*.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from weighhouse.rules.cards import Card, filled_topics, read_card
from weighhouse.rules.evidence import DatasetFacts, Evidence, Missing, Reason
from weighhouse.rules.metrics.result import Result, ok, r2

NAME = "dataset_quality"
METRIC_VERSION = "dataset_quality/1"

MAX_DATASETS = 3

TOPICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "summary": (
            "summary",
            "motivation",
            "description",
            "overview",
            "introduction",
            "about",
            "purpose",
            "dataset card",
        ),
        "structure": ("structure", "field", "split", "instance", "schema", "format", "feature", "column"),
        "source": ("source", "collection", "curation", "creation", "provenance", "origin"),
        "annotation": ("annotat", "label", "processing", "preprocess", "cleaning", "filter"),
        "uses": ("use", "usage", "task", "application", "getting started"),
        "limits": ("limit", "bias", "risk", "caveat", "out-of-scope", "known issue", "consideration", "social impact"),
        "personal": ("personal", "sensitive", "privacy", "ethic", "pii", "anonymi"),
        "maintenance": ("maintenance", "maintain", "contact", "citation", "cite", "contribut", "author", "curator"),
    }
)
"""Beginnings of words that a heading must hold, by topic."""

_EVALUATION = frozenset({"test", "validation", "valid", "val", "dev", "eval", "evaluation"})
_SPLIT_NAME = re.compile(r"(?<![a-z])(train(?:ing)?|test|validation|valid|val|dev|eval|evaluation)(?![a-z])")
_PLAIN = frozenset({"parquet", "arrow", "csv", "tsv", "jsonl", "ndjson", "tar"})
_PICKLES = frozenset({"pkl", "pickle", "joblib", "dill", "pt", "pth", "cloudpickle"})
_EXECUTABLES = frozenset({"exe", "dll", "so", "dylib", "sh", "bash", "bat", "cmd", "ps1", "jar", "com", "msi", "vbs"})
_PACKED = frozenset({"gz", "bz2", "xz", "zst"})


@dataclass(frozen=True)
class Counts:
    """Every number of the formula for one dataset."""

    topics: int
    metadata: int
    has_schema: bool
    is_plain: bool
    has_splits: bool
    has_loading_script: bool
    has_executable: bool


def score_of(counts: Counts) -> float:
    """0.40 documentation + 0.20 metadata + 0.25 structure + 0.15 safety, in [0, 1]."""
    structure = 0.5 * counts.has_schema + 0.25 * counts.is_plain + 0.25 * counts.has_splits
    safety = 0.5 * (not counts.has_loading_script) + 0.5 * (not counts.has_executable)
    return 0.40 * counts.topics / len(TOPICS) + 0.20 * counts.metadata / 4 + 0.25 * structure + 0.15 * safety


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """The mean over the first three datasets, without those that could not be looked into.

    Raises:
        Missing: No dataset is named, or none of them could be looked into.
    """
    datasets = evidence.datasets()[:MAX_DATASETS]
    seen = [facts for facts in datasets if _can_be_judged(facts)]
    if not seen:
        raise _why_none(datasets)
    counts = {facts.id: count(facts) for facts in seen}
    scores = {name: r2(score_of(one)) for name, one in counts.items()}
    reasons = [_reason(name, counts[name]) for name in sorted(scores, key=lambda name: scores[name])]
    if left_out := [facts.id for facts in datasets if facts not in seen]:
        reasons.append(f"Not counted, for it could not be looked into: {', '.join(name[:40] for name in left_out)}")
    inputs = {"datasets": {name: {**vars(one), "score": scores[name]} for name, one in counts.items()}}
    sources = [facts.source for facts in seen if facts.source]
    return ok(NAME, sum(scores.values()) / len(scores), reasons, inputs=inputs, sources=sources)


def count(facts: DatasetFacts) -> Counts:
    """The numbers of the formula for one dataset."""
    card = read_card(facts.card)
    croissant = facts.croissant or {}
    ends = {_end(path) for path in facts.file_sizes}
    splits = _splits(card.metadata) or _splits_by_name(facts.file_sizes)
    return Counts(
        topics=len(_topics(card, croissant)),
        metadata=_metadata(card.metadata, croissant),
        has_schema=_has_schema(card.metadata, croissant),
        is_plain=not ends.isdisjoint(_PLAIN),
        has_splits=len(splits) > 1 or not splits.isdisjoint(_EVALUATION),
        has_loading_script="py" in ends,
        has_executable=not ends.isdisjoint(_PICKLES | _EXECUTABLES),
    )


def _can_be_judged(facts: DatasetFacts) -> bool:
    if facts.missing is not None or facts.state in ("page", "dead", "unknown"):
        return False
    return facts.state != "gated" or bool(facts.card)


def _why_none(datasets: Iterable[DatasetFacts]) -> Missing:
    # A dead link is an observation of dataset_and_code_score; here it is as if nothing had been named.
    alive = [facts for facts in datasets if facts.state != "dead"]
    for facts in alive:
        if facts.missing is not None:
            return facts.missing
        if facts.state == "gated":
            return Missing(Reason.FORBIDDEN, f"{facts.id[:60]} is gated; give a token that may read its card")
    if alive:
        advice = "The dataset is a page outside the hub; name a dataset on the hub or bundle one"
        return Missing(Reason.DATASET_HOST_UNSUPPORTED, advice)
    return Missing(
        Reason.NO_DATASET_NAMED, "No dataset is named; give dataset_url or list datasets in the card's metadata"
    )


def _topics(card: Card, croissant: Mapping[str, Any]) -> frozenset[str]:
    filled = filled_topics(card, TOPICS)
    description = croissant.get("description")
    described = isinstance(description, str) and read_card(description).word_count >= 15
    cited = isinstance(croissant.get("citeAs") or croissant.get("citation"), str)
    return filled | ({"summary"} if described else set()) | ({"maintenance"} if cited else set())


def _metadata(metadata: Mapping[str, Any], croissant: Mapping[str, Any]) -> int:
    tags = [tag for tag in _listed(metadata.get("tags")) if isinstance(tag, str)]
    has_modality = any(tag.startswith("modality:") for tag in tags)
    return sum(
        (
            bool(metadata.get("license") or croissant.get("license")),
            bool(any(metadata.get(key) for key in ("language", "modality", "modalities")) or has_modality)
            or bool(croissant.get("inLanguage")),
            bool(metadata.get("task_categories")),
            bool(metadata.get("size_categories")) or _has_count(metadata),
        )
    )


def _has_count(metadata: Mapping[str, Any]) -> bool:
    return any(
        isinstance(info.get("dataset_size"), int)
        or any(split.get("num_examples") for split in _mappings(info.get("splits")))
        for info in _mappings(metadata.get("dataset_info"))
    )


def _has_schema(metadata: Mapping[str, Any], croissant: Mapping[str, Any]) -> bool:
    features = any(info.get("features") for info in _mappings(metadata.get("dataset_info")))
    return features or bool(_mappings(metadata.get("configs"))) or bool(croissant.get("recordSet"))


def _splits(metadata: Mapping[str, Any]) -> frozenset[str]:
    named = [
        split.get("name") for info in _mappings(metadata.get("dataset_info")) for split in _mappings(info.get("splits"))
    ]
    for config in _mappings(metadata.get("configs")):
        named += [one.get("split") for one in _mappings(config.get("data_files"))]
    return frozenset(name.lower() for name in named if isinstance(name, str))


def _splits_by_name(paths: Iterable[str]) -> frozenset[str]:
    data = (path.lower() for path in paths if _end(path) in _PLAIN | {"json", "txt"})
    return frozenset(name.replace("training", "train") for path in data for name in _SPLIT_NAME.findall(path))


def _end(path: str) -> str:
    at = PurePosixPath(path.lower())
    return PurePosixPath(at.stem).suffix[1:] if at.suffix[1:] in _PACKED else at.suffix[1:]


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mappings(value: object) -> list[dict[str, Any]]:
    """The mappings in a value that may be one mapping or a list of them."""
    return [one for one in ([value] if isinstance(value, dict) else _listed(value)) if isinstance(one, dict)]


def _reason(name: str, counts: Counts) -> str:
    schema = "a schema" if counts.has_schema else "no schema"
    unsafe = [
        what
        for is_there, what in (
            (counts.has_loading_script, "ships a loading script"),
            (counts.has_executable, "ships pickles or executables"),
        )
        if is_there
    ]
    text = f"{name[:60]}: {counts.topics} of 8 topics documented, {counts.metadata} of 4 metadata fields, {schema}"
    return ", ".join([text, *unsafe])
