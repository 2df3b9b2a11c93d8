"""The command that gives back room in the store."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weighhouse.doors.cli.configuration import configure_logging, read_settings
from weighhouse.doors.cli.output import size

if TYPE_CHECKING:
    from weighhouse.app import App

# What the command runs is imported when it runs: the others start in a fraction of the time without it.


@click.command()
@click.option(
    "--grace",
    type=click.IntRange(min=1),
    metavar="HOURS",
    help="Spare what came in the last HOURS hours [24]; not less than the longest upload takes.",
)
@click.option("--zips", is_flag=True, help="Drop the ZIPs that the bucket holds; each comes back when it is asked for.")
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    metavar="DAYS",
    help="Only ZIPs that were not asked for in DAYS days [0].",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--data-dir", type=Path, metavar="DIR", help="The data directory of the registry [./data].")
def gc(grace: int | None, zips: bool, older_than: int | None, dry_run: bool, data_dir: Path | None) -> None:
    """Give back room in the store; the registry may go on serving.

    Without --zips it removes blobs that no package holds and what uploads that died left behind, as the server does
    every night. With --zips it drops ZIPs instead; one whose download address may still be good is spared. No file of a
    package ever goes.

    \b
    Examples:
      weighhouse gc --dry-run
      weighhouse gc --zips --older-than 30 --dry-run
    """
    if zips and grace is not None:
        raise click.UsageError("--grace is for blobs, not for --zips; use --older-than.")
    if older_than is not None and not zips:
        raise click.UsageError("--older-than is for --zips; use --grace.")
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.doors.cli.local import local_registry

    with local_registry(settings) as app:
        if zips:
            _drop_zips(app, timedelta(days=older_than or 0), dry_run)
        else:
            _sweep(app, timedelta(hours=grace) if grace is not None else None, dry_run)


def _drop_zips(app: "App", unasked_for: timedelta, dry_run: bool) -> None:
    from weighhouse.registry.zips import drop_zips

    dropped = drop_zips(app, unasked_for=unasked_for, dry_run=dry_run)
    for one in dropped:
        click.echo(f"{size(one.size_bytes):>9}  {one.key}")
    total = size(sum(one.size_bytes for one in dropped))
    click.echo(f"{len(dropped)} ZIPs ({total}) {'would be dropped' if dry_run else 'were dropped'}.")


def _sweep(app: "App", grace: timedelta | None, dry_run: bool) -> None:
    from weighhouse.registry.holding import may_sweep
    from weighhouse.registry.housekeeping import GRACE, sweep, sweepable_blobs

    grace = grace if grace is not None else GRACE
    with app.db.read() as tx:
        is_held = not may_sweep(tx)
    if is_held:
        click.echo("A backup is being made: until it has ended no blob is removed. Run this again then.", err=True)
    if not dry_run:
        click.echo(f"{sweep(app, grace=grace)} blobs were removed.")
        return
    count = total_bytes = 0
    for sha256, size_bytes in sweepable_blobs(app, grace=grace):
        click.echo(f"{size(size_bytes):>9}  {sha256}")
        count, total_bytes = count + 1, total_bytes + size_bytes
    click.echo(f"{count} blobs ({size(total_bytes)}) would be removed.")
