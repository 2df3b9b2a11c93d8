"""The commands that keep a registry safe from loss: backup and restore."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from weighhouse.doors.cli.configuration import configure_logging, read_settings
from weighhouse.doors.cli.output import clean, size
from weighhouse.doors.cli.progress import progress
from weighhouse.rules.errors import Away, Conflict
from weighhouse.settings import Settings

# What these commands run is imported when they run: the others start in a fraction of the time without it.

_SHOWN = 20


class BackupLacks(Away):
    """Not every file of the registry is there."""


class DataDirUsed(Conflict):
    """The data directory is not empty."""


@click.command()
@click.argument("folder", type=Path)
@click.option(
    "--blobs/--no-blobs",
    "with_blobs",
    default=None,
    help="Whether the files of the packages are copied too [yes for a folder, no for a bucket].",
)
@click.option("--data-dir", type=Path, metavar="DIR", help="The data directory of the registry [./data].")
def backup(folder: Path, with_blobs: bool | None, data_dir: Path | None) -> None:
    """Make a backup in FOLDER; the registry may go on serving.

    Database and files belong to one instant. A second backup into the same folder copies only what is new. Files are
    linked, not copied, where FOLDER is on the same file system: then they are safe from mistakes, not from a dead disk.
    The backup holds password hashes and keys: keep it as safe as the registry.

    \b
    Examples:
      weighhouse backup /mnt/backups/weighhouse
      weighhouse backup /mnt/backups/weighhouse --no-blobs
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.doors.cli.local import local_registry
    from weighhouse.registry.backup import make_backup
    from weighhouse.registry.integrity import blobs_total

    is_whole = with_blobs if with_blobs is not None else not (settings.storage_url or "").startswith("s3:")
    with local_registry(settings) as app, progress("backing up", blobs_total(app)[1] if is_whole else None) as moved:
        made = make_backup(app, folder, with_blobs=is_whole, moved=moved)
    summary = made.backup.summary
    click.echo(f"{made.backup.path}: the database, and a list of {summary.blobs} blobs ({size(summary.blobs_bytes)}).")
    if is_whole:
        click.echo(f"{made.new_blobs} of the blobs ({size(made.new_bytes)}) are new in {folder}.")
    else:
        click.echo("The blobs themselves are not in it: keep those of the store by other means.")
    _require_all(summary.lacking, "The backup is made, but the store does not hold", "Run weighhouse verify.")


@click.command()
@click.argument("folder", type=Path)
@click.option("--data-dir", type=Path, metavar="DIR", help="An empty or new data directory [./data].")
def restore(folder: Path, data_dir: Path | None) -> None:
    """Make a registry out of a backup, before a server is started on it.

    FOLDER is a folder of backups, whose newest one is taken, or one backup in it. Everything comes back as it was:
    packages, users, passwords, tokens, history, the audit log. Each file is compared with its digest on the way.
    The data directory, or the database and the store that the settings name, must be empty.

    \b
    Examples:
      weighhouse restore /mnt/backups/weighhouse --data-dir ./data
      weighhouse restore /mnt/backups/weighhouse/2026-01-31T08-00-00.000000Z
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.app import App
    from weighhouse.registry.backup_folder import find_backup
    from weighhouse.registry.restore import restore_backup

    found = find_backup(folder)
    with ExitStack() as undo:
        app = App.open(_on_empty_ground(settings, undo))
        undo.callback(app.close)
        with progress("restoring", found.summary.blobs_bytes) as moved:
            restored = restore_backup(app, found, moved=moved)
    click.echo(f"{found.path}: {restored.packages} packages and {restored.blobs} blobs are back.")
    for finding in restored.contradictions:
        click.echo(f"{finding.trouble}: {clean(finding.subject)}: {finding.detail}")
    if restored.trail_broken is not None:
        click.echo(
            f"audit trail: {clean(str(restored.trail_broken))}. It was so in the backup already, or that was changed."
        )
    _require_all(
        restored.lacking,
        "All else is back, but neither the backup nor the store holds",
        "Bring them from another backup, or upload their packages' files again; weighhouse verify names the packages.",
    )


def _on_empty_ground(settings: Settings, undo: ExitStack) -> Settings:
    """Settings with a database that runs until `undo`; the embedded one is made in a data directory that was empty.

    Raises:
        DataDirUsed: It was not.
    """
    from weighhouse.doors.cli.local import start_database
    from weighhouse.store.data_dir import claim

    if settings.database_url is not None:
        return settings
    data_dir = settings.data_dir.absolute()
    undo.callback(claim(data_dir).release)
    if used := sorted(entry.name for entry in data_dir.iterdir() if entry.name != "lock"):
        raise DataDirUsed(
            f"The data directory {data_dir} is not empty: it holds {used[0]}. Name a new one with --data-dir, or move "
            "the old one away."
        )
    return settings.model_copy(update={"data_dir": data_dir, "database_url": start_database(data_dir, undo)})


def _require_all(lacking: Sequence[str], what: str, advice: str) -> None:
    if not lacking:
        return
    for sha256 in lacking[:_SHOWN]:
        click.echo(f"missing: {sha256}")
    raise BackupLacks(f"{what} {len(lacking)} of the blobs. {advice}")
