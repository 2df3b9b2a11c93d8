"""Blobs in a bucket: bytes come in under `staging/`, and a copy within the store makes them a blob in one step."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from weighhouse.store.blobs import (
    CHUNK_BYTES,
    BlobDamaged,
    BlobMissing,
    Head,
    ObjectChanged,
    Staged,
    StoreAway,
    UploadedPart,
    adopted_key,
    blob_key,
    sha256_of,
    staging_key,
)
from weighhouse.store.blobs_s3_staging import MIB, Room, S3Staging
from weighhouse.store.direct_s3 import S3Direct
from weighhouse.store.s3 import S3

# Most of the time they wait for the store.
_THREADS = 16
# The store stays silent while it copies; longer objects are copied in slices, side by side.
_COPIED_BYTES = 256 * MIB
_CHECKED_SECONDS = 5.0

_GONE = "The uploaded bytes are no longer here. Upload them again."

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_U = TypeVar("_U")


class S3Blobs:
    """The blob store in a bucket, which any number of processes and machines may share.

    `staging/` has bytes on their way in, `blobs/ab/cd/` the blobs whose SHA-256 begins with abcd, `adopted/ab/cd/` notes
    that a blob was adopted again. Whatever is below `blobs/` is whole: stores show an object when all of it is there.

    A blob is never written to once it is there, also not to make it look young: copied onto itself it could get another
    ETag, which would break off the downloads and compositions that rely on it. A note beside it does, whatever its size.
    """

    def __init__(self, bucket: S3) -> None:
        """Nothing is asked yet."""
        self._bucket = bucket
        self._direct = S3Direct(bucket, self)
        self._threads = ThreadPoolExecutor(_THREADS, "blobs-s3")
        self._room = Room()
        self._sending: dict[str, Future[None]] = {}
        self._checking = threading.Lock()
        self._checked_at = float("-inf")
        self._fault: StoreAway | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def direct(self) -> S3Direct:
        """The bucket, which clients may send to."""
        return self._direct

    def close(self) -> None:
        """Wait for what is being sent and let go of threads and connections."""
        self._threads.shutdown()
        self._bucket.close()

    # The way in

    def stage(self) -> S3Staging:
        """A new place below `staging/`; nothing is asked of the store before there is something to keep."""
        place = secrets.token_hex(16)
        return S3Staging(self._bucket, place, self._threads, self._room, self._sending.__setitem__)

    def settle(self, *staged: Staged) -> None:
        """Return once all of `staged` are in the store.

        Raises:
            StoreAway: Some are not; those are gone.
        """
        sending = [self._sending[item.place] for item in staged if item.place in self._sending]
        errors = [error for error in (one.exception() for one in sending) if error is not None]
        if errors:
            raise errors[0]

    def adopt(self, *staged: Staged) -> None:
        """Keep `staged` as blobs; safe to call again, also after they were swept.

        Raises:
            StoreAway: Some could not be kept. The others may be; call again with all of them.
        """
        self.settle(*staged)
        lacking = [item for item in self._each(self._lacking, _by_content(staged)) if item is not None]
        self._each(self._copy_whole, [item for item in lacking if item.size_bytes <= _COPIED_BYTES])
        for item in lacking:
            if item.size_bytes > _COPIED_BYTES:
                self._copy_in_slices(item)

    def renew(self, staged: Staged) -> bool:
        """Whether there is a blob with these bytes already; then that is noted, so that no sweep takes it now.

        Raises:
            StoreAway: The store does not answer.
        """
        if not self._is_kept(staged):
            return False
        self._bucket.put(adopted_key(staged.sha256), b"")
        return True

    def _lacking(self, staged: Staged) -> Staged | None:
        return None if self.renew(staged) else staged

    def _copy_whole(self, staged: Staged) -> None:
        try:
            self._bucket.copy(staging_key(staged.place), blob_key(staged.sha256))
        except ObjectChanged:
            raise StoreAway(_GONE) from None

    def _copy_in_slices(self, staged: Staged) -> None:
        """Copies long bytes; the slices are of about the same length, so that none is below what stores take."""
        source, key = staging_key(staged.place), blob_key(staged.sha256)
        head = self._bucket.head(source)
        if head is None or head.size_bytes != staged.size_bytes:
            raise StoreAway(_GONE)
        upload_id = self._bucket.begin_multipart(key)
        try:
            parts = self._copy_slices(source, head, key, upload_id)
            self._bucket.complete_multipart(key, upload_id, parts)
        except StoreAway:
            self._give_up(key, upload_id)
            if not self._is_kept(staged):  # By a first try whose answer was lost.
                raise

    def _copy_slices(self, source: str, head: Head, key: str, upload_id: str) -> Sequence[UploadedPart]:
        count = -(-head.size_bytes // _COPIED_BYTES)
        bounds = [head.size_bytes * n // count for n in range(count + 1)]

        def copy(number: int) -> UploadedPart:
            start, stop = bounds[number - 1], bounds[number]
            return self._bucket.copy_part(key, upload_id, number, source, start, stop, if_match=head.etag)

        return self._each(copy, range(1, count + 1))

    def _give_up(self, key: str, upload_id: str) -> None:
        try:
            self._bucket.abort_multipart(key, upload_id)
        except StoreAway as away:
            _log.warning("an unfinished copy to %s waits for the next sweep: %s", key, away)

    def _is_kept(self, staged: Staged) -> bool:
        head = self._bucket.head(blob_key(staged.sha256))
        return head is not None and head.size_bytes == staged.size_bytes

    def discard(self, *staged: Staged) -> None:
        """Remove staged bytes, adopted or not; what the store does not let go now, the next sweep removes."""
        for item in staged:
            sending = self._sending.pop(item.place, None)
            if sending is not None:
                sending.exception()
        try:
            self._bucket.delete(*(staging_key(item.place) for item in staged))
        except StoreAway as away:
            # What they were staged for has succeeded or failed by now; neither is changed by what is left of it.
            _log.warning("staged bytes wait for the next sweep: %s", away)

    # The way out

    def read(
        self, sha256: str, start: int = 0, length: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        """`length` bytes of a blob from `start`, or all that follow.

        Raises:
            BlobMissing: At once, when there is no such blob.
            BlobDamaged: While it is read, when it is shorter than that.
            StoreAway: The store does not answer.
        """
        try:
            chunks = self._bucket.read(blob_key(sha256), start, length, chunk_bytes)
        except ObjectChanged:
            raise BlobMissing(sha256) from None
        return _whole(chunks, sha256, length)

    def size(self, sha256: str) -> int:
        """Bytes of a blob.

        Raises:
            BlobMissing: There is no such blob.
            StoreAway: The store does not answer.
        """
        head = self._bucket.head(blob_key(sha256))
        if head is None:
            raise BlobMissing(sha256)
        return head.size_bytes

    def exists(self, sha256: str) -> bool:
        """Whether there is such a blob.

        Raises:
            StoreAway: The store does not answer.
        """
        try:
            self.size(sha256)
        except BlobMissing:
            return False
        return True

    def missing(self, sha256s: Iterable[str]) -> set[str]:
        """Those of which there is no blob; asked side by side.

        Raises:
            StoreAway: The store does not answer.
        """
        wanted = list(sha256s)
        return {sha256 for sha256, is_here in zip(wanted, self._each(self.exists, wanted), strict=True) if not is_here}

    # Keeping house

    def delete(self, sha256: str) -> None:
        """Remove a blob; fine when it is gone.

        Raises:
            StoreAway: The store does not let it go.
        """
        try:
            keys = (blob_key(sha256), adopted_key(sha256))
        except BlobMissing:
            return
        self._bucket.delete(*keys)

    def list(self, older_than: datetime) -> Iterator[tuple[str, int]]:
        """SHA-256 and size of each blob that nobody adopted since `older_than`, by SHA-256.

        Blobs and notes are listed side by side: both come in the order of their digests, and neither is kept in memory.

        Raises:
            StoreAway: The store does not answer.
        """
        noted = (
            sha256
            for key, _, at in self._bucket.list("adopted/")
            if at >= older_than and (sha256 := sha256_of(key.replace("adopted", "blobs", 1)))
        )
        young = next(noted, None)
        for key, size_bytes, at in self._bucket.list("blobs/"):
            sha256 = sha256_of(key)
            if sha256 is None or at >= older_than:
                continue
            while young is not None and young < sha256:
                young = next(noted, None)
            if young != sha256:
                yield sha256, size_bytes

    def sweep_staging(self, older_than: datetime) -> int:
        """Remove what was staged before `older_than` and never discarded; returns how many there were.

        Copies to blobs that were never completed go too, and notes that say nothing any more.

        Raises:
            StoreAway: The store does not answer.
        """
        self._bucket.delete(*(key for key, _, at in self._bucket.list("adopted/") if at < older_than and _is_note(key)))
        for key, upload_id, begun_at in self._bucket.list_multipart("blobs/"):
            if begun_at < older_than and sha256_of(key):
                self._bucket.abort_multipart(key, upload_id)
        count = 0
        for key, upload_id, begun_at in self._bucket.list_multipart("staging/"):
            if begun_at < older_than and _is_staged(key):
                self._bucket.abort_multipart(key, upload_id)
                count += 1
        old = [key for key, _, at in self._bucket.list("staging/") if at < older_than and _is_staged(key)]
        self._bucket.delete(*old)
        return count + len(old)

    def check(self) -> None:
        """Return if bytes could be written within the last seconds; anybody may ask, and each object costs money.

        Raises:
            StoreAway: They could not.
        """
        asked_at = time.monotonic()
        with self._checking:
            # Who waited here while another one looked need not look again.
            fresh = asked_at if self._fault else asked_at - _CHECKED_SECONDS
            if self._checked_at < fresh:
                self._fault = self._look()
                self._checked_at = time.monotonic()
            if self._fault:
                raise self._fault

    def _look(self) -> StoreAway | None:
        try:
            self._bucket.probe(staging_key(f"check-{secrets.token_hex(8)}"))
        except StoreAway as away:
            return away
        return None

    def _each(self, work: Callable[[_T], _U], subjects: Iterable[_T]) -> Sequence[_U]:
        """What `work` makes of each, side by side; the first error when all have ended."""
        running = [self._threads.submit(work, subject) for subject in subjects]
        errors = [error for error in (one.exception() for one in running) if error is not None]
        if errors:
            raise errors[0]
        return [one.result() for one in running]


def _by_content(staged: Iterable[Staged]) -> Sequence[Staged]:
    """One of each content."""
    return list({item.sha256: item for item in staged}.values())


def _whole(chunks: Iterator[bytes], sha256: str, length: int | None) -> Iterator[bytes]:
    """The chunks; an error at their end when they are too few."""
    got = 0
    try:
        for chunk in chunks:
            got += len(chunk)
            yield chunk
    except ObjectChanged:
        raise BlobDamaged(sha256) from None
    if length is not None and got < length:
        raise BlobDamaged(sha256)


def _is_note(key: str) -> bool:
    return sha256_of(key.replace("adopted", "blobs", 1)) is not None


def _is_staged(key: str) -> bool:
    """Whether something is on its way in there; a package may be called `staging`, and its ZIPs are deeper."""
    return key.count("/") == 1
