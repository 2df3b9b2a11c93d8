"""The command that gives back room in the store."""

from datetime import timedelta
from pathlib import Path

import click

from weighhouse.doors.cli.configuration import configure_logging, read_settings
from weighhouse.doors.cli.output import size

# What the command runs is imported when it runs: the others start in a fraction of the time without it.


@click.command()
@click.option("--zips", is_flag=True, help="Drop the ZIPs that the bucket holds; each comes back when it is asked for.")
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    default=0,
    metavar="DAYS",
    help="Only what was not asked for in DAYS days [0].",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--data-dir", type=Path, metavar="DIR", help="The data directory of the running server [./data].")
def gc(zips: bool, older_than: int, dry_run: bool, data_dir: Path | None) -> None:
    """Give back room in the store; the registry may go on serving.

    A ZIP whose download address may still be good is spared. No file of a package goes: the ZIPs are made of them.

    \b
    Example:
      weighhouse gc --zips --older-than 30 --dry-run
    """
    if not zips:
        raise click.UsageError("Say what may go: --zips.")
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.app import App
    from weighhouse.registry.zips import drop_zips
    from weighhouse.store import embedded

    if settings.database_url is None:
        settings = settings.model_copy(update={"database_url": embedded.running_url(settings.data_dir)})
    app = App.open(settings)
    try:
        dropped = drop_zips(app, unasked_for=timedelta(days=older_than), dry_run=dry_run)
    finally:
        app.close()
    for one in dropped:
        click.echo(f"{size(one.size_bytes):>9}  {one.key}")
    total = size(sum(one.size_bytes for one in dropped))
    click.echo(f"{len(dropped)} ZIPs ({total}) {'would be dropped' if dry_run else 'were dropped'}.")
