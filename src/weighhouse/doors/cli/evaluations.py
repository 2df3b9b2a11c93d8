"""The command that lists how a package was weighed over time, and what changed from each time to the next."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.text import Text

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.client import package_path
from weighhouse.doors.cli.listing import paged, show_listing
from weighhouse.doors.cli.naming import find_package_id
from weighhouse.doors.cli.output import Row, bar, clean, moment, score

_DIGEST_CHARACTERS = 12


@remote_command("evaluations")
@click.argument("package", metavar="NAME[@VERSION]|ID")
@paged
def evaluations(remote: Remote, package: str, limit: int, everything: bool) -> None:
    """List how a package was weighed over time, newest first, and what changed each time.

    \b
    Example:
      weighhouse evaluations bert-base
    """
    path = package_path(find_package_id(remote.server, package), "evaluations")
    columns = ("when", "net score", "low>", "high>", "coverage>", "method", "evidence", "since the one before")
    show_listing(remote, path, "evaluations", {"limit": limit}, everything, columns, _evaluation)


def _evaluation(row: Row) -> tuple[object, ...]:
    figures = (score(row.get("net_low")), score(row.get("net_high")), score(row.get("coverage")))
    digest = str(row.get("evidence_digest") or "–")[:_DIGEST_CHARACTERS]
    since = row.get("since_previous")
    told = "\n".join(map(clean, _told(since))) if isinstance(since, Mapping) else "the first evaluation"
    when = moment(row.get("evaluated_at"))
    return when, bar(row.get("net_score")), *figures, row.get("metrics_version"), digest, Text(told)


def _told(since: Row) -> Iterator[str]:
    """What changed, a line each: the net score, the method, then every metric with what it says now."""
    gained = since.get("net_score_change")
    changed = since.get("metrics") or []
    if isinstance(gained, int | float) and gained:
        yield f"net score {gained:+.2f}"
    if since.get("method_changed"):
        yield f"another method: it was {since.get('metrics_version')}"
    for change in changed:
        yield from _metric(change)
    if not changed:
        yield "other evidence, the same results" if since.get("evidence_changed") else "nothing"


def _metric(change: Row) -> Iterator[str]:
    before, after = _answer(change, "before"), _answer(change, "after")
    yield f"{change.get('metric')} {before} → {after}" if before != after else f"{change.get('metric')} {after}"
    for sign, which in (("+", "new"), ("-", "gone")):
        yield from (f"  {sign} {reason}" for reason in _list(change, f"reasons_{which}"))
    for sign, which in (("+", "new"), ("-", "gone")):
        for source in _list(change, f"sources_{which}"):
            yield f"  {sign} evidence: {source.get('kind')} {source.get('ref')}"


def _answer(change: Row, when: str) -> str:
    """The score, or what stood in its place."""
    status = change.get(f"status_{when}")
    if status == "ok":
        return score(change.get(f"score_{when}"))
    return str(status or "not asked").replace("_", " ")


def _list(change: Row, key: str) -> Sequence[Any]:
    found = change.get(key)
    return found if isinstance(found, list) else []
