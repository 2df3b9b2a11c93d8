"""Whether what this machine was told of database and store is the registry that the others work on."""

from sqlalchemy import select

from weighhouse.app import App
from weighhouse.rules.errors import Conflict
from weighhouse.store.database import check_schema
from weighhouse.store.tables import Blob

_SAMPLE = 16


class StoreElsewhere(Conflict):
    """The store that this machine was told of is not the one that holds the registry's files."""

    def __init__(self) -> None:
        super().__init__(
            "The store that this machine was told of holds none of the files that the database knows. "
            "Set WEIGHHOUSE_STORAGE_URL to the folder or bucket that the servers use."
        )


def check_machine(app: App) -> None:
    """Nothing, when a worker here can do the jobs of the registry.

    Raises:
        DatabaseAway: The database does not answer.
        SchemaOutdated: Its schema is older than this release needs.
        StoreAway: The store of files does not take any.
        StoreElsewhere: It is not the one that the registry's files are in.
    """
    with app.db.read() as tx:
        check_schema(tx)
        newest = [
            sha256.hex() for sha256 in tx.scalars(select(Blob.sha256).order_by(Blob.kept_at.desc()).limit(_SAMPLE))
        ]
    app.blobs.check()
    # Some may have been deleted just now; the whole sample only where another store is looked at.
    if newest and len(app.blobs.missing(newest)) == len(newest):
        raise StoreElsewhere
