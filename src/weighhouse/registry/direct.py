"""A package that is sent file by file: announced first, then what is missing, and a package when all is there.

Whoever knows a SHA-256 does not own the content. It counts as here only for who could download it anyway, or sends it.
"""

import hashlib
import hmac
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, delete, exc, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.accounts import TokenRefused
from weighhouse.registry.audit import record
from weighhouse.registry.direct_routes import Content, give_up, lacking, routed, settle
from weighhouse.registry.housekeeping import forget_unrecorded
from weighhouse.registry.record import Recorded, VersionExists, record_package, require_publishable
from weighhouse.registry.upload import UploadForm, UploadTooLarge, check_form, submission_of
from weighhouse.registry.visible import is_listed
from weighhouse.rules.announced import AnnouncedFile, check_announced
from weighhouse.rules.errors import Conflict, Denied, Invalid, NotFound
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.rules.self_report import MAX_TEXT_BYTES, MAX_TEXTS, is_read
from weighhouse.store.blobs import PartRequest, Presigned
from weighhouse.store.database import broken_constraint
from weighhouse.store.tables import Blob, DirectUpload, DirectUploadFile, Package, PackageFile

LIFETIME = timedelta(hours=24)
"""From the announcement: a night for a slow line. What arrived takes room meanwhile that nobody else can free."""

MAX_OPEN = 50
"""Uploads of one user that are not finished."""

_ROWS_AT_ONCE = 5_000
_SHOWN_MISSING = 100


class UploadNotFound(NotFound):
    """There is no such upload."""

    def __init__(self, upload_id: UUID) -> None:
        super().__init__(
            f"There is no upload {upload_id} of yours, or it has ended. Begin it anew: POST /package/begin."
        )


class TooManyUploads(Conflict):
    """The user has too many unfinished uploads."""

    def __init__(self) -> None:
        super().__init__(
            f"You have {MAX_OPEN} unfinished uploads. Complete some, give some up with DELETE /package/uploads/{{id}}, "
            "or wait until they end after a day."
        )


class UploadIncomplete(Conflict):
    """Files of this upload are missing."""

    def __init__(self, missing: Sequence[DirectUploadFile]) -> None:
        super().__init__(
            f"{len(missing)} files are not here. GET /package/uploads/{{upload_id}} says where to send them; "
            "then complete the upload again."
        )
        self.missing_total = len(missing)
        self.missing = [{"path": file.path, "sha256": file.sha256.hex()} for file in missing[:_SHOWN_MISSING]]


class ContentDiffers(Invalid):
    """What was sent is not the file that was announced."""


class SendRefused(Denied):
    """The address to send a file to has ended or was changed."""

    def __init__(self) -> None:
        super().__init__(
            "This address has ended, was changed, or its upload has ended. Ask GET /package/uploads/{id} for a new one."
        )


@dataclass(frozen=True)
class Progress:
    """How far an upload is."""

    upload: DirectUpload
    files_total: int
    bytes_total: int
    missing: Sequence[Content]
    """What is to be sent; what arrived at the store and was not looked at yet is not among it."""


@dataclass(frozen=True)
class Finished:
    """The package that an upload became, and the names that its own may be confused with."""

    package: Package
    warnings: Sequence[str]


def begin_upload(app: App, caller: Caller, form: UploadForm, files: Sequence[AnnouncedFile]) -> Progress:
    """Announces a package; the same announcement again finds the upload that it began.

    Raises:
        PermissionMissing: The caller may not upload.
        InvalidName, InvalidVersion, FieldInvalid, BadUrl, ManifestInvalid: A field breaks a rule.
        UploadTooLarge: The files are larger than this server takes.
        NameOwned, NamespaceOwned, VersionExists: The version could not be published.
        TooManyUploads: The caller has too many that are not finished.
        TokenRefused: The caller was deleted meanwhile.
        Away: The database or the store does not answer.
    """
    caller.require(Permission.UPLOAD)
    name = check_form(app, form)
    check_announced(files)
    limit = min(app.settings.max_upload_bytes, app.settings.max_unpacked_bytes)
    if sum(file.size_bytes for file in files) > limit:
        raise UploadTooLarge(limit)
    try:
        with app.db.write() as tx:
            require_publishable(tx, caller, name, form.version)
            progress = _progress(tx, _open_upload(tx, caller, form, files))
    except exc.IntegrityError as error:
        if broken_constraint(error) == "fk_direct_uploads_uploader_id":
            raise TokenRefused from error
        raise
    return _routed(app, progress)


def find_upload(app: App, caller: Caller, upload_id: UUID) -> Progress:
    """How far an upload is. For who began it, and for admins.

    Raises:
        PermissionMissing: The caller may not upload.
        UploadNotFound: There is none, it has ended, or it is another's; these look alike.
        Away: The database or the store does not answer.
    """
    with app.db.read() as tx:
        progress = _progress(tx, _find(tx, caller, upload_id))
    return _routed(app, progress)


def _routed(app: App, progress: Progress) -> Progress:
    return replace(progress, missing=routed(app, progress.upload.id, progress.missing))


def abort_upload(app: App, caller: Caller, upload_id: UUID) -> None:
    """Ends an upload; nothing of it is kept but what packages hold. One that became a package is forgotten, no more.

    Raises:
        PermissionMissing, UploadNotFound: As `find_upload`.
        Away: The database or the store does not answer.
    """
    with app.db.write() as tx:
        row = _find(tx, caller, upload_id)
        arrived = tx.scalars(
            select(DirectUploadFile.sha256)
            .where(DirectUploadFile.upload_id == row.id, DirectUploadFile.crc32.is_not(None))
            .where(~exists().where(Blob.sha256 == DirectUploadFile.sha256))
        ).all()
        tickets = [content.ticket for content in lacking(tx, row.id) if content.ticket]
        record(
            tx, caller, "abort upload", f"upload {row.id}", name=row.form.get("name"), version=row.form.get("version")
        )
        tx.execute(delete(DirectUpload).where(DirectUpload.id == row.id))
    give_up(app, tickets)
    forget_unrecorded(app, arrived)


# Sending a file


def send_path(app: App, upload: DirectUpload, content: Content) -> str:
    """A signed address of the registry that takes these bytes and no others: path and query.

    Raises:
        Away: The database does not answer.
    """
    expires_at, size_bytes = str(math.ceil(upload.expires_at.timestamp())), str(content.size_bytes)
    signature = _signature(app.signing_key, upload.id, content.sha256, size_bytes, expires_at)
    query = f"size_bytes={size_bytes}&expires={expires_at}&signature={signature}"
    return f"/package/uploads/{upload.id}/files/{content.sha256}?{query}"


def send_requests(app: App, base: str, upload: DirectUpload, content: Content) -> Sequence[PartRequest]:
    """The requests that send a content: to the store, or to the registry.

    Args:
        base: Address of the registry, without a slash at its end.

    Raises:
        Away: The database does not answer.
    """
    if content.requests is not None:
        return content.requests
    url = base + send_path(app, upload, content)
    own = Presigned("PUT", url, {"Content-Length": str(content.size_bytes)})
    return [PartRequest(0, content.size_bytes, own)]


class Arrival:
    """A file on its way in. Leaving the `with` block without `finish` leaves nothing behind.

    Args:
        size_bytes: As the address has it, like the two that follow.
        expires_at: Seconds since 1970.

    Raises:
        SendRefused: The address has ended, was changed, or its upload has ended.
        Away: The database or the store does not answer.
    """

    def __init__(
        self, app: App, upload_id: UUID, sha256: str, *, size_bytes: str, expires_at: str, signature: str
    ) -> None:
        expected = _signature(app.signing_key, upload_id, sha256, size_bytes, expires_at)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise SendRefused
        if int(expires_at) < time.time():
            raise SendRefused
        self._size_bytes = int(size_bytes)
        self._app = app
        self._upload_id = upload_id
        self._sha256 = sha256
        self._received_bytes = 0
        with app.db.read() as tx:
            if tx.scalar(select(func.count()).where(self._is_wanted())) == 0:
                raise SendRefused
        self._staging = app.blobs.stage()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the bytes unless they are kept."""
        self._staging.abort()

    def require_length(self, size_bytes: int) -> None:
        """Nothing, when the file is as long as it was announced.

        Raises:
            ContentDiffers: It is not.
        """
        if size_bytes != self._size_bytes:
            raise ContentDiffers(
                f"The file was announced with {self._size_bytes} bytes, and another length came. Send it unchanged.",
                field="size_bytes",
            )

    def feed(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            ContentDiffers: They are more than were announced.
            StoreAway: The store does not take them.
        """
        self._received_bytes += len(data)
        self.require_length(max(self._received_bytes, self._size_bytes))
        self._staging.write(data)

    def finish(self) -> None:
        """Keeps the file.

        Raises:
            ContentDiffers: It is shorter than announced, or has another SHA-256.
            SendRefused: The upload has ended meanwhile.
            Away: The database or the store does not answer.
        """
        self.require_length(self._received_bytes)
        staged = self._staging.finish()
        try:
            if staged.sha256 != self._sha256:
                raise ContentDiffers(
                    f"The file has the SHA-256 {staged.sha256}, and {self._sha256} was announced. Send it unchanged.",
                    field="sha256",
                )
            self._app.blobs.adopt(staged)
            with self._app.db.write() as tx:
                noted = update(DirectUploadFile).where(self._is_wanted()).values(crc32=staged.crc32)
                if not tx.execute(noted.returning(DirectUploadFile.path)).first():
                    raise SendRefused
        finally:
            self._app.blobs.discard(staged)

    def _is_wanted(self) -> ColumnElement[bool]:
        """Rows of the files with this content, while the upload lives."""
        lives = exists().where(
            DirectUpload.id == self._upload_id,
            DirectUpload.finished_at.is_(None),
            DirectUpload.expires_at > func.now(),
        )
        same = DirectUploadFile.sha256 == bytes.fromhex(self._sha256)
        return (DirectUploadFile.upload_id == self._upload_id) & same & lives


# Completing


def complete_upload(app: App, caller: Caller, upload_id: UUID) -> Finished:
    """Makes the files a package, as any other upload; the same call again finds the package that it made.

    An admin may complete another's upload, and is then the package's uploader.

    Raises:
        PermissionMissing, UploadNotFound: As `find_upload`.
        UploadIncomplete: Files are missing.
        FieldInvalid, InvalidVersion: The files name no version that can be used, and the form has none.
        And whatever `record_package` raises.
    """
    with app.db.read() as tx:
        row = _find(tx, caller, upload_id)
        if row.finished_at is not None:
            return _finished(tx, row)
    settle(app, upload_id)
    with app.db.read() as tx:
        rows = tx.scalars(
            select(DirectUploadFile)
            .where(DirectUploadFile.upload_id == upload_id)
            .order_by(DirectUploadFile.path.collate("C"))
        ).all()
    _require_all(app, upload_id, rows)
    files = [_file(one) for one in rows]
    submission = submission_of(app, UploadForm(**row.form), files, _texts(app, files))

    def finish(tx: Session, recorded: Recorded) -> None:
        _finish(tx, upload_id, recorded)

    try:
        recorded = record_package(app, caller, submission, (), also=finish)
    except VersionExists:
        # By this very upload, completed at the same time?
        with app.db.read() as tx:
            row = _find(tx, caller, upload_id)
            if row.finished_at is None:
                raise
            return _finished(tx, row)
    return Finished(recorded.package, _warnings(recorded))


def _require_all(app: App, upload_id: UUID, rows: Sequence[DirectUploadFile]) -> None:
    """Nothing, when every content is here; a blob may have gone with the last package that held it.

    Raises:
        UploadIncomplete: Some are not; those are asked for again.
    """
    gone = app.blobs.missing({one.sha256.hex() for one in rows if one.crc32 is not None})
    if gone:
        digests = [bytes.fromhex(sha256) for sha256 in gone]
        with app.db.write() as tx:
            where = (DirectUploadFile.upload_id == upload_id, DirectUploadFile.sha256 == func.any(digests))
            tx.execute(update(DirectUploadFile).where(*where).values(crc32=None))
    missing = [one for one in rows if one.crc32 is None or one.sha256.hex() in gone]
    if missing:
        raise UploadIncomplete(missing)


def _texts(app: App, files: Sequence[File]) -> Mapping[str, bytes]:
    """What the package says of itself, from the store."""
    read = [file for file in files if is_read(file.path)][:MAX_TEXTS]
    return {file.path: b"".join(app.blobs.read(file.sha256)) for file in read if file.size_bytes <= MAX_TEXT_BYTES}


def _finish(tx: Session, upload_id: UUID, recorded: Recorded) -> None:
    """Has the upload end in the transaction that makes it a package.

    Raises:
        UploadNotFound: It was given up meanwhile.
    """
    ended = (
        update(DirectUpload)
        .where(DirectUpload.id == upload_id, DirectUpload.finished_at.is_(None))
        .values(finished_at=func.now(), package_id=recorded.package.id, warnings=_warnings(recorded))
    )
    if not tx.execute(ended.returning(DirectUpload.id)).first():
        raise UploadNotFound(upload_id)
    tx.execute(delete(DirectUploadFile).where(DirectUploadFile.upload_id == upload_id))


def _finished(tx: Session, row: DirectUpload) -> Finished:
    package = tx.get(Package, row.package_id)
    if package is None:
        raise UploadNotFound(row.id)
    return Finished(package, row.warnings)


def _warnings(recorded: Recorded) -> list[str]:
    return [f"{found.existing}: {found.reason}" for found in recorded.lookalikes]


def _file(row: DirectUploadFile) -> File:
    assert row.crc32 is not None
    return File(row.path, row.size_bytes, row.sha256.hex(), row.crc32, component_of(row.path))


# Rows


def _find(tx: Session, caller: Caller, upload_id: UUID) -> DirectUpload:
    caller.require(Permission.UPLOAD)
    row = tx.get(DirectUpload, upload_id)
    is_own = row is not None and (caller.is_admin or row.uploader_id == caller.user_id)
    if row is None or not is_own or row.expires_at <= datetime.now(UTC):
        raise UploadNotFound(upload_id)
    return row


def _open_upload(tx: Session, caller: Caller, form: UploadForm, files: Sequence[AnnouncedFile]) -> DirectUpload:
    """The open upload of this announcement, begun now if there is none."""
    announced = _announced_sha256(form, files)
    same = (
        DirectUpload.uploader_id == caller.user_id,
        DirectUpload.announced_sha256 == announced,
        DirectUpload.finished_at.is_(None),
    )
    tx.execute(delete(DirectUpload).where(*same, DirectUpload.expires_at <= func.now()))
    values = {
        "uploader_id": caller.user_id,
        "form": {name: value for name, value in asdict(form).items() if value is not None},
        "announced_sha256": announced,
        "expires_at": func.now() + LIFETIME,
    }
    is_new = tx.scalar(insert(DirectUpload).values(values).on_conflict_do_nothing().returning(DirectUpload.id))
    row = tx.scalars(select(DirectUpload).where(*same)).one()
    if is_new is not None:
        _require_few(tx, caller)
        for start in range(0, len(files), _ROWS_AT_ONCE):
            some = files[start : start + _ROWS_AT_ONCE]
            tx.execute(insert(DirectUploadFile), [_file_row(row.id, file) for file in some])
    _note_possessions(tx, caller, row.id)
    return row


def _require_few(tx: Session, caller: Caller) -> None:
    unfinished = select(func.count()).where(
        DirectUpload.uploader_id == caller.user_id,
        DirectUpload.finished_at.is_(None),
        DirectUpload.expires_at > func.now(),
    )
    if (tx.scalar(unfinished) or 0) > MAX_OPEN:
        raise TooManyUploads


def _note_possessions(tx: Session, caller: Caller, upload_id: UUID) -> None:
    """Takes down which contents the caller need not send: those that they could download, or uploaded before."""
    may_read = Package.uploader_id == caller.user_id
    if caller.may(Permission.DOWNLOAD):
        may_read |= is_listed()
    readable = (
        exists()
        .where(PackageFile.sha256 == DirectUploadFile.sha256, PackageFile.package_id == Package.id, may_read)
        .correlate(DirectUploadFile)
    )
    tx.execute(
        update(DirectUploadFile)
        .where(DirectUploadFile.upload_id == upload_id, DirectUploadFile.crc32.is_(None))
        .where(Blob.sha256 == DirectUploadFile.sha256, Blob.size_bytes == DirectUploadFile.size_bytes, readable)
        .values(crc32=Blob.crc32)
        .execution_options(synchronize_session=False)
    )


def _progress(tx: Session, row: DirectUpload) -> Progress:
    of_upload = DirectUploadFile.upload_id == row.id
    total = select(func.count(), func.coalesce(func.sum(DirectUploadFile.size_bytes), 0)).where(of_upload)
    files_total, bytes_total = tx.execute(total).one()
    return Progress(row, files_total, int(bytes_total), lacking(tx, row.id))


def _announced_sha256(form: UploadForm, files: Sequence[AnnouncedFile]) -> bytes:
    listed = sorted((file.path, file.size_bytes, file.sha256) for file in files)
    return hashlib.sha256(orjson.dumps([asdict(form), listed])).digest()


def _file_row(upload_id: UUID, file: AnnouncedFile) -> dict[str, Any]:
    return {
        "upload_id": upload_id,
        "path": file.path,
        "sha256": bytes.fromhex(file.sha256),
        "size_bytes": file.size_bytes,
        "announced_crc32": file.crc32,
    }


def _signature(key: bytes, upload_id: UUID, sha256: str, size_bytes: str, expires_at: str) -> str:
    message = f"PUT\n{upload_id}\n{sha256}\n{size_bytes}\n{expires_at}"
    return hmac.new(key, message.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
