"""Could I get the training data and the code behind this model? (metrics specification, section 8.1)

Sources: *The Model Openness Framework*; *ML Code Completeness Checklist*.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from weighhouse.rules.cards import Card, read_card
from weighhouse.rules.evidence import CodeTree, DatasetFacts, Evidence, Missing, Reason, Source
from weighhouse.rules.metrics.result import Result, ok
from weighhouse.rules.programs import infers, is_test_path, parsed, trains
from weighhouse.rules.requirements import declared

NAME = "dataset_and_code_score"
METRIC_VERSION = "dataset_and_code_score/1"

MAX_DATASETS = 3
MIN_CARD_WORDS = 50
RESOLVES = {"bundled": 0.20, "public": 0.20, "gated": 0.12, "page": 0.15, "dead": 0.0}

_SOURCE_ENDS = frozenset(
    {".py", ".ipynb", ".c", ".cc", ".cpp", ".cu", ".java", ".js", ".ts", ".go", ".rs", ".rb", ".sh", ".jl", ".r", ".cs"}
    | {".kt", ".swift", ".scala", ".lua"}
)
_FORGE = re.compile(
    r"https?://(?:www\.)?(?:github\.com|gitlab\.com|codeberg\.org|bitbucket\.org)/[\w.-]+/([\w.-]+)", re.IGNORECASE
)
_SAYS_CODE = re.compile(r"\b(code|repo|repository|source|github|gitlab|implementation|scripts?)\b", re.IGNORECASE)
_PYTHON = frozenset({"python", "py", "python3", ""})


@dataclass(frozen=True)
class CodeHalf:
    """What was found of the code: each item of the table."""

    is_located: bool = False
    has_source: bool = False
    trains: bool = False
    infers: bool = False
    declares_dependencies: bool = False


def dataset_score(facts: DatasetFacts) -> float:
    """The dataset half for one dataset, in [0, 0.5]: named, resolves, has a card of 50 words."""
    named = 0.10 if facts.named_by == "inferred" else 0.15
    has_card = read_card(facts.card).word_count >= MIN_CARD_WORDS
    card = 0.05 if facts.state == "page" else 0.15 if has_card and facts.state != "dead" else 0.0
    return named + RESOLVES[facts.state] + card


def code_score(half: CodeHalf) -> float:
    """The code half, in [0, 0.5]: location, source, training, evaluation, dependencies."""
    # A location alone earns its tenth; what the code does counts only where there is code.
    found = 0.15 + 0.10 * half.trains + 0.05 * half.infers if half.has_source else 0.0
    return 0.10 * half.is_located + found + 0.10 * (half.is_located and half.declares_dependencies)


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """The mean dataset half of the first three datasets, and the code half.

    Raises:
        Missing: The card could not be read, or what is named could not be looked at for want of access.
    """
    datasets = evidence.datasets()[:MAX_DATASETS]
    for facts in datasets:
        # Of a gated dataset the hub may say that it is there and keep its card from us.
        if facts.state == "unknown" or (facts.missing is not None and not facts.card):
            raise facts.missing or Missing(
                Reason.UNREACHABLE, f"The dataset {facts.id[:60]} could not be looked at; try again"
            )
    half, place, looked_at = _code_half(evidence)
    scores = [dataset_score(facts) for facts in datasets]
    data = sum(scores) / len(scores) if scores else 0.0
    inputs = {
        "dataset_half": {facts.id: score for facts, score in zip(datasets, scores, strict=True)},
        "inferred": [facts.id for facts in datasets if facts.named_by == "inferred"],
        **vars(half),
    }
    reasons = [*_dataset_reasons(datasets), *_code_reasons(half, place)]
    sources = [*(facts.source for facts in datasets if facts.source), looked_at]
    return ok(NAME, data + code_score(half), reasons, inputs=inputs, sources=sources)


def _code_half(evidence: Evidence) -> tuple[CodeHalf, str, Source]:
    """The code half, where it was looked for (an address, or `""` for the package itself), and what was seen there."""
    tree, place = evidence.code(), evidence.code_url or ""
    if tree.origin == "package" and not place and not _has_source(tree):
        place = code_link(read_card(evidence.card()), evidence.model_id) or ""
        if not place:
            return CodeHalf(), "", tree.source
        try:
            tree = evidence.linked_code(place)
        except Missing as missing:
            if missing.reason is not Reason.NO_CODE_REPO:
                raise
    is_dead = bool(place) and tree.origin == "package"
    half = _look(tree, _has_source(tree), evidence)
    return half, f"{place} (a dead link)" if is_dead else place, tree.source


def _has_source(tree: CodeTree) -> bool:
    return any(PurePosixPath(path.lower()).suffix in _SOURCE_ENDS for path in tree.paths)


def code_link(card: Card, model_id: str) -> str | None:
    """The first link of the card to a repository that is said to be the code, or that bears the model's name."""
    own = model_id.rpartition("/")[2].lower()
    for link in card.links:
        if (found := _FORGE.match(link.target)) and (_SAYS_CODE.search(link.text) or found[1].lower() == own):
            return link.target
    return None


def _look(tree: CodeTree, has_source: bool, evidence: Evidence) -> CodeHalf:
    programs = [parsed(text) for path, text in tree.texts.items() if not is_test_path(path)]
    is_notebook = any(path.lower().endswith(".ipynb") for path in tree.paths)
    infer = is_notebook or any(infers(program) for program in programs if program)
    return CodeHalf(
        is_located=True,
        has_source=has_source,
        trains=any(trains(program) for program in programs if program),
        infers=infer or _has_snippet(evidence),
        declares_dependencies=declared(tree.paths, {**tree.texts, **tree.extras}).is_declared,
    )


def _has_snippet(evidence: Evidence) -> bool:
    try:
        card = read_card(evidence.card())
    except Missing:
        # The snippet is one of several ways to earn this item, so its absence settles nothing by itself.
        return False
    blocks = [block for block in card.code_blocks if block.fenced and block.language in _PYTHON and block.text.strip()]
    return any(infers(program) for block in blocks if (program := parsed(block.text)))


def _dataset_reasons(datasets: Sequence[DatasetFacts]) -> list[str]:
    if not datasets:
        return ["No dataset is bundled, given or named in the card"]
    said = {
        "dead": "dataset link is dead: {}",
        "gated": "{} is a gated dataset",
        "public": "{} is a public dataset",
        "page": "{} is a page outside the hub",
        "bundled": "{} is bundled with the package",
    }
    dead_first = sorted(datasets, key=lambda facts: facts.state != "dead")
    return [said[facts.state].format(_named(facts)) + _card_note(facts) for facts in dead_first[:2]]


def _named(facts: DatasetFacts) -> str:
    return facts.id[:80] + (", inferred from the card's text," if facts.named_by == "inferred" else "")


def _card_note(facts: DatasetFacts) -> str:
    if facts.state in ("dead", "page"):
        return ""
    words = read_card(facts.card).word_count
    return (
        " with a card" if words >= MIN_CARD_WORDS else f" whose card has {words} words" if words else " without a card"
    )


def _code_reasons(half: CodeHalf, place: str) -> list[str]:
    if not half.is_located:
        return ["No code repository is given, and the package bundles no code"]
    if not half.has_source:
        return [f"{(place or 'The package')[-100:]} holds no source file"]
    items = (
        (half.trains, "training code"),
        (half.infers, "evaluation or inference code"),
        (half.declares_dependencies, "declared dependencies"),
    )
    present = [name for is_there, name in items if is_there]
    absent = [name for is_there, name in items if not is_there]
    return [f"The code has {' and '.join(present)}"] * bool(present) + [
        f"The code has no {' and no '.join(absent)}"
    ] * bool(absent)
