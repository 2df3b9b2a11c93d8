"""How soon can a competent engineer make this model do something useful? (metrics specification, section 3)"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from weighhouse.rules.card_text import Link
from weighhouse.rules.cards import Card, filled_topics, read_card
from weighhouse.rules.evidence import Evidence, HubModel, Missing, Source
from weighhouse.rules.metrics.result import Result, ok
from weighhouse.rules.snippets import Names, kind_of, names_model
from weighhouse.rules.weights import is_weight, tensors_of_size, variants

NAME = "ramp_up_time"
METRIC_VERSION = "ramp_up_time/1"

ITEM_WEIGHTS: Mapping[str, int] = MappingProxyType(
    {
        "usage_snippet": 25,
        "task_and_io": 15,
        "description": 10,
        "installation": 15,
        "use_and_limits": 15,
        "run_needs": 5,
        "loadable_layout": 10,
        "pointers": 5,
    }
)
TOPICS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "io": ("input", "output", "prompt format", "label", "chat template"),
        "install": ("install", "requirements", "dependencies", "setup"),
        "use": ("intended", "direct use", "uses", "application"),
        "limits": ("limitation", "bias", "risk", "caveat", "out-of-scope", "out of scope"),
    }
)
DESCRIPTION_WORDS = (20, 50)

_REQUIREMENT_FILES = re.compile(
    r"(?:^|/)(?:requirements[^/]*\.(?:txt|in)|pyproject\.toml|setup\.(?:py|cfg)|environment\.ya?ml|pipfile|poetry\.lock|uv\.lock)$"
)
_INSTALL_COMMAND = re.compile(
    r"\b(?:pip3?|uv pip|conda|mamba|npm|yarn|brew|apt|apt-get|cargo|pipx|winget) (?:install|add|i)\b|\buv add\b"
    r"|\bdocker (?:pull|run|build)\b|\bcmake -B\b|\bollama (?:pull|run)\b"
)
_AMOUNT = r"\d+(?:\.\d+)? ?[gm]i?b\b"
_PROCESSOR = r"(?:gpu|cpu|core)s?\b"
# Memory, a processor, a precision or a context length, each with its figure.
_RUN_NEEDS = re.compile(
    rf"{_AMOUNT}.{{0,80}}\b(?:v?ram|memory|{_PROCESSOR})|\b(?:v?ram|memory|{_PROCESSOR}).{{0,80}}\b{_AMOUNT}"
    rf"|\b\d+ ?x? (?:[\w-]+ ){{0,2}}{_PROCESSOR}|\b{_PROCESSOR}.{{0,40}}\b\d+x?\b"
    r"|\b(?:fp|bf|float|bfloat|int)-?(?:4|8|16|32)\b|\b[2-8]-bit\b"
    r"|\b(?:context|sequence|input)[ -_](?:length|window|size)\b.{0,60}\d{2}|\blonger than \d+|\b\d[\d,.]*k?[ -]tokens? context"
)
_POINTER_TEXT = re.compile(r"\b(?:paper|doc|docs|documentation|demo|notebook|tutorial|colab|space|report|arxiv|doi)\b")
_POINTER_TARGET = re.compile(
    r"arxiv\.org/|doi\.org/|aclanthology\.org|openreview\.net|/papers?/|proceedings|\.ipynb|colab\.research|/spaces/|//docs?\.|/docs?(?:/|$)"
    r"|readthedocs|\.github\.io|/demo|/wiki"
)
_GENERIC_LABEL = re.compile(r"LABEL_\d+|\d+")
_TOKENIZER = re.compile(
    r"(?:^|/)(?:tokenizer[^/]*\.(?:json|model)|vocab[^/]*\.(?:txt|json|bpe)|spiece\.model|sentencepiece[^/]*\.model|merges\.txt"
    r"|(?:pre)?processor_config\.json|preprocessor_config\.json|video_preprocessor_config\.json)$"
)
_CONFIG_LIKE = re.compile(
    r"(?:config|index|args|hparams|params|settings|metadata|model)[^/]*\.(?:json|ya?ml|toml|ini|cfg)$"
)


@dataclass(frozen=True)
class _Facts:
    """What the card, the files and the hub say of one model."""

    card: Card
    topics: frozenset[str]
    sizes: Mapping[str, int]
    names: Names
    hub: HubModel | None
    config: Mapping[str, Any]

    @property
    def library(self) -> str | None:
        return _text(self.card.metadata.get("library_name")) or (self.hub.library_name if self.hub else None)

    @property
    def task(self) -> str | None:
        return _text(self.card.metadata.get("pipeline_tag")) or (self.hub.pipeline_tag if self.hub else None)


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """The grades of eight things that a newcomer needs, weighed.

    Raises:
        Missing: The card could not be read: most of the questions are about it, and an outage is no silence.
    """
    facts = _gather(evidence)
    grades = {
        "usage_snippet": _usage_snippet(facts),
        "task_and_io": (_half(facts.task) + _half(_describes_io(facts))),
        "description": _description(facts.card.opening_word_count),
        "installation": _half(facts.library or _has_requirements(facts)) + _half(_says_how_to_install(facts)),
        "use_and_limits": _half("use" in facts.topics) + _half("limits" in facts.topics),
        "run_needs": float(any(_RUN_NEEDS.search(line.lower()[:1_000]) for line in facts.card.lines)),
        "loadable_layout": _layout(facts),
        "pointers": float(any(map(_is_pointer, facts.card.links))),
    }
    inputs = {
        "grades": grades,
        "weights": dict(ITEM_WEIGHTS),
        "opening_words": facts.card.opening_word_count,
        "topics": sorted(facts.topics),
    }
    sources = [Source("package", evidence.name)]
    if facts.hub is not None:
        sources.append(Source("hub", f"{facts.hub.id}@{facts.hub.sha}"))
    return ok(NAME, weigh(grades), _reasons(grades, facts.card.note), inputs=inputs, method="card", sources=sources)


def weigh(grades: Mapping[str, float]) -> float:
    """The score of the grades, not yet rounded.

    >>> weigh({"task_and_io": 0.5, "loadable_layout": 1.0})
    0.175
    """
    return sum(ITEM_WEIGHTS[item] * grade for item, grade in grades.items()) / 100


def _gather(evidence: Evidence) -> _Facts:
    card = read_card(evidence.card())
    hub = _hub(evidence)
    files = {file.path: file.size_bytes for file in evidence.files()}
    sizes = {**(hub.file_sizes if hub else {}), **files}
    return _Facts(
        card=card,
        topics=filled_topics(card, TOPICS),
        sizes=sizes,
        names=Names(evidence.model_id, sizes),
        hub=hub,
        config=_config(evidence, files) or (hub.config if hub else {}),
    )


def _hub(evidence: Evidence) -> HubModel | None:
    """The hub's facts where there are any; the package alone suffices."""
    try:
        return evidence.hub()
    except Missing:
        return None


def _config(evidence: Evidence, paths: Mapping[str, int]) -> Mapping[str, Any]:
    """What the config.json nearest to the top says; empty when there is none or it says nothing readable."""
    found = min((path for path in paths if path.rpartition("/")[2] == "config.json"), key=_depth, default=None)
    if found is None:
        return {}
    try:
        config = json.loads(evidence.text(found))
    except (Missing, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _depth(path: str) -> tuple[int, str]:
    return path.count("/"), path


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _half(fact: object) -> float:
    return 0.5 if fact else 0.0


def _usage_snippet(facts: _Facts) -> float:
    blocks = [block for block in facts.card.code_blocks if block.fenced]
    if any(names_model(block, facts.names) for block in blocks):
        return 1.0
    return _half(any(kind_of(block) is not None for block in blocks) or (facts.library and facts.task))


def _describes_io(facts: _Facts) -> bool:
    widget = facts.card.metadata.get("widget")
    labels = facts.config.get("id2label")
    named_labels = isinstance(labels, dict) and any(
        isinstance(label, str) and not _GENERIC_LABEL.fullmatch(label) for label in labels.values()
    )
    examples = bool(isinstance(widget, list) and widget) or (facts.hub is not None and facts.hub.has_widget_examples)
    return "io" in facts.topics or named_labels or examples


def _description(words: int) -> float:
    half, full = DESCRIPTION_WORDS
    return 1.0 if words >= full else _half(words >= half)


def _has_requirements(facts: _Facts) -> bool:
    return any(_REQUIREMENT_FILES.search(path.lower()) for path in facts.sizes)


def _says_how_to_install(facts: _Facts) -> bool:
    texts = (*facts.card.lines, *(block.text for block in facts.card.code_blocks))
    return "install" in facts.topics or any(_INSTALL_COMMAND.search(text) for text in texts)


def _layout(facts: _Facts) -> float:
    weights = {path: tensors_of_size(size) for path, size in facts.sizes.items() if is_weight(path)}
    found = [variant for variant in variants(weights, facts.sizes) if variant.complete and variant.size_bytes > 0]
    if any(variant.format == "gguf" for variant in found):
        return 1.0
    names = {path.rpartition("/")[2] for path in facts.sizes}
    if "config.json" in names and (facts.library in (None, "transformers") or "model_type" in facts.config):
        tokenizer = any(_TOKENIZER.search(path.lower()) for path in facts.sizes)
        return (1 + bool(found) + tokenizer) / 3
    return _half(found) + _half(any(_CONFIG_LIKE.search(path.lower()) for path in facts.sizes))


def _is_pointer(link: Link) -> bool:
    target = link.target.lower()
    if _POINTER_TARGET.search(target):
        return True
    return target.startswith(("http://", "https://")) and _POINTER_TEXT.search(link.text.lower()) is not None


_SHOWN = MappingProxyType(
    {
        "usage_snippet": "usage snippet for this model",
        "task_and_io": "task, inputs and outputs",
        "description": "description",
        "installation": "installation",
        "use_and_limits": "use and limits",
        "run_needs": "run needs",
        "loadable_layout": "loadable files",
        "pointers": "paper or docs",
    }
)


def _reasons(grades: Mapping[str, float], note: str | None) -> list[str]:
    by_state: dict[str, list[str]] = {"Missing": [], "In part": [], "There": []}
    for item in sorted(grades, key=lambda item: -ITEM_WEIGHTS[item]):
        state = "There" if grades[item] >= 1 else "In part" if grades[item] > 0 else "Missing"
        by_state[state].append(_SHOWN[item])
    reasons = [f"{state}: {', '.join(items)}" for state, items in by_state.items() if items]
    return [*reasons, f"Of the card, {note}"] if note else reasons
