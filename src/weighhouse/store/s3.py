"""A bucket with the interface of S3: thin calls, what can go wrong with them, and requests signed for others.

boto3 in threads: one client for each patience, shared by all threads of the process.
"""

import base64
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import boto3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)

from weighhouse.rules.errors import Invalid
from weighhouse.store.blobs import CHUNK_BYTES, Head, ObjectChanged, Presigned, StoreAway, StoreRefused, UploadedPart
from weighhouse.store.circuit import Circuit

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from types_boto3_s3 import S3Client

# Seconds without a byte before a call is given up: of those that are answered at once, of those that move some
# megabytes, and of copies, during which a store may stay silent.
_QUICK, _MOVING, _COPYING = 5, 30, 120
_CONNECT_SECONDS = 3
# More than one would hide how often a store fails; fewer than two would make every lost packet an error.
_ATTEMPTS = 2
# A process has about 40 threads that answer requests, and some more that move bytes.
_CONNECTIONS = 64
# How often in a row a broken download is taken up again without a byte having come.
_RESUMPTIONS = 4
_DELETED_AT_ONCE = 1000
# So many go at once; more take a store its time.
_DELETED_QUICKLY = 20

_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_GONE = {"404", "NoSuchKey", "NoSuchUpload", "412", "PreconditionFailed"}
_SENTENCES = {
    "NoSuchBucket": "The bucket does not exist. Make it, or correct WEIGHHOUSE_STORAGE_URL.",
    "InvalidAccessKeyId": "The store does not know the access key. Correct AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The store does not accept the signature. Correct AWS_SECRET_ACCESS_KEY or AWS_REGION.",
    "ExpiredToken": "The session of the AWS credentials has ended. Give the server new ones.",
    "RequestTimeTooSkewed": "The clocks of the server and of the store differ too much. Set them right.",
    "PermanentRedirect": "The bucket is in another region. Correct AWS_REGION.",
    "AuthorizationHeaderMalformed": "The bucket is in another region. Correct AWS_REGION.",
}
_DENIED = "The store does not let the registry do this. Give its credentials the permissions that docs/guides/running.md lists."
_CHANGED = "What the registry expects in the store is not there. Try again, or ask the operator."
_AWAY = "The store that keeps the files does not answer. Try again in a moment."

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Access:
    """How a bucket is reached; what is left out is looked for where AWS's own tools look.

    Args:
        endpoint_url: Of a store that is not Amazon's.
    """

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Access({self.endpoint_url!r})"


class S3:
    """The objects of a bucket, or of those of its keys that begin with a prefix; keys are given without it.

    Every method raises `StoreAway` when the store does not do its work: `StoreRefused` when it says no, `ObjectChanged`
    when the object or the upload is not there or not what was expected. While nobody answers, they do so at once.
    """

    def __init__(self, bucket: str, prefix: str, access: Access) -> None:
        """Nothing is asked yet.

        Args:
            prefix: Empty, or ending in a slash.

        Raises:
            Invalid: The access cannot be used.
        """
        self.bucket = bucket
        self.prefix = prefix
        self._clients, self._credentials = _clients(access)
        self._signer = self._clients[_QUICK]
        # Some old stores refuse checksums; then AWS_REQUEST_CHECKSUM_CALCULATION says to send none.
        config: Any = self._signer.meta.config
        self._sends_checksums = config.request_checksum_calculation == "when_supported"
        self._circuit = Circuit(lambda seconds: StoreAway(_AWAY, retry_after_seconds=seconds))

    def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients.values():
            client.close()

    def location(self, key: str) -> str:
        """The address of an object for people: `s3://bucket/prefix/key`."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    # Objects

    def put(self, key: str, data: bytes | bytearray, *, sha256: str | None = None) -> None:
        """Keep an object that is there as a whole or not at all.

        Args:
            sha256: What the store is to compare the bytes with, in hexadecimal.
        """
        given: Any = {"ChecksumSHA256": _base64(sha256)} if sha256 and self._sends_checksums else {}
        given["Body"] = data
        self._call(_MOVING, lambda s3: s3.put_object(**self._at(key), **given))

    def probe(self, key: str) -> None:
        """Put a few bytes at a key and remove them, with little patience."""
        self._call(_QUICK, lambda s3: s3.put_object(**self._at(key), Body=b"probe"))
        self._call(_QUICK, lambda s3: s3.delete_object(**self._at(key)))

    def get(self, key: str) -> bytes:
        """The content of a small object."""
        return b"".join(self.read(key))

    def read(
        self, key: str, start: int = 0, length: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        """The bytes of an object from `start`: at most `length`, or all that follow. What it is like is known at once.

        A connection that breaks is replaced where it broke off, as long as the object is the same.
        """
        if length == 0:
            if self.head(key) is None:
                raise ObjectChanged(_CHANGED)
            return iter(())
        opened = self._open(key, start, length)
        return self._chunks(key, start, opened, chunk_bytes) if opened else iter(())

    def head(self, key: str) -> Head | None:
        """What is at a key, `None` where nothing is."""
        try:
            found = self._call(_QUICK, lambda s3: s3.head_object(**self._at(key)))
        except ObjectChanged:
            return None
        return Head(found["ContentLength"], found["ETag"], found["LastModified"])

    def copy(self, source_key: str, key: str) -> None:
        """Have the store copy an object of at most 5 GiB."""
        source = self._at(source_key)
        self._call(_COPYING, lambda s3: s3.copy_object(**self._at(key), CopySource=source))

    def delete(self, *keys: str) -> None:
        """Remove objects; fine when they are gone."""
        remaining = iter(keys)
        while batch := [{"Key": self.prefix + key} for key in islice(remaining, _DELETED_AT_ONCE)]:
            self._delete_batch(batch)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int, datetime]]:
        """Key, length and time of the last change of each object whose key begins so, by key."""
        pages = self._pages(
            lambda s3, more: s3.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + prefix, **more),
            {"ContinuationToken": "NextContinuationToken"},
        )
        for page in pages:
            for found in page.get("Contents", ()):
                yield found["Key"].removeprefix(self.prefix), found["Size"], found["LastModified"]

    # Objects in parts

    def begin_multipart(
        self, key: str, *, content_type: str = "application/octet-stream", checksum: str | None = "CRC32"
    ) -> str:
        """The id of a new upload, of which nothing is at the key before it is complete.

        Args:
            checksum: What each part will be sent with, `None` for nothing.
        """
        # Amazon's refuses a part with a checksum of which it was not told here.
        declared: Any = {"ChecksumAlgorithm": checksum} if checksum and self._sends_checksums else {}
        begun = self._call(
            _QUICK, lambda s3: s3.create_multipart_upload(**self._at(key), ContentType=content_type, **declared)
        )
        return begun["UploadId"]

    def upload_part(self, key: str, upload_id: str, number: int, data: bytes | bytearray) -> UploadedPart:
        """A part that is sent."""
        where: Any = self._at(key) | {"UploadId": upload_id, "PartNumber": number, "Body": data}
        return _part(number, self._call(_MOVING, lambda s3: s3.upload_part(**where)))

    def copy_part(
        self, key: str, upload_id: str, number: int, source_key: str, start: int, stop: int, *, if_match: str
    ) -> UploadedPart:
        """A part that the store copies from an object, if that still has this ETag."""
        where: Any = self._at(key) | {"UploadId": upload_id, "PartNumber": number}
        copied = self._call(
            _COPYING,
            lambda s3: s3.upload_part_copy(
                **where,
                CopySource=self._at(source_key),
                CopySourceRange=f"bytes={start}-{stop - 1}",
                CopySourceIfMatch=if_match,
            ),
        )
        return _part(number, copied["CopyPartResult"])

    def list_parts(self, key: str, upload_id: str) -> Sequence[tuple[UploadedPart, int]]:
        """The parts that arrived and how long each is, by number."""
        where: Any = self._at(key) | {"UploadId": upload_id}
        pages = self._pages(
            lambda s3, more: s3.list_parts(**where, **more), {"PartNumberMarker": "NextPartNumberMarker"}
        )
        return [(_part(one["PartNumber"], one), one["Size"]) for page in pages for one in page.get("Parts", ())]

    def complete_multipart(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, if_none_match: bool = False
    ) -> None:
        """Make the parts an object; with the condition only where none is."""
        where: Any = self._at(key) | {"UploadId": upload_id} | ({"IfNoneMatch": "*"} if if_none_match else {})
        listed: Any = [{"PartNumber": part.number, "ETag": part.etag, **part.checksums} for part in parts]
        self._call(_COPYING, lambda s3: s3.complete_multipart_upload(**where, MultipartUpload={"Parts": listed}))

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Throw an upload away; fine when it is gone."""
        try:
            self._call(_QUICK, lambda s3: s3.abort_multipart_upload(**self._at(key), UploadId=upload_id))
        except ObjectChanged as gone:
            _log.debug("%s", gone)

    def list_multipart(self, prefix: str = "") -> Iterator[tuple[str, str, datetime]]:
        """Key, id and begin of each upload that is not complete and whose key begins so."""
        pages = self._pages(
            lambda s3, more: s3.list_multipart_uploads(Bucket=self.bucket, Prefix=self.prefix + prefix, **more),
            {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
        )
        for page in pages:
            for found in page.get("Uploads", ()):
                yield found["Key"].removeprefix(self.prefix), found["UploadId"], found["Initiated"]

    # Requests for others to make

    def presigned_get(self, key: str, *, filename: str, content_type: str, seconds: int) -> str:
        """An address that anybody can get an object from.

        Args:
            filename: What a browser saves it as.
        """
        saved_as = "".join(c if c.isascii() and (c.isalnum() or c in "._-+") else "_" for c in filename)
        shown = {
            "ResponseContentDisposition": f'attachment; filename="{saved_as}"',
            "ResponseContentType": content_type,
        }
        return self._sign("get_object", self._at(key) | shown, seconds)

    def presigned_part(self, key: str, upload_id: str, number: int, *, size_bytes: int, seconds: int) -> Presigned:
        """A request that sends a part of this length: 5 MiB to 5 GiB, the last one any."""
        where = self._at(key) | {"UploadId": upload_id, "PartNumber": number, "ContentLength": size_bytes}
        return Presigned("PUT", self._sign("upload_part", where, seconds), {"Content-Length": str(size_bytes)})

    def presigned_hashed_part(
        self, key: str, upload_id: str, number: int, *, size_bytes: int, sha256: str, crc32: int, seconds: int
    ) -> Presigned:
        """The same, and the store is to compare its bytes with both; not every store does.

        AWS takes one checksum of its own a request. The other one is the hash of the body that signatures may cover.
        """
        headers = {
            "Content-Length": str(size_bytes),
            "x-amz-content-sha256": sha256,
            "x-amz-checksum-crc32": base64.b64encode(crc32.to_bytes(4, "big")).decode(),
        }
        where = self._at(key) | {"UploadId": upload_id, "PartNumber": number}
        address = urlsplit(self._sign("upload_part", where, seconds))
        # boto3 signs no hash of the body into an address: it makes the address, and what signs for it signs once more.
        query = [(name, value) for name, value in parse_qsl(address.query) if not name.startswith("X-Amz-")]
        request = AWSRequest("PUT", urlunsplit(address._replace(query=urlencode(query))), headers)
        try:
            if self._credentials is None:
                raise NoCredentialsError
            credentials = self._credentials.get_frozen_credentials()
            S3SigV4QueryAuth(credentials, "s3", self._signer.meta.region_name, seconds).add_auth(request)
        except (ClientError, BotoCoreError, OSError) as error:
            raise translated(error) from error
        return Presigned("PUT", str(request.url), headers)

    # How the store is asked

    def _at(self, key: str) -> Any:
        """Where an object is, as every call wants it."""
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _call(self, seconds: int, ask: Callable[["S3Client"], _T]) -> _T:
        """What the store answers; the one place where its errors become ours."""
        with self._circuit.passage(_is_outage):
            try:
                return ask(self._clients[seconds])
            except (ClientError, BotoCoreError, OSError) as error:
                raise translated(error) from error

    def _sign(self, operation: str, parameters: Mapping[str, Any], seconds: int) -> str:
        try:
            return str(self._signer.generate_presigned_url(operation, Params=parameters, ExpiresIn=seconds))
        except (ClientError, BotoCoreError, OSError) as error:  # The credentials themselves may have to be fetched.
            raise translated(error) from error

    def _pages(self, ask: Callable[["S3Client", Any], Any], markers: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """The pages of a listing.

        Args:
            markers: Where the next page begins: the field to ask with, and the one of the answer to take it from.
        """
        more: dict[str, Any] = {}
        while True:
            page = self._call(_MOVING, lambda s3, more=more: ask(s3, more))  # type: ignore[misc]  # mypy does not infer lambdas with defaults
            yield page
            if not page.get("IsTruncated"):
                return
            more = {field: page[source] for field, source in markers.items() if page.get(source)}

    def _delete_batch(self, batch: Sequence[Any]) -> None:
        objects: Any = {"Objects": batch, "Quiet": True}
        patience = _QUICK if len(batch) <= _DELETED_QUICKLY else _MOVING
        done = self._call(patience, lambda s3: s3.delete_objects(Bucket=self.bucket, Delete=objects))
        for error in done.get("Errors", ()):
            if error.get("Code") not in _GONE:
                raise _refusal(error.get("Code", ""), 403 if error.get("Code") == "AccessDenied" else 500)

    def _open(self, key: str, start: int, length: int | None, etag: str | None = None) -> Any:
        """The answer to a request for bytes, `None` when the object ends before them."""
        asked: Any = self._at(key) | ({"IfMatch": etag} if etag else {})
        if start or length is not None:
            asked["Range"] = f"bytes={start}-" + ("" if length is None else str(start + length - 1))

        def ask(s3: "S3Client") -> Any:
            try:
                return s3.get_object(**asked)
            except ClientError as error:
                if error.response["Error"].get("Code") in {"InvalidRange", "416"}:
                    return None
                raise

        return self._call(_MOVING, ask)

    def _chunks(self, key: str, at: int, opened: Any, chunk_bytes: int) -> Iterator[bytes]:
        stop, etag, broken = at + opened["ContentLength"], opened["ETag"], 0
        while True:
            with closing(opened["Body"]) as body:
                for chunk in _pieces(body, stop - at, chunk_bytes):
                    broken = 0
                    at += len(chunk)
                    yield chunk
            if at == stop:
                return
            broken += 1
            if broken > _RESUMPTIONS:
                raise StoreAway(_AWAY)
            opened = self._open(key, at, stop - at, etag)
            if opened is None:
                raise ObjectChanged(_CHANGED)


def bucket_at(url: str, access: Access) -> S3:
    """The bucket that a STORAGE_URL names: `s3://bucket` or `s3://bucket/prefix`.

    Raises:
        Invalid: It names none, or the access cannot be used.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET_NAME.fullmatch(bucket) or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        raise Invalid(f"STORAGE_URL is {url}; it must be like s3://bucket or s3://bucket/prefix.", field="storage_url")
    return S3(bucket, f"{prefix}/" if prefix else "", access)


def _pieces(body: Any, length: int, chunk_bytes: int) -> Iterator[bytes]:
    """The bytes of an answer; they end too early when the connection breaks."""
    while length:
        try:
            chunk = body.read(min(chunk_bytes, length))
        except (BotoCoreError, OSError) as error:
            _log.info("a download from the store broke off %d bytes before its end: %s", length, type(error).__name__)
            return
        if not chunk:
            return
        length -= len(chunk)
        yield chunk


def translated(error: Exception) -> StoreAway:
    """What an error of the client library means to the registry."""
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        return _refusal(str(told.get("Code", "")), status)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return StoreRefused("There are no credentials for the bucket. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    return StoreAway(_AWAY)


def _refusal(code: str, status: int) -> StoreAway:
    """An error that the store itself told of."""
    if code in _SENTENCES:
        return StoreRefused(_SENTENCES[code])
    if code in _GONE:
        return ObjectChanged(_CHANGED)
    if status in {401, 403}:
        return StoreRefused(_DENIED)
    if status >= 500 and status != 501:
        return StoreAway(_AWAY)
    return StoreRefused(f"The store refuses what the registry asks ({code or status}). Ask the operator to look at it.")


def _is_outage(error: BaseException) -> bool:
    return isinstance(error, StoreAway) and not isinstance(error, StoreRefused | ObjectChanged)


def _part(number: int, told: Mapping[str, Any]) -> UploadedPart:
    checksums = {name: str(value) for name, value in told.items() if name.startswith("Checksum") and value}
    checksums.pop("ChecksumType", None)
    return UploadedPart(number, told["ETag"], checksums)


def _base64(sha256: str) -> str:
    """A digest as the store wants it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _clients(access: Access) -> "tuple[Mapping[int, S3Client], Credentials | None]":
    """A client for each number of seconds without a byte after which it gives up, and what they sign with.

    Raises:
        Invalid: The access cannot be used.
    """
    try:
        session = boto3.session.Session(
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            aws_session_token=access.session_token,
            region_name=access.region,
        )
        region = session.region_name or "us-east-1"
        clients = {
            seconds: session.client(
                "s3", endpoint_url=access.endpoint_url, region_name=region, config=_config(access, seconds)
            )
            for seconds in (_QUICK, _MOVING, _COPYING)
        }
        return clients, session.get_credentials()
    except (BotoCoreError, ValueError) as error:
        raise Invalid(f"The settings of the bucket cannot be used: {error}.", field="s3_endpoint_url") from error


def _config(access: Access, seconds: int) -> Config:
    return Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # Only Amazon's has a name for each bucket for certain.
        s3={"addressing_style": "path" if access.endpoint_url else "auto"},
    )
