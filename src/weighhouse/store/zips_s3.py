"""ZIPs composed in a bucket: the store copies what is big from its own blobs, and only what is small is sent."""

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol, TypeVar

from weighhouse.rules.manifest import is_variant_name
from weighhouse.rules.zipparts import MIB, MIN_PART_BYTES, Copied, Part, Sent, plan
from weighhouse.rules.zipview import BlobSpan, Literal, ZipView, cut
from weighhouse.store.blobs import BlobStore, StoreAway, blob_key, staging_key

MEDIA_TYPE = "application/zip"

_COPIES_AT_ONCE = 4
_READS_AT_ONCE = 16
_PARTS_SENT_AT_ONCE = 4
_BYTES_SENT_AT_ONCE = 64 * MIB

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """A ZIP was not composed to its end, because it is not wanted any more."""


class Head(Protocol):
    """What a store says of an object."""

    @property
    def size_bytes(self) -> int:
        """Its length."""

    @property
    def etag(self) -> str:
        """What the store tells its content by."""


class Bucket(Protocol):
    """What a composition needs of a bucket. Every method raises `StoreAway` when the store does not do its work.

    Keys are those of `store/blobs`; the bucket puts its prefix in front. A part is whatever the bucket gave for it.
    """

    def location(self, key: str) -> str:
        """The address of an object for people: `s3://bucket/prefix/key`."""

    def put(self, key: str, data: bytes) -> object:
        """Keep a small object."""

    def get(self, key: str) -> bytes:
        """The content of a small object."""

    def head(self, key: str) -> Head | None:
        """What is at a key, `None` where nothing is."""

    def delete(self, key: str) -> None:
        """Remove an object; fine when it is gone."""

    def list(self) -> Iterator[tuple[str, int, datetime]]:
        """Key, length and age of each object, by key."""

    def list_multipart(self) -> Iterator[tuple[str, str, datetime]]:
        """Key, id and begin of each upload that is not complete."""

    def begin_multipart(self, key: str, *, content_type: str) -> str:
        """The id of a new upload."""

    def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> Any:
        """A part that is sent."""

    def copy_part(
        self, key: str, upload_id: str, number: int, source_key: str, start: int, stop: int, *, if_match: str
    ) -> Any:
        """A part that the store copies from an object, if that still has the ETag."""

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Any], *, if_none_match: bool) -> object:
        """Make the parts an object; with the condition only where none is."""

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Throw an upload away; fine when it is gone."""

    def presigned_get(self, key: str, *, filename: str, content_type: str, seconds: int) -> str:
        """An address that anybody can get an object from."""


@dataclass(frozen=True)
class Composed:
    """A ZIP that is in the bucket.

    Args:
        etag: What the store tells its content by; no digest of it.
    """

    size_bytes: int
    etag: str


class Zips:
    """The ZIPs of a bucket. Every method raises `StoreAway` when the store does not do its work."""

    def __init__(self, bucket: Bucket, blobs: BlobStore) -> None:
        self._bucket = bucket
        self._blobs = blobs

    @cached_property
    def fault(self) -> str | None:
        """Why this store cannot compose, `None` if it can; found out once a process, by doing it with 6 MiB."""
        source, target = (staging_key(f"probe-{secrets.token_hex(16)}") for _ in range(2))
        try:
            return self._try_out(source, target)
        finally:
            self._bucket.delete(source)
            self._bucket.delete(target)

    def begin(self, key: str) -> str:
        """A new multipart upload; nothing is at its key before it is completed."""
        return self._bucket.begin_multipart(key, content_type=MEDIA_TYPE)

    def compose(self, key: str, upload_id: str, view: ZipView, *, may_go_on: Callable[[], bool]) -> Composed:
        """A ZIP as an object, put there in one step at the end; without it nothing is left of the upload.

        Blobs are copied as they were when it began, by their ETag. The memory needed does not grow with the ZIP.

        Args:
            may_go_on: Whether it is still wanted; asked by several threads, before every part and at the end.

        Raises:
            Interrupted: It is not wanted any more.
            BlobMissing: A file is gone from the store.
            StoreAway: The store does not do its work, holds a file of another length, or something at the key already.
        """
        parts = plan(view)
        try:
            done = self._carry_out(key, upload_id, view, parts, may_go_on)
            if not may_go_on():
                raise Interrupted
            # Two jobs may have come this far for the same key: the first wins, so that no finished ZIP is replaced.
            self._bucket.complete_multipart(key, upload_id, done, if_none_match=True)
        except BaseException:
            self.abort(key, upload_id)
            raise
        return self._composed(key, view.size_bytes)

    def abort(self, key: str, upload_id: str) -> None:
        """Throw away a multipart upload; fine when it is gone, and a sweep does it where the store does not answer."""
        try:
            self._bucket.abort_multipart(key, upload_id)
        except StoreAway as away:
            _log.warning("the unfinished upload of %s waits for the next sweep: %s", key, away)

    def location(self, key: str) -> str:
        """Where a ZIP is, as people and their tools name it: `s3://bucket/prefix/key`."""
        return self._bucket.location(key)

    def etag(self, key: str) -> str | None:
        """What the store tells the content at a key by, `None` where nothing is."""
        head = self._bucket.head(key)
        return head.etag if head else None

    def address(self, key: str, *, filename: str, seconds: int) -> str:
        """A presigned address that anybody can get the ZIP from.

        Args:
            filename: What a browser saves it as.
            seconds: How long the address is good; once given out it cannot be taken back.
        """
        return self._bucket.presigned_get(key, filename=filename, content_type=MEDIA_TYPE, seconds=seconds)

    def delete(self, key: str) -> None:
        """Remove a ZIP; fine when it is gone."""
        self._bucket.delete(key)

    def list(self, before: datetime) -> Iterator[str]:
        """Keys of the ZIPs that are older than this instant, in their order."""
        return (key for key, _, kept_at in self._bucket.list() if kept_at < before and _is_zip_key(key))

    def list_uploads(self, before: datetime) -> Iterator[tuple[str, str]]:
        """Key and id of each upload of a ZIP that began before this instant and is not complete."""
        for key, upload_id, begun_at in self._bucket.list_multipart():
            if begun_at < before and _is_zip_key(key):
                yield key, upload_id

    def _carry_out(
        self, key: str, upload_id: str, view: ZipView, parts: Sequence[Part], may_go_on: Callable[[], bool]
    ) -> Sequence[Any]:
        """The parts as the store took them, in order."""
        largest = max((part.size_bytes for part in parts if isinstance(part, Sent)), default=1)
        with ExitStack() as stack:
            copying = stack.enter_context(ThreadPoolExecutor(_COPIES_AT_ONCE, "zip-copy"))
            at_once = max(1, min(_PARTS_SENT_AT_ONCE, _BYTES_SENT_AT_ONCE // largest))
            sending = stack.enter_context(ThreadPoolExecutor(at_once, "zip-send"))
            # Apart from those who send: they wait for what is read.
            reading = stack.enter_context(ThreadPoolExecutor(_READS_AT_ONCE, "zip-read"))
            etags = self._pin(view, parts, copying)

            def carry_out(number: int, part: Part) -> Any:
                if not may_go_on():
                    raise Interrupted
                if isinstance(part, Sent):
                    data = b"".join(reading.map(self._read, cut(view, part.start, part.stop)))
                    if len(data) != part.size_bytes:
                        raise StoreAway(f"A kept file that belongs into {key} is damaged.")
                    return self._bucket.upload_part(key, upload_id, number, data)
                source = blob_key(part.sha256)
                return self._bucket.copy_part(
                    key, upload_id, number, source, part.start, part.stop, if_match=etags[part.sha256]
                )

            return _all_or_none(
                [
                    (sending if isinstance(part, Sent) else copying).submit(carry_out, number, part)
                    for number, part in enumerate(parts, 1)
                ]
            )

    def _pin(self, view: ZipView, parts: Sequence[Part], threads: Executor) -> Mapping[str, str]:
        """The ETag of each blob that is copied, by its SHA-256.

        Raises:
            StoreAway: One is gone, or has another length than the manifest says.
        """
        copied = {part.sha256 for part in parts if isinstance(part, Copied)}
        sizes = {file.sha256: file.size_bytes for file in view.files if file.sha256 in copied}

        def etag(sha256: str) -> str:
            head = self._bucket.head(blob_key(sha256))
            if head is None or head.size_bytes != sizes[sha256]:
                raise StoreAway(f"The kept file with the SHA-256 {sha256} is gone or damaged.")
            return head.etag

        return dict(zip(sizes, threads.map(etag, sizes), strict=True))

    def _read(self, piece: Literal | BlobSpan) -> bytes:
        if isinstance(piece, Literal):
            return piece.data
        return b"".join(self._blobs.read(piece.sha256, piece.start, piece.length))

    def _composed(self, key: str, size_bytes: int) -> Composed:
        """What is at the key now.

        Raises:
            StoreAway: Not what was composed.
        """
        head = self._bucket.head(key)
        if head is None or head.size_bytes != size_bytes:
            raise StoreAway(f"The store does not have {key} as it was composed.")
        return Composed(head.size_bytes, head.etag)

    def _try_out(self, source: str, target: str) -> str | None:
        """Why two ranges of different length and a small last part do not make what they should, `None` if they do."""
        content = secrets.token_bytes(MIN_PART_BYTES + MIB)
        spans = ((MIB, len(content)), (0, MIN_PART_BYTES + 1))
        self._bucket.put(source, content)
        head = self._bucket.head(source)
        if head is None:
            return "The store does not show what it has just kept."
        upload_id = self.begin(target)
        try:
            parts = [
                self._bucket.copy_part(target, upload_id, number, source, start, stop, if_match=head.etag)
                for number, (start, stop) in enumerate(spans, 1)
            ]
            parts.append(self._bucket.upload_part(target, upload_id, len(parts) + 1, b"end"))
            self._bucket.complete_multipart(target, upload_id, parts, if_none_match=True)
        except StoreAway as refused:
            self.abort(target, upload_id)
            self._bucket.head(source)  # If nothing is answered any more, that was no refusal.
            return f"The store does not copy ranges into parts: {refused.detail}"
        expected = b"".join(content[start:stop] for start, stop in spans) + b"end"
        return None if self._bucket.get(target) == expected else "The store says that it copies ranges, and does not."


_T = TypeVar("_T")


def _all_or_none(running: Sequence[Future[_T]]) -> Sequence[_T]:
    """What all of these gave, or what the first of them raised; then no other one begins any more."""
    try:
        done, _ = wait(running, return_when=FIRST_EXCEPTION)
    finally:
        for future in running:
            future.cancel()
    for future in done:
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error
    return [future.result() for future in running]


def _is_zip_key(key: str) -> bool:
    """Whether a ZIP of a package may be at this key; a package may be called `blobs`, or `staging`."""
    return is_variant_name(key.rpartition("/")[2]) and key.count("/") >= 2
