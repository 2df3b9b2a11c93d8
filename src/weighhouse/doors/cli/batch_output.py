"""What the batch command prints: JSON lines for programs, or a table with bars; and how far it is, on a terminal."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Protocol

import click
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from weighhouse.doors.cli.batch_run import Weighed
from weighhouse.doors.cli.output import Output, bar, clean, error_console, note
from weighhouse.rules.batch_record import batch_record, explanation
from weighhouse.rules.metrics.net import WEIGHTS


class Printer(Protocol):
    """One way to print a model."""

    def show(self, weighed: Weighed) -> None: ...


class JsonLines:
    """An object a line.

    Args:
        null: What stands where there is no score.
        explain: Whether the evidence comes after the scores.
    """

    def __init__(self, *, null: int | None, explain: bool) -> None:
        self._null = null
        self._explain = explain

    def show(self, weighed: Weighed) -> None:
        """Prints the model's line, and lets it go at once."""
        record = batch_record(
            weighed.line.name,
            weighed.results,
            weighed.net,
            weighed.latencies_ms,
            weighed.net_latency_ms,
            null=self._null,
        )
        if self._explain:
            record |= explanation(weighed.results, weighed.net, weighed.latencies_ms)
        # ASCII only: whatever the locale, and nothing that a terminal would obey.
        click.echo(json.dumps(record, separators=(",", ":"), allow_nan=False))


class Tables:
    """A table a model: each score as a bar, and why.

    Args:
        explain: Whether every reason is shown, and not only the first.
    """

    def __init__(self, *, explain: bool) -> None:
        self._explain = explain

    def show(self, weighed: Weighed) -> None:
        """Prints the model's table."""
        net = weighed.net
        head = Text.assemble(
            (f"{clean(weighed.line.name)}  ", "bold"),
            bar(net.score, 20),
            (f"  between {net.low:.2f} and {net.high:.2f}, {net.coverage:.0%} of the weight judged", "dim"),
        )
        Output().show(Group(head, self._metrics(weighed), Text()))

    def _metrics(self, weighed: Weighed) -> Table:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(min_width=max(map(len, WEIGHTS)) + 2)
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, result in weighed.results.items():
            reasons = [clean(reason) for reason in result.reasons]
            shown = "\n".join(reasons if self._explain else reasons[:1])
            state = "" if result.score is not None else f"{result.status.value.replace('_', ' ')}: "
            grid.add_row(Text(f"  {name}"), bar(result.score), Text.assemble((state, "dim"), shown))
        return grid


class Bar:
    """How far the run is, on standard error; nothing where that is no terminal."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars

    def advance(self) -> None:
        """One model more is done."""
        if self._bars is not None:
            self._bars.advance(self._bars.task_ids[0])

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Out of the way while something else is printed: both may share a terminal."""
        if self._bars is None:
            yield
            return
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()


@contextlib.contextmanager
def running_bar(total: int) -> Iterator[Bar]:
    """A bar over so many models."""
    if not sys.stderr.isatty():
        yield Bar(None)
        return
    columns = (TextColumn("Weighing", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Standard output holds results only, and is none of the bar's business.
    with Progress(
        *columns, console=error_console(), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bars:
        bars.add_task("", total=total)
        yield Bar(bars)


def complain(number: int, detail: str) -> None:
    """Says on standard error why a line of the file gave no object."""
    note(f"Line {number}: {detail}")
