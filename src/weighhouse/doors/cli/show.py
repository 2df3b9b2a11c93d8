"""The command that shows a package on one card: scores with their reasons, files, origin, and what would help most."""

from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.client import package_path
from weighhouse.doors.cli.naming import find_package_id
from weighhouse.doors.cli.output import Row, bar, cell, clean, moment, score, size
from weighhouse.rules.metrics.net import WEIGHTS

_ADVICE = 3


@remote_command("show")
@click.argument("package", metavar="NAME[@VERSION]|ID")
@click.option("--reasons", "all_reasons", is_flag=True, help="Every reason of every metric, not only the first.")
def show(remote: Remote, package: str, all_reasons: bool) -> None:
    """Show a package: its scores and why, its files, where it comes from, and what would raise its score most.

    \b
    Example:
      weighhouse show bert-base
      weighhouse show acme/bert@2.1.0 --reasons
      weighhouse show bert-base --json | jq .metrics.net_score
    """
    response = remote.server.ask("GET", package_path(find_package_id(remote.server, package), "metadata"))
    if remote.output.as_json:
        remote.output.document(response.text)
        return
    remote.output.show(*_card(remote.server.document(response), all_reasons))


def _card(document: Row, all_reasons: bool) -> Iterator[RenderableType]:
    yield Text(f"{clean(document.get('name'))} {clean(document.get('version'))}", style="bold")
    if document.get("description"):
        yield Text(clean(document["description"]))
    yield Text()
    yield _facts(document)
    yield Text()
    details = _details(document)
    yield _metrics(details, all_reasons)
    advice = list(_advice(details))
    if advice:
        yield Text("\nWhat would raise the score most", style="bold")
        yield from advice


def _facts(document: Row) -> Table:
    grid = Table.grid(padding=(0, 2))
    metrics = document.get("metrics") or {}
    bounds = f"between {score(document.get('net_low'))} and {score(document.get('net_high'))}"
    net = Text.assemble(
        bar(metrics.get("net_score"), 20), f"  {bounds}, {_percent(document.get('coverage'))} of the weight judged"
    )
    facts: list[tuple[str, object]] = [
        ("net score", net),
        ("status", document.get("status")),
        ("verdict", _verdict(document.get("verdict"))),
        *(("", reason) for reason in _reasons(document)),
        ("license", document.get("license")),
        *([("signature", _signature(signature))] if (signature := document.get("signature")) else []),
        ("files", _files(document)),
        ("uploaded", f"{moment(document.get('upload_date'))} UTC"),
        ("rating", _rating(document)),
        ("downloads", document.get("downloads")),
        ("made from", _parents(document)),
        *((label, document.get(key)) for label, key in _LINKS if document.get(key)),
        ("id", document.get("id")),
    ]
    for label, value in facts:
        grid.add_row(Text(label, style="dim"), cell(value))
    return grid


_LINKS = (("model", "model_url"), ("dataset", "dataset_url"), ("code", "code_url"))


def _percent(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, int | float) else "–"


def _verdict(value: object) -> Text:
    styles = {"safe": "green", "suspicious": "yellow", "unsafe": "bold red", "unscanned": "yellow"}
    return Text(clean(value or "–"), style=styles.get(str(value), ""))


def _reasons(document: Row) -> list[str]:
    """Why the files are not safe: the first reason of each, of those that the verdict is of."""
    files = [one for one in document.get("files") or [] if one.get("verdict") == document.get("verdict")]
    told = [f"{clean(one.get('path'))}: {clean(one['reasons'][0])}" for one in files if one.get("reasons")]
    more = [f"and {len(told) - _REASONS} more files"] if len(told) > _REASONS else []
    return [*told[:_REASONS], *more] if document.get("verdict") != "safe" else []


_REASONS = 5


def _signature(found: Row) -> Text:
    styles = {"trusted": "green", "unknown": "yellow", "invalid": "bold red"}
    signer = found.get("signer") or {}
    who = clean(signer.get("name") or signer.get("id") or "nobody who is named")
    state = clean(found.get("state"))
    return Text.assemble((state, styles.get(state, "")), f": {who}. {clean(found.get('reason'))}")


def _files(document: Row) -> str:
    # The metadata lists the first 1,000 only, and says how many there are.
    count = document.get("files_total", len(document.get("files") or []))
    components = ", ".join(map(clean, document.get("components") or [])) or "no weights, datasets or code"
    return f"{clean(count)}, {size(int(document.get('size_bytes') or 0))} ({components})"


def _rating(document: Row) -> str:
    average, ratings = document.get("average_rating"), document.get("ratings")
    if not isinstance(average, int | float):
        return "not rated yet"
    return f"{average:.1f} of 5 ({clean(ratings)} {'rating' if ratings == 1 else 'ratings'})"


def _parents(document: Row) -> str:
    parents = document.get("parents") or []
    named = (
        f"{one.get('name')} {one.get('version') or '(not in this registry)'}" if isinstance(one, Mapping) else str(one)
        for one in parents
    )
    return clean(", ".join(named)) or "nothing that is known"


def _details(document: Row) -> dict[str, Mapping[str, Any]]:
    """The evidence record of each metric, heaviest first; one that the server lacks is left out."""
    kept = document.get("metric_details") or {}
    known = {name: kept[name] for name in WEIGHTS if isinstance(kept.get(name), Mapping)}
    return dict(sorted(known.items(), key=lambda item: -WEIGHTS[item[0]]))


def _metrics(details: Mapping[str, Mapping[str, Any]], all_reasons: bool) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, record in details.items():
        reasons = [clean(reason) for reason in record.get("reasons") or ["no reason given"]]
        shown = "\n".join(reasons) if all_reasons else reasons[0]
        if record.get("status") == "ok":
            grid.add_row(Text(name), bar(record.get("score")), Text(shown))
        else:
            state = clean(record.get("status") or "unknown").replace("_", " ")
            grid.add_row(Text(name), bar(None), Text.assemble((f"{state}: ", "dim"), shown))
    return grid


def _advice(details: Mapping[str, Mapping[str, Any]]) -> Iterator[Text]:
    """The metrics whose missing part weighs most; an unknown one counts as missing whole."""
    missing: list[tuple[float, str, Mapping[str, Any]]] = []
    for name, record in details.items():
        if record.get("status") == "ok":
            missing.append((WEIGHTS[name] * (1 - float(record.get("score") or 0)), name, record))
        elif record.get("status") == "inconclusive":
            missing.append((WEIGHTS[name], name, record))
    missing.sort(key=lambda entry: (-entry[0], entry[1]))
    for share, name, record in missing[:_ADVICE]:
        if share < 0.005:
            return
        reason = clean((record.get("reasons") or ["no reason given"])[0])
        verb = "up to" if record.get("status") == "inconclusive" else "by"
        yield Text(f"  {name} ({verb} {share:.2f}): {reason}")
