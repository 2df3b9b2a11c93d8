"""The registry that a command works on by itself, without its API: on the same database and store, beside a server or alone."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from weighhouse.app import App
from weighhouse.settings import Settings
from weighhouse.store import embedded
from weighhouse.store.data_dir import DataDirInUse, claim


@contextmanager
def local_registry(settings: Settings) -> Iterator[App]:
    """The registry of these settings; an embedded database that no server runs is started for as long as the block lasts.

    Raises:
        DatabaseFailed: There is no embedded database, this user may not use it, or it does not start.
        Away: The data directory cannot be used.
    """
    with ExitStack() as undo:
        if settings.database_url is None:
            url = _embedded_url(settings.data_dir.absolute(), undo)
            settings = settings.model_copy(update={"database_url": url})
        app = App.open(settings)
        undo.callback(app.close)
        yield app


def _embedded_url(data_dir: Path, undo: ExitStack) -> str:
    # Asked first, so that nothing is made where there is no registry.
    embedded.database_url(data_dir)
    try:
        held = claim(data_dir)
    except DataDirInUse:
        return embedded.running_url(data_dir)
    undo.callback(held.release)
    return start_database(data_dir, undo)


def start_database(data_dir: Path, undo: ExitStack) -> str:
    """Address of the embedded database, which ends with `undo`; the caller holds the data directory.

    Raises:
        DatabaseFailed: It does not start.
    """
    # As an exception, so that the database is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    postgres = embedded.start(data_dir)
    undo.callback(postgres.stop)
    return postgres.url
