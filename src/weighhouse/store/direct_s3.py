"""Contents that clients send into a bucket by themselves, as the parts of an upload that only the registry can complete.

What is sent so is nowhere before it is completed. Afterwards its addresses are dead; of stores that go on taking parts, an
object with a part that is not the one it was completed with cannot be read. So nobody can write again after the check.

Where the store compares a part with the digests in its signature, a content of one part is completed as its blob, and no
byte of it is read or copied. Elsewhere it is completed under `staging/`, read again, and copied by the store.
"""

import hashlib
import itertools
import secrets
import threading
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import httpx
import orjson

from weighhouse.store.blobs import ObjectChanged, PartRequest, Staged, StoreAway, UploadedPart, blob_key, staging_key
from weighhouse.store.blobs_s3_staging import MIB, PART_BYTES
from weighhouse.store.s3 import S3

if TYPE_CHECKING:
    from weighhouse.store.blobs_s3 import S3Blobs

# Longer ones come in parts, so that a connection that breaks costs no more than one of them.
_WHOLE_BYTES = 256 * MIB
_PART_BYTES = 64 * MIB
_MAX_PARTS = 10_000

_PROBE_SECONDS = 60
_PROBE = (b"a part that is true", b"a part that is not.")


@dataclass(frozen=True, slots=True)
class _Ticket:
    """A content on its way.

    Args:
        upload_id: The store's name for the upload.
        place: Where it is staged; `None` where it becomes its blob at once.
    """

    sha256: str
    size_bytes: int
    crc32: int | None
    upload_id: str
    place: str | None

    @property
    def key(self) -> str:
        """Where it will be when it is complete."""
        return blob_key(self.sha256) if self.place is None else staging_key(self.place)

    @property
    def bounds(self) -> Sequence[tuple[int, int]]:
        """Where each part begins and ends; all but the last of the same length, about."""
        part_bytes = self.size_bytes if self.place is None else max(_PART_BYTES, -(-self.size_bytes // _MAX_PARTS))
        count = max(1, -(-self.size_bytes // max(1, part_bytes)))
        edges = [self.size_bytes * number // count for number in range(count + 1)]
        return list(itertools.pairwise(edges))

    def staged(self, crc32: int) -> Staged:
        """The content as the store of blobs takes it."""
        return Staged(self.sha256, self.size_bytes, crc32, self.place or "")


def _read(ticket: str) -> _Ticket:
    return _Ticket(**orjson.loads(ticket))


class S3Direct:
    """The `DirectStore` of a bucket."""

    min_bytes = PART_BYTES

    def __init__(self, bucket: S3, blobs: "S3Blobs") -> None:
        """Nothing is asked yet."""
        self._bucket = bucket
        self._blobs = blobs
        self._asking = threading.Lock()
        self._is_vouching: bool | None = None

    def begin(self, sha256: str, size_bytes: int, crc32: int | None) -> str:
        """A ticket for a content that a client is about to send; see `DirectStore`."""
        is_vouched = crc32 is not None and size_bytes <= _WHOLE_BYTES and self._vouches()
        place = None if is_vouched else f"direct-{secrets.token_hex(16)}"
        key = blob_key(sha256) if place is None else staging_key(place)
        upload_id = self._bucket.begin_multipart(key, checksum="CRC32" if is_vouched else None)
        return orjson.dumps(asdict(_Ticket(sha256, size_bytes, crc32, upload_id, place))).decode()

    def lacking(self, ticket: str, seconds: int, *, is_new: bool = False) -> Sequence[PartRequest]:
        """What is still to be sent; see `DirectStore`."""
        one = _read(ticket)
        arrived = {} if is_new else {part.number: size_bytes for part, size_bytes in self._arrived(one)}
        requests = []
        for number, (start, stop) in enumerate(one.bounds, 1):
            if arrived.get(number) == stop - start:
                continue
            if one.place is None and one.crc32 is not None:
                request = self._bucket.presigned_hashed_part(
                    one.key,
                    one.upload_id,
                    number,
                    size_bytes=stop - start,
                    sha256=one.sha256,
                    crc32=one.crc32,
                    seconds=seconds,
                )
            else:
                request = self._bucket.presigned_part(
                    one.key, one.upload_id, number, size_bytes=stop - start, seconds=seconds
                )
            requests.append(PartRequest(start, stop - start, request))
        return requests

    def finish(self, ticket: str) -> int | None:
        """CRC-32 of the content, which is a blob now; see `DirectStore`."""
        one = _read(ticket)
        try:
            arrived = self._arrived(one)
        except ObjectChanged:
            return None
        if [size_bytes for _, size_bytes in arrived] != [stop - start for start, stop in one.bounds]:
            return None
        parts = [part for part, _ in arrived]
        return self._finish_vouched(one, parts) if one.place is None else self._finish_staged(one, parts)

    def abort(self, ticket: str) -> None:
        """Throw away what arrived; fine when it is gone."""
        one = _read(ticket)
        self._bucket.abort_multipart(one.key, one.upload_id)
        if one.place is not None:
            self._bucket.delete(one.key)

    def _arrived(self, one: _Ticket) -> Sequence[tuple[UploadedPart, int]]:
        """The parts that are there and how long each is; those of an object that was completed before have no number.

        Raises:
            ObjectChanged: The store has given the upload up.
        """
        try:
            return self._bucket.list_parts(one.key, one.upload_id)
        except ObjectChanged:
            # Completed, and the process died before it could say so?
            head = self._bucket.head(one.key) if one.place is not None else None
            if head is None or head.size_bytes != one.size_bytes:
                raise
            return [(UploadedPart(number, "", {}), stop - start) for number, (start, stop) in enumerate(one.bounds, 1)]

    def _finish_vouched(self, one: _Ticket, parts: Sequence[UploadedPart]) -> int:
        """Makes the part a blob: with it the holder has shown that the content is theirs, also where it is kept already."""
        assert one.crc32 is not None
        staged = one.staged(one.crc32)
        if self._blobs.renew(staged):
            self._bucket.abort_multipart(one.key, one.upload_id)
            return one.crc32
        try:
            self._bucket.complete_multipart(one.key, one.upload_id, parts, if_none_match=True)
        except ObjectChanged:
            # Somebody else's became the blob meanwhile, or ours did and the answer was lost.
            if not self._blobs.renew(staged):
                raise
        return one.crc32

    def _finish_staged(self, one: _Ticket, parts: Sequence[UploadedPart]) -> int | None:
        if parts[0].etag:
            self._bucket.complete_multipart(one.key, one.upload_id, parts)
        digest, crc32 = hashlib.sha256(), 0
        for chunk in self._bucket.read(one.key):
            digest.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
        if digest.hexdigest() != one.sha256:
            self._bucket.delete(one.key)
            return None
        staged = one.staged(crc32)
        self._blobs.adopt(staged)
        self._blobs.discard(staged)
        return crc32

    def _vouches(self) -> bool:
        """Whether the store refuses a part that is not what was signed; asked once in the life of a process."""
        with self._asking:
            if self._is_vouching is None:
                self._is_vouching = self._probe()
            return self._is_vouching

    def _probe(self) -> bool:
        key = staging_key(f"probe-{secrets.token_hex(16)}")
        upload_id = self._bucket.begin_multipart(key)
        try:
            digests = [(hashlib.sha256(content).hexdigest(), zlib.crc32(content)) for content in _PROBE]
            answers = [
                self._put(key, upload_id, sha256, crc32, _PROBE[0])
                # As it is signed; with another SHA-256; with another CRC-32.
                for sha256, crc32 in (digests[0], (digests[1][0], digests[0][1]), (digests[0][0], digests[1][1]))
            ]
            return answers[0] < 300 and all(400 <= status < 500 for status in answers[1:])
        finally:
            self._bucket.abort_multipart(key, upload_id)

    def _put(self, key: str, upload_id: str, sha256: str, crc32: int, content: bytes) -> int:
        """Status of a request as a client would make it."""
        signed = self._bucket.presigned_hashed_part(
            key, upload_id, 1, size_bytes=len(content), sha256=sha256, crc32=crc32, seconds=_PROBE_SECONDS
        )
        try:
            return httpx.put(signed.url, headers=dict(signed.headers), content=content, timeout=10).status_code
        except httpx.HTTPError as error:
            raise StoreAway("The store that keeps the files does not answer. Try again in a moment.") from error
