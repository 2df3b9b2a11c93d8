"""Results that a package claims in machine-readable form: `model-index` of its card, and `.eval_results` files."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weighhouse.rules.claims import metric_name, range_of
from weighhouse.rules.evidence import Claim
from weighhouse.rules.front_matter import load_metadata

MAX_CLAIMS = 1_000

# What the hub's reader raises on entries of another shape; one bad entry must not hide the good ones.
_MISSHAPEN = (KeyError, TypeError, ValueError, AttributeError)


def card_claims(metadata: Mapping[str, Any]) -> Sequence[Claim]:
    """The claims of a card's `model-index`, entry by entry; what is misshapen claims nothing.

    Only the hub can say that it verified a result, so `verified` in a card is not believed.
    """
    # Importing the client takes a quarter of a second, and most packages claim nothing this way.
    from huggingface_hub.repocard_data import model_index_to_eval_results

    claims: list[Claim] = []
    for entry in _results(metadata.get("model-index")):
        try:
            _, results = model_index_to_eval_results([{"name": "model", "results": [entry]}])
        except _MISSHAPEN:
            continue
        claims += [
            Claim(
                metric=_text(result.metric_type) or _text(result.metric_name) or "",
                value=result.metric_value,
                dataset=_text(result.dataset_name) or _text(result.dataset_type),
                split=_text(result.dataset_split),
                config=_text(result.dataset_config),
                revision=_text(result.dataset_revision),
                task=_text(result.task_type),
                source_url=_text(result.source_url),
                origin="model-index",
            )
            for result in results
        ]
    return claims[:MAX_CLAIMS]


def eval_file_claims(texts: Iterable[str]) -> Sequence[Claim]:
    """The claims of `.eval_results/*.yaml` files, given as text.

    These entries name a benchmark and a task and no metric. Where the task is not itself a metric, the value is read as the
    share of right answers, which is what benchmarks on the hub report.
    """
    from huggingface_hub import parse_eval_result_entries

    claims: list[Claim] = []
    for text in texts:
        for entry in _entries(text):
            try:
                [result] = parse_eval_result_entries([entry])
            except _MISSHAPEN:
                continue
            claims.append(
                Claim(
                    metric=benchmark_metric(_text(result.task_id) or ""),
                    value=result.value,
                    dataset=_text(result.dataset_id),
                    revision=_text(result.dataset_revision),
                    task=_text(result.task_id),
                    date=_text(result.date),
                    source_url=_text(result.source_url),
                    origin="eval-results",
                )
            )
    return claims[:MAX_CLAIMS]


def benchmark_metric(task: str) -> str:
    """The metric of a benchmark's figure: the task where that is one, else the share of right answers."""
    return task if range_of(metric_name(task)) else "accuracy"


def _results(index: object) -> list[dict[str, Any]]:
    models = [model for model in index if isinstance(model, dict)] if isinstance(index, list) else []
    listed = [result for model in models if isinstance(model.get("results"), list) for result in model["results"]]
    return [result for result in listed if isinstance(result, dict)][:MAX_CLAIMS]


def _entries(text: str) -> list[dict[str, Any]]:
    # The file is a list, and the guarded reader takes mappings: an indented list is the same under a key.
    body = text.lstrip("\ufeff").strip().removeprefix("---")
    entries = load_metadata("entries:\n" + "\n".join(f"  {line}" for line in body.splitlines()))[0].get("entries")
    return [entry for entry in entries if isinstance(entry, dict)][:MAX_CLAIMS] if isinstance(entries, list) else []


def _text(value: object) -> str | None:
    """A scalar as text: YAML reads a date or a revision of digits as another type."""
    if value is None or isinstance(value, dict | list | bool):
        return None
    return str(value)[:400] if not isinstance(value, int) or abs(value) < 10**100 else None
