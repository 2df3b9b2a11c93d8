"""What a person or a program reads: tables, cards and bars, or the server's own JSON.

Text of a server is a stranger's text. It is shown without rich's markup and without the characters that move a
terminal's cursor or turn its writing around.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

# C0 and C1 controls (a lone U+009B starts an escape sequence on many terminals), the bidirectional overrides and
# isolates, the line and paragraph separators, and the marks that have no width.
_UNSHOWN = [
    *range(0x00, 0x20),
    *range(0x7F, 0xA0),
    0x061C,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
]
_DROP = dict.fromkeys(_UNSHOWN)
_SPACE = dict.fromkeys((9, 10, 11, 12, 13, 133, 8232, 8233), " ")
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _UNSHOWN if code >= 0x7F}
# A pipe has no width to fit into: wide enough that no row of a table is folded.
_PIPE_COLUMNS = 10_000
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")

Row = Mapping[str, Any]


def clean(text: object, *, lines: bool = False) -> str:
    """`text` without characters that control a terminal; without line breaks too unless `lines`.

    >>> clean("a\\x1b[31mb\\nc\\u202ed")
    'a[31mb cd'
    """
    kept = str(text).translate({**_DROP, **_SPACE, **({0x0A: "\n"} if lines else {})})
    return kept.encode("utf-8", "replace").decode("utf-8")


def size(size_bytes: int) -> str:
    """A number of bytes in the unit that a person would choose.

    >>> size(999), size(1536), size(1024 ** 5)
    ('999 bytes', '1.5 KiB', '1.0 PiB')
    """
    amount = float(size_bytes)
    for unit in _UNITS[:-1]:
        if amount < 1024:
            return f"{size_bytes} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} {_UNITS[-1]}"


def moment(text: object) -> str:
    """An instant of the server, to the minute; what is no instant is shown as it is.

    >>> moment("2026-01-02T03:04:05.678Z")
    '2026-01-02 03:04'
    """
    if not text:
        return "–"
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return clean(text)


def score(value: object) -> str:
    """A score with its two decimals, or a dash where there is none.

    >>> score(0.5), score(None)
    ('0.50', '–')
    """
    return f"{value:.2f}" if isinstance(value, int | float) else "–"


def bar(value: object, width: int = 10) -> Text:
    """A score from 0 to 1 as a bar and a number, coloured by how good it is."""
    if not isinstance(value, int | float):
        return Text("·" * width + "    –", style="dim")
    filled = round(max(0.0, min(1.0, float(value))) * width)
    colour = "green" if value >= 0.7 else "yellow" if value >= 0.5 else "red"
    return Text.assemble(("█" * filled, colour), ("░" * (width - filled), "dim"), f" {value:.2f}")


def cell(value: object) -> Text:
    """One value of a server as inert text."""
    return value if isinstance(value, Text) else Text("–" if value is None else clean(value))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Rows under their headings; a column whose heading ends in `>` is set to the right."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in columns:
        drawn.add_column(heading.rstrip(">"), justify="right" if heading.endswith(">") else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(cell, row))
    return drawn


def _console(*, error: bool = False) -> Console:
    stream = sys.stderr if error else sys.stdout
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        # A terminal that cannot write a bar's blocks gets question marks, not a stack trace.
        reconfigure(errors="replace")
    width = None if stream.isatty() else _PIPE_COLUMNS
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def error_console() -> Console:
    """Where progress is drawn: standard error, so that standard output holds results only."""
    return _console(error=True)


@dataclass(frozen=True)
class Output:
    """Standard output, for a person or for a program.

    Args:
        as_json: Print the server's JSON instead of tables and cards.
    """

    as_json: bool = False

    def show(self, *parts: RenderableType) -> None:
        """Print text and tables; a `str` is the program's own or already clean."""
        console = _console()
        for part in parts:
            # The console folds words of long lines by itself; lines of a card keep their shape that way.
            console.print(part)

    def document(self, text: str) -> None:
        """Print a JSON document as the server sent it.

        On a terminal, characters that would control it are written as JSON escapes: the value stays the same.
        """
        click.echo(text.translate(_JSON_ESCAPES) if sys.stdout.isatty() else text)

    def lines(self, rows: Sequence[Row]) -> None:
        """Print one JSON object a line."""
        for row in rows:
            self.document(json.dumps(row, ensure_ascii=False, separators=(",", ":")))


def note(text: str) -> None:
    """Say something beside the result, on standard error."""
    click.echo(clean(text, lines=True), err=True)
