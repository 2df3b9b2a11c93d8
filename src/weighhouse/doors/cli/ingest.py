"""The command that has a server take a model in from the hub, and shows what the gate said."""

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.client import Refused
from weighhouse.doors.cli.output import Row, bar, clean, note, score, table
from weighhouse.doors.cli.progress import waiting

# The server fetches the whole model before it answers.
_ANSWER_SECONDS = 24 * 3600.0
_LISTED = 5


@remote_command("ingest")
@click.argument("model_url")
@click.option("--name", metavar="NAME", help="The package's name; by default the model's id.")
@click.option("--version", "version", metavar="V", help="By default the first 12 characters of the commit.")
@click.option("--revision", metavar="REV", help="Branch, tag or commit; by default the newest.")
@click.option("--dataset-url", metavar="URL", help="The dataset it was trained on.")
@click.option("--code-url", metavar="URL", help="The repository of its code.")
@click.option("--all-weights", is_flag=True, help="Also the same weights in older formats, beside safetensors.")
def ingest(remote: Remote, model_url: str, all_weights: bool, **fields: str | None) -> None:
    """Take a model in from the Hub, if every score reaches its threshold; else show what is missing and exit 1.

    The server fetches and weighs the model; a refused one is not kept. Started again after an interruption, it fetches
    what it lacks.

    \b
    Example:
      weighhouse ingest google-bert/bert-base-uncased
      weighhouse ingest https://huggingface.co/acme/tiny/tree/v2 --name acme/tiny --version 2.0.0
    """
    body: dict[str, Any] = {"model_url": model_url, "all_weights": all_weights}
    body |= {name: value for name, value in fields.items() if value}
    try:
        with waiting(f"Fetching and weighing {model_url}"):
            response = remote.server.ask("POST", "/package/ingest", body=body, read_seconds=_ANSWER_SECONDS)
    except Refused as refused:
        _explain(remote, refused)
        raise
    document = remote.server.document(response)
    if remote.output.as_json:
        remote.output.document(response.text)
    else:
        _report(remote, document)


def _explain(remote: Remote, refused: Refused) -> None:
    """Shows each score and what would raise those that are too low."""
    metrics = [one for one in refused.members.get("metrics") or [] if isinstance(one, dict)]
    if remote.output.as_json:
        if refused.members:
            remote.output.document(json.dumps(dict(refused.members), ensure_ascii=False))
    elif metrics:
        remote.output.show(_scores(metrics))
        fixes = [one for one in metrics if one.get("fix")]
        if fixes:
            remote.output.show(Text("\nWhat would fix it", style="bold"))
            remote.output.show(*(Text(f"{clean(one.get('metric'))}: {clean(one['fix'])}") for one in fixes))


def _scores(metrics: Sequence[Row]) -> Table:
    rows = [(one.get("metric"), bar(one.get("score")), _asked(one), _first_reason(one)) for one in metrics]
    return table(("metric", "score", "asked for>", "because"), rows)


def _asked(one: Row) -> str:
    return score(one["threshold"]) if "threshold" in one else ""


def _first_reason(one: Row) -> str:
    reasons = one.get("reasons")
    return clean(reasons[0]) if isinstance(reasons, list) and reasons else ""


def _report(remote: Remote, document: Row) -> None:
    package_id = clean(document.get("package_id"))
    remote.output.show(
        f"{clean(document.get('name'))} {clean(document.get('version'))}",
        f"package id  {package_id}",
        f"commit      {clean(document.get('revision'))}",
        f"net score   {score(document.get('net_score'))}",
        f"gate        {clean(document.get('gate'))}",
    )
    for one in document.get("inconclusive") or []:
        note(f"Not known: {clean(one.get('metric'))}: {_first_reason(one)}")
    left_out = document.get("left_out") or []
    if left_out:
        more = f" and {len(left_out) - _LISTED} more" if len(left_out) > _LISTED else ""
        note(f"Not fetched, the same weights once more: {', '.join(map(clean, left_out[:_LISTED]))}{more}")
    for warning in document.get("warnings") or []:
        note(f"Easily confused with {clean(warning)}")
    note(f"See why with `weighhouse show {package_id}`.")
