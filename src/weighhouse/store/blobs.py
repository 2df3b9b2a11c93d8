"""Where the bytes of files are kept, each content once; and every key of an object in a store."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from weighhouse.rules.errors import Away, NotFound

CHUNK_BYTES = 1024 * 1024

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOB_KEY = re.compile(r"blobs/([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{60})")


class BlobMissing(NotFound):
    """The store does not hold these bytes."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"No file with the SHA-256 {sha256[:64]!r} is kept here. Upload it first.")
        self.sha256 = sha256[:64]


class StoreAway(Away):
    """The store that keeps the files does not answer."""


class StoreRefused(StoreAway):
    """The store that keeps the files refuses the registry."""


class ObjectChanged(StoreAway):
    """An object in the store is not there, or not what it was."""


class BlobDamaged(Away):
    """The store holds a file that is not what was put into it."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"The kept file with the SHA-256 {sha256} is damaged. Ask the operator to restore it.")
        self.sha256 = sha256


def blob_key(sha256: str) -> str:
    """Key of the blob with this digest.

    Raises:
        BlobMissing: `sha256` is no digest in lower-case hexadecimal, so nothing can have that name.

    >>> blob_key("ab" * 32)[:16]
    'blobs/ab/ab/abab'
    """
    if not _SHA256.fullmatch(sha256):
        raise BlobMissing(sha256)
    return f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def sha256_of(key: str) -> str | None:
    """Digest of the blob that `key` is for, `None` for any other object.

    A package may be called `blobs`, so a listing of that folder can have its ZIPs in it.
    """
    match = _BLOB_KEY.fullmatch(key)
    return match[3] if match else None


def staging_key(place: str) -> str:
    """Key of bytes that are on their way in.

    >>> staging_key("5f0c")
    'staging/5f0c'
    """
    return f"staging/{place}"


def adopted_key(sha256: str) -> str:
    """Key of the note that a blob was adopted again, in a store whose blobs cannot be touched.

    >>> adopted_key("ab" * 32)[:18]
    'adopted/ab/ab/abab'
    """
    return "adopted" + blob_key(sha256).removeprefix("blobs")


def package_key(name: str, version: str, variant: str = "package.zip") -> str:
    """Key of the ZIP of a package, or of some of its components.

    >>> package_key("google/bert", "1.0.0", "weights-code.zip")
    'google/bert/1.0.0/weights-code.zip'
    """
    return f"{name}/{version}/{variant}"


@dataclass(frozen=True, slots=True)
class Staged:
    """Bytes that are in the store under no name yet.

    Args:
        sha256: Their digest in lower-case hexadecimal.
        place: Where they are, in the store's own words; fit to be kept and given to another process.
    """

    sha256: str
    size_bytes: int
    crc32: int
    place: str


@dataclass(frozen=True, slots=True)
class Head:
    """What a store says of an object.

    Args:
        etag: What the store tells its content by; no digest of it.
    """

    size_bytes: int
    etag: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Presigned:
    """A request that anybody may make, once or more often, until it ends.

    Args:
        headers: What the request must carry: the signature covers them.
    """

    method: str
    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartRequest:
    """Bytes of a content, and the request that sends them."""

    offset_bytes: int
    size_bytes: int
    request: Presigned


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part of an object as the store took it.

    Args:
        number: From 1; parts stand in the order of their numbers.
        checksums: What the store wants back when the parts become an object, by its own names.
    """

    number: int
    etag: str
    checksums: Mapping[str, str]


class Staging(Protocol):
    """Bytes on their way into the store. Leaving the `with` block without `finish` throws them away."""

    def __enter__(self) -> Self:
        """The same, to be written to."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Throw the bytes away unless they are finished."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. A read-only buffer may be used until the next call: it must not change underneath.

        Raises:
            StoreAway: The bytes cannot be kept; nothing of this staging is left.
        """

    def finish(self) -> Staged:
        """What was written. It can be adopted from now on; `settle` tells that it survives a loss of power.

        Raises:
            StoreAway: The bytes cannot be kept; nothing of this staging is left.
        """

    def abort(self) -> None:
        """Throw the bytes away; fine after anything else."""


class BlobStore(Protocol):
    """Keeps the bytes of files, each content once, by its SHA-256.

    Way in: `stage`, `write`, `finish`, then `adopt`, then record the blob in the database, then `discard`. Adopt again
    whenever the blob may have been swept since: the staged bytes last until they are discarded.
    Every method raises `StoreAway` when the store does not do its work.
    """

    def stage(self) -> Staging:
        """A place for the bytes of one file. Use each from one thread at a time."""

    def settle(self, *staged: Staged) -> None:
        """Return once all of `staged` survive a loss of power, or are kept as blobs already.

        Raises:
            StoreAway: Some do not; those are gone.
        """

    def adopt(self, *staged: Staged) -> None:
        """Keep `staged` as blobs that survive a loss of power; those that are kept already stay as they are.

        Raises:
            StoreAway: Some could not be kept. The others may be; call again with all of them.
        """

    def discard(self, *staged: Staged) -> None:
        """Remove staged bytes, adopted or not; fine when they are gone."""

    def read(
        self, sha256: str, start: int = 0, length: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        """`length` bytes of a blob from `start`, or all that follow.

        Raises:
            BlobMissing: At once, when there is no such blob.
            BlobDamaged: While it is read, when it is shorter than that.
        """

    def size(self, sha256: str) -> int:
        """Bytes of a blob.

        Raises:
            BlobMissing: There is no such blob.
        """

    def exists(self, sha256: str) -> bool:
        """Whether there is such a blob."""

    def missing(self, sha256s: Iterable[str]) -> set[str]:
        """Those of which there is no blob."""

    def delete(self, sha256: str) -> None:
        """Remove a blob; fine when it is gone. Only the caller knows whether anybody needs it."""

    def list(self, older_than: datetime) -> Iterator[tuple[str, int]]:
        """SHA-256 and size of each blob that nobody adopted since `older_than`, in no order."""

    def sweep_staging(self, older_than: datetime) -> int:
        """Remove what was staged before `older_than` and never discarded; returns how many there were."""

    def check(self) -> None:
        """Return if bytes can be written now.

        Raises:
            StoreAway: They cannot.
        """

    @property
    def direct(self) -> "DirectStore | None":
        """Where clients send bytes to, past the registry; `None` where they cannot."""

    def close(self) -> None:
        """Let go of threads and connections; what is kept stays."""


class DirectStore(Protocol):
    """Takes contents that clients send by themselves, past the registry.

    Every method raises `StoreAway` when the store does not do its work.
    """

    @property
    def min_bytes(self) -> int:
        """What is shorter costs more this way than through the registry."""

    def begin(self, sha256: str, size_bytes: int, crc32: int | None) -> str:
        """A ticket for a content that a client is about to send; only the store reads it, any process may.

        Args:
            crc32: What the client says; without it more has to be read again.
        """

    def lacking(self, ticket: str, seconds: int, *, is_new: bool = False) -> Sequence[PartRequest]:
        """What is still to be sent.

        Args:
            seconds: How long the requests are good.
            is_new: Whether nothing can have arrived yet.

        Raises:
            ObjectChanged: The store has given the ticket up; begin anew.
        """

    def finish(self, ticket: str) -> int | None:
        """CRC-32 of the content, which is a blob now and is what the ticket says; `None` when it has to be sent again.

        Whether it was verified by the store or read again: what counts was sent by the holder of the ticket.
        """

    def abort(self, ticket: str) -> None:
        """Throw away what arrived; fine when it is gone."""
