"""How far a transfer is, drawn on standard error while somebody watches."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from weighhouse.doors.cli.output import clean, error_console

Moved = Callable[[int], None]


@contextlib.contextmanager
def progress(label: str, total_bytes: int | None, done_bytes: int = 0) -> Iterator[Moved]:
    """A bar, moved on by what the yielded function is told; nothing is drawn when standard error is no terminal.

    Args:
        label: What is under way.
        total_bytes: The whole, `None` while it is not known.
        done_bytes: What an earlier run did.
    """
    if not sys.stderr.isatty():
        yield lambda moved_bytes: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=error_console(), transient=True) as bars:
        task = bars.add_task(clean(label), total=total_bytes, completed=done_bytes)
        yield lambda moved_bytes: bars.advance(task, moved_bytes)


@contextlib.contextmanager
def counting(label: str, total: int) -> Iterator[Moved]:
    """The same for things that are counted one by one."""
    if not sys.stderr.isatty():
        yield lambda moved: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=error_console(), transient=True) as bars:
        task = bars.add_task(clean(label), total=total)
        yield lambda moved: bars.advance(task, moved)


@contextlib.contextmanager
def waiting(label: str) -> Iterator[None]:
    """A sign of life on a terminal while there is nothing to count."""
    if not sys.stderr.isatty():
        yield
        return
    with error_console().status(clean(label)):
        yield
