"""The commands of an installation: serve, worker, migrate."""

import signal
import sys
from pathlib import Path

import click

from weighhouse.doors.cli.configuration import configure_logging, read_settings
from weighhouse.rules.errors import Invalid
from weighhouse.settings import Settings

# What these commands run is imported when they run: the others start in a fraction of the time without it.


class StoreNotNamed(Invalid):
    """A worker on another machine has to be told where the files are."""


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on [127.0.0.1].")
@click.option("--port", type=int, metavar="PORT", help="Port to listen on [8000]; 0 takes a free one.")
@click.option("--data-dir", type=Path, metavar="DIR", help="Where the database and the files are kept [./data].")
@click.option("--workers", type=int, metavar="N", help="API processes [one a core, at most 4].")
def serve(host: str | None, port: int | None, data_dir: Path | None, workers: int | None) -> None:
    """Start a server: the API, an evaluation worker and the embedded database.

    Everything lives in one folder; the first start makes it. Ctrl-C or SIGTERM ends it in order. Every setting of
    .env.example can be given in the environment or in .env; options go first.

    \b
    Examples:
      weighhouse serve
      weighhouse serve --port 9000 --data-dir /srv/weighhouse
      WEIGHHOUSE_ADMIN_PASSWORD=… weighhouse serve --host 0.0.0.0
    """
    settings = read_settings(host=host, port=port, data_dir=data_dir, workers=workers)
    configure_logging(settings)
    from weighhouse.doors.cli.supervisor import run_server

    run_server(settings)


@click.command()
@click.option("--data-dir", type=Path, metavar="DIR", help="The data directory of the running server [./data].")
def worker(data_dir: Path | None) -> None:
    """Start a further evaluation worker, for installations with more than one machine.

    A server has one of its own. On another machine it needs the same database, and the same store of files: both have
    to be named. SIGTERM ends it in order; jobs that it cannot finish go to the others.

    \b
    Example:
      WEIGHHOUSE_DATABASE_URL=postgresql://weighhouse@db/weighhouse WEIGHHOUSE_STORAGE_URL=s3://models weighhouse worker
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.app import App
    from weighhouse.doors.worker import run
    from weighhouse.registry.machines import check_machine
    from weighhouse.store import embedded

    if settings.database_url is None:
        settings = settings.model_copy(update={"database_url": embedded.running_url(settings.data_dir)})
    _require_store(settings)
    app = App.open(settings)
    check_machine(app)
    run(app)


def _require_store(settings: Settings) -> None:
    # A folder of a server that runs on this machine will do; made here, it would be empty, and every job would fail.
    if settings.storage_url is None and not (settings.data_dir / "store").is_dir():
        raise StoreNotNamed(
            "This machine has no files of the registry, so its store has to be named: set WEIGHHOUSE_STORAGE_URL to the "
            "folder or bucket that the servers use.",
            field="storage_url",
        )


@click.command()
@click.option("--data-dir", type=Path, metavar="DIR", help="Where the embedded database is kept [./data].")
def migrate(data_dir: Path | None) -> None:
    """Create or upgrade the database's schema.

    A server does it by itself when it starts. Upgrading a database of your own first, before the new release starts,
    is safe: the release before runs on the new schema.

    \b
    Example:
      WEIGHHOUSE_DATABASE_URL=postgresql://weighhouse@db/weighhouse weighhouse migrate
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.store import database, embedded
    from weighhouse.store.data_dir import claim

    if settings.database_url is not None:
        database.migrate(settings.database_url)
    else:
        # As an exception, so that the database is stopped on the way out.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        held = claim(settings.data_dir)
        postgres = embedded.start(settings.data_dir)
        try:
            database.migrate(postgres.url)
        finally:
            postgres.stop()
            held.release()
    click.echo("The schema is up to date.")
