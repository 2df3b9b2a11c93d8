"""App: settings, database, blobs. Built once per process and handed to the use-cases."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from weighhouse.rules.errors import Invalid
from weighhouse.settings import Settings
from weighhouse.store.blobs import BlobStore
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.database import Database
from weighhouse.store.zips_s3 import Zips


@dataclass(frozen=True)
class App:
    """What every use-case may need."""

    settings: Settings
    db: Database
    blobs: BlobStore
    zips: Zips | None = None
    """The ZIPs of the bucket; `None` where the store composes none."""

    @classmethod
    def open(cls, settings: Settings) -> "App":
        """Connects lazily: nothing is asked before the first use-case.

        Raises:
            Invalid: A setting is missing or cannot be used.
        """
        if settings.database_url is None:
            raise Invalid(
                "WEIGHHOUSE_DATABASE_URL is not set, and no embedded database was started.", field="database_url"
            )
        return cls(settings, Database(settings.database_url), _blobs(settings))

    def close(self) -> None:
        """Closes the database's connections."""
        self.db.close()

    @cached_property
    def signing_key(self) -> bytes:
        """The key that all servers of this registry sign download addresses with.

        Raises:
            Away: The database does not answer.
        """
        from sqlalchemy import text

        with self.db.read() as tx:
            return bytes(tx.scalar(text("SELECT value FROM secrets WHERE name = 'signing'")) or b"")


def _blobs(settings: Settings) -> BlobStore:
    url = settings.storage_url
    if url is None:
        return DiskBlobs(settings.data_dir.absolute() / "store")
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise Invalid(f"STORAGE_URL is {url}; this release keeps blobs in a folder: file:///path.", field="storage_url")
    return DiskBlobs(Path(unquote(parts.path)))
