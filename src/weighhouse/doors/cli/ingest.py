"""The command that has a server take a model in from the hub, and shows what the gate said."""

import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import click
from rich.table import Table
from rich.text import Text

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.client import Interrupted, Refused
from weighhouse.doors.cli.output import Row, bar, clean, note, score, table
from weighhouse.doors.cli.progress import progress, waiting

_LISTED = 5
# Each look takes a call of the token's budget: an ingest of hours must not use it up.
_LOOK_SECONDS = (0.5, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 10.0, 10.0, 15.0)
_ENDED = frozenset({"admitted", "refused", "failed", "cancelled"})


@remote_command("ingest")
@click.argument("model_url", required=False)
@click.option("--name", metavar="NAME", help="The package's name; by default the model's id.")
@click.option("--version", "version", metavar="V", help="By default the first 12 characters of the commit.")
@click.option("--revision", metavar="REV", help="Branch, tag or commit; by default the newest.")
@click.option("--dataset-url", metavar="URL", help="The dataset it was trained on.")
@click.option("--code-url", metavar="URL", help="The repository of its code.")
@click.option("--all-weights", is_flag=True, help="Also the same weights in older formats, beside safetensors.")
@click.option("--no-wait", is_flag=True, help="End as soon as the server has begun, and say how to look again.")
@click.option("--resume", "ingest_id", metavar="ID", help="Go on waiting for an ingest that was begun before.")
@click.option("--cancel", "cancelled_id", metavar="ID", help="Have the server give up an ingest that was begun before.")
def ingest(
    remote: Remote,
    model_url: str | None,
    all_weights: bool,
    no_wait: bool,
    ingest_id: str | None,
    cancelled_id: str | None,
    **fields: str | None,
) -> None:
    """Take a model in from the Hub, if every score reaches its threshold; else show what is missing and exit 1.

    The server fetches and weighs the model; a refused one is not kept. It goes on when this command is interrupted. Asked
    for again after a failure, it fetches what it lacks.

    \b
    Example:
      weighhouse ingest google-bert/bert-base-uncased
      weighhouse ingest google-bert/bert-base-uncased --no-wait
      weighhouse ingest https://huggingface.co/acme/tiny/tree/v2 --name acme/tiny --version 2.0.0
    """
    if [model_url, ingest_id, cancelled_id].count(None) != 2:
        raise click.UsageError("Name either a model or, with --resume or --cancel, an ingest that was begun before.")
    if cancelled_id is not None:
        _cancel(remote, cancelled_id)
        return
    if model_url is not None:
        body: dict[str, Any] = {"model_url": model_url, "all_weights": all_weights}
        body |= {name: value for name, value in fields.items() if value}
        begun = remote.server.ask("POST", "/package/ingest", body=body, headers={"Prefer": "respond-async"})
        state = remote.server.document(begun)
        ingest_id = clean(state.get("ingest_id"))
    else:
        state = _look(remote, str(ingest_id))
    if not no_wait:
        state = _followed(remote, str(ingest_id), state)
    _tell(remote, state)


def _followed(remote: Remote, ingest_id: str, state: Row) -> Row:
    """The state in which it ends, a bar drawn meanwhile.

    Raises:
        Interrupted: The user pressed Ctrl-C; the server goes on.
    """
    pauses = itertools.chain(_LOOK_SECONDS, itertools.repeat(_LOOK_SECONDS[-1]))
    try:
        while state.get("state") not in _ENDED:
            state = _when_it_changed(remote, ingest_id, state, pauses)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(
            f"The server goes on. Look again with `weighhouse ingest --resume {clean(ingest_id)}`."
        ) from None
    except Refused:
        note(f"How it goes on could not be read. Look again with `weighhouse ingest --resume {clean(ingest_id)}`.")
        raise
    return state


def _when_it_changed(remote: Remote, ingest_id: str, state: Row, pauses: Iterator[float]) -> Row:
    """The ingest in another state than now; how far it is gets drawn meanwhile."""
    now = state.get("state")
    label = _LABELS.get(str(now), str(now))
    with contextlib.ExitStack() as drawn:
        moved = None
        if now == "fetching":
            moved = drawn.enter_context(progress(label, state.get("bytes_total"), state.get("bytes_done") or 0))
        else:
            drawn.enter_context(waiting(label))
        while True:
            time.sleep(next(pauses))
            before, state = state, _look(remote, ingest_id)
            if moved is not None:
                moved((state.get("bytes_done") or 0) - (before.get("bytes_done") or 0))
            if state.get("state") != now:
                return state


_LABELS = {"waiting": "Waiting for the server to begin", "fetching": "Fetching", "weighing": "Weighing"}


def _look(remote: Remote, ingest_id: str) -> Row:
    return remote.server.document(remote.server.ask("GET", f"/package/ingest/{quote(ingest_id, safe='')}"))


def _cancel(remote: Remote, ingest_id: str) -> None:
    response = remote.server.ask("DELETE", f"/package/ingest/{quote(ingest_id, safe='')}")
    state = remote.server.document(response)
    if remote.output.as_json:
        remote.output.document(response.text)
    else:
        remote.output.show(
            f"{clean(state.get('name'))} {clean(state.get('version'))} is not taken in; nothing is kept."
        )


def _tell(remote: Remote, state: Row) -> None:
    """Shows what came of it, or how far it is.

    Raises:
        Refused: The model was not let in.
    """
    problem = state.get("problem")
    if isinstance(problem, dict):
        refused = Refused(clean(problem.get("detail")), members=problem)
        _explain(remote, refused)
        raise refused
    if remote.output.as_json:
        remote.output.document(json.dumps(state, ensure_ascii=False))
    elif state.get("state") == "admitted":
        _report(remote, state)
    else:
        remote.output.show(f"{clean(state.get('name'))} {clean(state.get('version'))} is {clean(state.get('state'))}")
        note(f"Look again with `weighhouse ingest --resume {clean(state.get('ingest_id'))}`.")


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
