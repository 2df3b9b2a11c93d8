"""What a server keeps, looked at and changed behind its back: in its folder, or in its bucket."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import Place, Server, eventually
from tests.doors.rest import client_of
from tests.fault_proxy import Fault
from weighhouse.store.blobs import blob_key
from weighhouse.store.s3 import S3


def blob_path(server: Server, sha256: str) -> Path:
    """Where a store on disk keeps these bytes."""
    return server.data_dir / "store" / "blobs" / sha256[:2] / sha256[2:4] / sha256


def blob(server: Server, sha256: str) -> bytes | None:
    """The bytes that are kept under a digest, `None` where nothing is."""
    if server.place is None:
        path = blob_path(server, sha256)
        return path.read_bytes() if path.exists() else None
    with _bucket(server.place) as bucket:
        return bucket.get(blob_key(sha256)) if bucket.head(blob_key(sha256)) else None


def damage(server: Server, sha256: str, content: bytes) -> None:
    """Puts other bytes where those with this digest are."""
    assert blob(server, sha256) is not None
    if server.place is None:
        path = blob_path(server, sha256)
        path.chmod(0o600)
        path.write_bytes(content)
        return
    with _bucket(server.place) as bucket:
        bucket.put(blob_key(sha256), content)


def blobs(server: Server) -> Sequence[str]:
    """Digests of all blobs that are kept."""
    if server.place is None:
        return [path.name for path in (server.data_dir / "store" / "blobs").rglob("*") if path.is_file()]
    return [key.rpartition("/")[2] for key in _keys(server.place, "blobs/")]


def staged(server: Server) -> Sequence[str]:
    """Names of what is on its way in, in a bucket also of the uploads that are not complete."""
    if server.place is None:
        return [path.name for path in (server.data_dir / "store" / "staging").iterdir()]
    with _bucket(server.place) as bucket:
        begun = [key for key, _, _ in bucket.list_multipart("staging/")]
    return [*begun, *_keys(server.place, "staging/")]


def composed(server: Server) -> Sequence[str]:
    """Keys of the ZIPs in the bucket; on disk there are none."""
    if server.place is None:
        return []
    return [key for key in _keys(server.place) if key.endswith(".zip")]


@contextlib.contextmanager
def store_away(server: Server) -> Iterator[None]:
    """The server without its store until the block ends; both times, returns when the server has noticed."""
    with client_of(server) as client:
        if server.place is None:
            staging = server.data_dir / "store" / "staging"
            aside = staging.rename(staging.with_name("aside"))
            try:
                yield
            finally:
                aside.rename(staging)
            return
        assert server.way is not None, "There is nothing to disturb between this server and its bucket."
        server.way.set(Fault(is_refusing=True))
        try:
            # It says for some seconds after the last good look that all is well.
            eventually(lambda: client.get("/readyz").status_code == 503, 30)
            yield
        finally:
            server.way.set()
            # And it does not try at once again what failed several times.
            eventually(lambda: client.get("/readyz").status_code == 200, 60)


def _keys(place: Place, prefix: str = "") -> Sequence[str]:
    with _bucket(place) as bucket:
        return [key for key, _, _ in bucket.list(prefix)]


def _bucket(place: Place) -> "contextlib.closing[S3]":
    return contextlib.closing(place.open())
