"""The commands that look after the audit trail."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weighhouse.doors.cli.configuration import configure_logging, read_settings
from weighhouse.doors.cli.output import clean
from weighhouse.doors.cli.progress import counting
from weighhouse.rules.errors import Invalid
from weighhouse.rules.trail import Noted, parse_head

if TYPE_CHECKING:
    from weighhouse.registry.trail import Verified

# What a command runs is imported when it runs: the others start in a fraction of the time without it.


@click.group()
def audit() -> None:
    """Look whether the audit trail is whole, and write it out."""


def _head(ctx: click.Context, param: click.Parameter, value: str | None) -> Noted | None:
    try:
        return None if value is None else parse_head(value)
    except Invalid as invalid:
        raise click.BadParameter(invalid.detail, ctx, param) from invalid


@audit.command()
@click.option("--from", "start", callback=_head, metavar="HEAD", help="Read only what follows a head noted earlier.")
@click.option("--head", "noted", callback=_head, metavar="HEAD", help="A head noted earlier, that must still be there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--data-dir", type=Path, metavar="DIR", help="The data directory of the registry [./data].")
def verify(start: Noted | None, noted: Noted | None, as_json: bool, data_dir: Path | None) -> None:
    """Read the audit trail and look whether every entry is what was sealed, in its place; the registry may go on serving.

    Prints the head of the chain. Note it somewhere else: with --head a later run tells whether entries were cut off since
    then, or the whole chain was made anew. Exit code 1 when something is wrong; the first broken entry is named.

    \b
    Examples:
      weighhouse audit verify
      weighhouse audit verify --head 1204:5f0c...
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.doors.cli.local import local_registry
    from weighhouse.registry.sealing import head_of
    from weighhouse.registry.trail import verify_trail

    with local_registry(settings) as app:
        with app.db.read() as tx:
            total = head_of(tx).seq - (start.seq if start is not None else 0)
        with counting("verifying", max(0, total)) as moved:
            found = verify_trail(app, start=start, noted=noted, moved=moved)
    if as_json:
        click.echo(json.dumps(_shown(found)))
    else:
        for line in _lines(found):
            click.echo(line)
    if found.broken is not None:
        raise SystemExit(1)


@audit.command()
@click.option("--since", type=click.DateTime(), metavar="TIME", help="Only what was done at TIME or later, UTC.")
@click.option("--until", type=click.DateTime(), metavar="TIME", help="Only what was done at TIME or earlier, UTC.")
@click.option("--package", metavar="PACKAGE", help="Only of this package: NAME, NAME@VERSION or an id.")
@click.option("--user", metavar="USER", help="Only by this user, or on their account: a name or an id.")
@click.option("--data-dir", type=Path, metavar="DIR", help="The data directory of the registry [./data].")
def export(
    since: datetime | None, until: datetime | None, package: str | None, user: str | None, data_dir: Path | None
) -> None:
    """Print the audit trail as JSON lines, in the order of its chain; the registry may go on serving.

    Entries that wait to be sealed come last, with null as their number and hash.

    \b
    Examples:
      weighhouse audit export > trail.jsonl
      weighhouse audit export --since 2026-11-01 --user ada
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.doors.cli.local import local_registry
    from weighhouse.registry.trail import Wanted, export_trail

    with local_registry(settings) as app:
        for lines in export_trail(app, Wanted(since, until, package, user)):
            sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()


def _shown(found: "Verified") -> dict[str, Any]:
    return {
        "is_whole": found.broken is None,
        "entries": found.entries,
        "head": str(found.head),
        "chain": found.head.chain,
        "waiting": found.state.waiting,
        "broken": None if found.broken is None else {"seq": found.broken.seq, "detail": str(found.broken)},
    }


def _lines(found: "Verified") -> Iterator[str]:
    if found.broken is not None:
        yield f"broken: {clean(str(found.broken))}."
        yield f"{found.entries} entries before it are whole. Compare with an export or a backup, and find out who could."
        return
    yield f"{found.entries} entries were looked at: all is well."
    yield f"head {found.head}"
    if found.state.waiting:
        since = f" since {found.state.waiting_since:%Y-%m-%d %H:%M:%S}" if found.state.waiting_since else ""
        yield f"{found.state.waiting} entries wait to be sealed{since} (UTC): until then nothing would show a change of them."
