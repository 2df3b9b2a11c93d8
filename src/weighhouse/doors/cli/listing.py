"""A listing, page by page: as a table, as the server's page, or one row a line."""

from collections.abc import Callable

import click

from weighhouse.doors.cli.asking import Remote
from weighhouse.doors.cli.client import Value
from weighhouse.doors.cli.output import Row, note, table


def show_listing(
    remote: Remote,
    path: str,
    key: str,
    params: dict[str, Value],
    everything: bool,
    columns: tuple[str, ...],
    draw: Callable[[Row], tuple[object, ...]],
) -> None:
    """Print the first page of a listing, or all of it.

    With `--json` one page is the server's document; all pages are one row a line.
    """
    pages = remote.server.pages(path, key, params)
    if remote.output.as_json:
        if everything:
            for page in pages:
                remote.output.lines(page.rows)
        else:
            remote.output.document(next(pages).text)
        return
    if everything:
        rows = [row for page in pages for row in page.rows]
        remote.output.show(table(columns, [draw(row) for row in rows]))
        return
    page = next(pages)
    remote.output.show(table(columns, [draw(row) for row in page.rows]))
    total = page.document.get("total")
    if page.document.get("next_cursor") or (isinstance(total, int) and total > len(page.rows)):
        whole = f" of {total}" if isinstance(total, int) else ""
        note(f"{len(page.rows)}{whole} shown; --all shows the rest.")


def paged(function: Callable[..., None]) -> Callable[..., None]:
    """`--limit` and `--all` for a listing."""
    function = click.option("--all", "everything", is_flag=True, help="Every page; with --json one row a line.")(
        function
    )
    bounds = click.IntRange(1, 100)
    return click.option("--limit", type=bounds, default=50, show_default=True, help="Rows a page.")(function)
