"""App: settings, database, blobs. Built once per process and handed to the use-cases."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from weighhouse.rules.errors import Invalid
from weighhouse.settings import Settings
from weighhouse.sources.scanning import Scanning
from weighhouse.store.blobs import BlobStore
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.database import Database
from weighhouse.store.zips_s3 import Zips

if TYPE_CHECKING:
    from weighhouse.rules.keys import PrivateKey
    from weighhouse.rules.model_signing import Trust


@dataclass(frozen=True)
class App:
    """What every use-case may need."""

    settings: Settings
    db: Database
    blobs: BlobStore
    zips: Zips | None = None
    """The ZIPs of the bucket; `None` where the store composes none."""
    statement_key: "PrivateKey | None" = None
    """The key for statements that a setting names."""

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
        blobs, zips = _store(settings)
        app = cls(settings, Database(settings.database_url), blobs, zips, _statement_key(settings.statement_key))
        if settings.signature_trust is not None:
            _ = app.trust  # Now, so that a server whose trust cannot be read does not start.
        return app

    def close(self) -> None:
        """Lets go of the connections to database and store."""
        if "scanning" in self.__dict__:
            self.scanning.close()
        self.db.close()
        self.blobs.close()

    @cached_property
    def scanning(self) -> Scanning:
        """The processes that scan files; none is started before there is something to scan."""
        return Scanning()

    @cached_property
    def trust(self) -> "Trust":
        """Whose signatures of models are trusted, read once.

        Raises:
            Invalid: The setting names nothing that can be used.
        """
        from weighhouse.rules.trust import read_trust

        path = self.settings.signature_trust
        if path is None:
            return read_trust(())
        try:
            files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
            return read_trust(one.read_bytes() for one in files)
        except OSError as error:
            raise Invalid(
                f"SIGNATURE_TRUST names {path}, which cannot be read: {error.strerror}.", field="signature_trust"
            ) from error

    @cached_property
    def signing_key(self) -> bytes:
        """The key that all servers of this registry sign download addresses with.

        Raises:
            Away: The database does not answer.
        """
        from sqlalchemy import text

        with self.db.read() as tx:
            return bytes(tx.scalar(text("SELECT value FROM secrets WHERE name = 'signing'")) or b"")


def _statement_key(path: Path | None) -> "PrivateKey | None":
    if path is None:
        return None
    # Here and not above: most servers keep their key in the database, and commands start faster without it.
    from weighhouse.rules.keys import read_private_key

    try:
        return read_private_key(path.read_bytes())
    except OSError as error:
        raise Invalid(
            f"STATEMENT_KEY names {path}, which cannot be read: {error.strerror}.", field="statement_key"
        ) from error


def _store(settings: Settings) -> tuple[BlobStore, Zips | None]:
    """Where the blobs are kept, and the ZIPs where they are composed."""
    url = settings.storage_url
    if url is None:
        return DiskBlobs(settings.data_dir.absolute() / "store"), None
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _bucket(url, settings)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise Invalid(f"STORAGE_URL is {url}; it must be like file:///path or s3://bucket/prefix.", field="storage_url")
    return DiskBlobs(Path(unquote(parts.path))), None


def _bucket(url: str, settings: Settings) -> tuple[BlobStore, Zips]:
    # Here and not above: who keeps files in a folder is spared the time and the memory that boto3 takes.
    from weighhouse.store.blobs_s3 import S3Blobs
    from weighhouse.store.s3 import Access, bucket_at

    secret, token = settings.aws_secret_access_key, settings.aws_session_token
    access = Access(
        endpoint_url=settings.s3_endpoint_url,
        region=settings.aws_region,
        access_key_id=settings.aws_access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
        session_token=token.get_secret_value() if token else None,
    )
    bucket = bucket_at(url, access)
    blobs = S3Blobs(bucket)
    return blobs, Zips(bucket, blobs)
