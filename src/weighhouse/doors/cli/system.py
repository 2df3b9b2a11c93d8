"""The commands for the server itself: its health, its log, and starting afresh."""

from collections.abc import Iterator, Mapping

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from weighhouse.doors.cli.asking import Remote, confirm, remote_command
from weighhouse.doors.cli.client import Refused, Value
from weighhouse.doors.cli.output import Row, cell, clean, moment, table

_RESET_WORD = "reset"


@remote_command("reset")
@click.option("--confirm", "word", metavar="WORD", help=f"The word {_RESET_WORD!r}, for scripts; typed otherwise.")
def reset(remote: Remote, word: str | None) -> None:
    """Delete all packages and all users but the default admin; for admins.

    \b
    Example:
      weighhouse reset
      weighhouse reset --confirm reset
    """
    if word is None:
        confirm(_RESET_WORD, f"This deletes every package and user of {remote.server.url} for ever.")
    elif word != _RESET_WORD:
        raise Refused(f"Nothing was changed. The word is {_RESET_WORD!r}.")
    response = remote.server.ask("DELETE", "/reset")
    if remote.output.as_json:
        remote.output.document(response.text)
    else:
        remote.output.show(f"{remote.server.url} is as it was at its first start.")


@remote_command("health")
@click.option("--detailed", is_flag=True, help="Requests, latencies and the machine's load, too.")
def health(remote: Remote, detailed: bool) -> None:
    """Show whether the server and what it needs are well; exit code 1 when not.

    \b
    Example:
      weighhouse health --detailed
      until weighhouse health >/dev/null 2>&1; do sleep 1; done
    """
    params: dict[str, Value] = {"detailed": "true"} if detailed else {}
    response = remote.server.ask("GET", "/health", params=params, accept=503)
    document = remote.server.document(response)
    if remote.output.as_json:
        remote.output.document(response.text)
    else:
        remote.output.show(*_health(document))
    if document.get("status") != "healthy":
        raise Refused(f"{remote.server.url} is {document.get('status') or 'not well'}.", response.status_code)


def _health(document: Row) -> Iterator[RenderableType]:
    yield _pairs({"status": document.get("status"), **(document.get("components") or {})})
    if document.get("metrics"):
        yield Text()
        yield _pairs(document["metrics"])
    if document.get("top_endpoints"):
        yield Text()
        columns = ("endpoint", "count>", "errors>", "average ms>")
        keys = ("endpoint", "count", "errors", "avg_response_ms")
        yield table(columns, [[row.get(key) for key in keys] for row in document["top_endpoints"]])


def _pairs(pairs: Mapping[str, object]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        grid.add_row(Text(clean(name).replace("_", " "), style="dim"), cell(value))
    return grid


@remote_command("logs")
@click.option(
    "--level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False),
    help="Only requests of this level: INFO went well, WARNING was refused (4xx), ERROR failed (5xx).",
)
@click.option("--start", "start_time", metavar="TIME", help="From this time on: 2026-01-31T08:00:00, UTC.")
@click.option("--end", "end_time", metavar="TIME", help="Up to this time.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Newest lines shown.")
def logs(remote: Remote, level: str | None, start_time: str | None, end_time: str | None, limit: int) -> None:
    """Show the newest requests the server logged; for admins.

    \b
    Example:
      weighhouse logs --level ERROR --limit 20
    """
    params: dict[str, Value] = {"level": level, "start_time": start_time, "end_time": end_time, "limit": limit}
    response = remote.server.ask("GET", "/logs", params=params)
    if remote.output.as_json:
        remote.output.document(response.text)
        return
    rows = remote.server.document(response).get("logs") or []
    remote.output.show(table(("time", "status>", "request", "error"), [_logged(row) for row in rows]))


def _logged(row: Row) -> tuple[object, ...]:
    request = f"{row.get('method')} {row.get('endpoint')}"
    # The seed writes the endpoint with its method in front.
    endpoint = str(row.get("endpoint"))
    shown = endpoint if endpoint.startswith(f"{row.get('method')} ") else request
    error = row.get("error")
    return moment(row.get("timestamp")), row.get("status_code"), shown, "" if error is None else error
