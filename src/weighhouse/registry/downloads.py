"""Downloads: components, signed addresses, byte ranges, history."""

import hashlib
import hmac
import math
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.paging import Page, page_of
from weighhouse.registry.visible import find_package, is_quarantined, still_there
from weighhouse.registry.zips import Whereabouts, download_name, locate_zip, request_zip, zip_view
from weighhouse.rules import manifest
from weighhouse.rules.errors import Denied
from weighhouse.rules.manifest import Choice, Component
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.rules.zipview import Literal, ZipView, cut
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.read_ahead import read_ahead
from weighhouse.store.tables import Download, DownloadCount, Package, PackageFile

_AGENT_CHARACTERS = 300


class Quarantined(Denied):
    """The package is unsafe and kept in quarantine."""

    def __init__(self, package_id: UUID, reasons: Sequence[str]) -> None:
        super().__init__("This package is in quarantine. An administrator can release it after a look at the reasons.")
        self.package_id = package_id
        self.reasons = reasons


class AddressRefused(Denied):
    """The download address has ended or was changed."""

    def __init__(self) -> None:
        super().__init__("This download address has ended or was changed. Ask GET /package/{id} for a new one.")


class HistoryHidden(Denied):
    """A package's download history is for its uploader and admins."""

    def __init__(self) -> None:
        super().__init__("Only the uploader of this package and admins see who downloaded it.")


@dataclass(frozen=True)
class Offer:
    """A ZIP that may be downloaded now, and what is in it.

    Args:
        variant: File name of the ZIP, as `manifest.variant_name` makes it.
    """

    package: Package
    variant: str
    components_included: Sequence[Component]
    components_missing: Sequence[Component]


@dataclass(frozen=True)
class Archive:
    """A ZIP that may be read, whole or in part."""

    view: ZipView
    filename: str
    verdict: str


@dataclass(frozen=True)
class FileSpan:
    """A part of an open file, for a door that can hand it to the kernel."""

    file: FileIO
    start: int
    length: int


def offer_download(
    app: App, caller: Caller, package_id: UUID, wanted: Collection[Component], *, address: str | None, agent: str | None
) -> Offer:
    """A download of a package, or of some of its components; who asked for it is recorded.

    Where ZIPs are in a bucket, this one is asked for; it may not be there yet.

    Args:
        wanted: Components asked for; none is the whole package.
        address: Where the request came from.
        agent: The client's `User-Agent`.

    Raises:
        PermissionMissing: The caller may not download.
        PackageNotFound: There is no such package.
        Quarantined: It is unsafe, and no admin released it.
        ComponentsMissing: It has none of the components asked for.
        TokenRefused: The caller was deleted meanwhile.
    """
    caller.require(Permission.DOWNLOAD)
    with still_there(package_id), app.db.write() as tx:
        package = find_package(tx, caller, package_id)
        _require_released(tx, package)
        choice = _choose(tx, package_id, wanted)
        download = Download(
            package_id=package_id,
            name=package.name,
            version=package.version,
            user_id=caller.user_id,
            username=caller.username,
            components=[component.value for component in choice.included],
            address=address,
            agent=agent[:_AGENT_CHARACTERS] if agent else None,
        )
        tx.add(download)
        subject = f"package {package.name} {package.version}"
        record(tx, caller, "download package", subject, package_id=package_id, components=download.components)
        tx.execute(
            update(DownloadCount)
            .where(DownloadCount.package_id == package_id)
            .values(downloads=DownloadCount.downloads + 1)
        )
        variant = manifest.variant_name(choice.included if wanted else ())
        if app.zips is not None:
            request_zip(tx, package, variant)
    return Offer(package, variant, components_included=choice.included, components_missing=choice.missing)


def find_zip(app: App, offer: Offer) -> Whereabouts:
    """Where the ZIP is in the bucket, if the registry has one: there, on its way, or not to be had.

    Raises:
        Away: The database or the store does not answer.
    """
    return locate_zip(app, offer.package, offer.variant)


def stream_path(app: App, offer: Offer) -> str:
    """A signed address of the registry's own stream: path and query; the door puts the server's address in front.

    Raises:
        Away: The database does not answer.
    """
    expires_at = math.ceil(time.time()) + app.settings.download_url_seconds
    return _signed_path(app.signing_key, offer.package.id, offer.variant, expires_at)


def open_archive(app: App, package_id: UUID, variant: str, *, expires_at: str, signature: str) -> Archive:
    """The ZIP behind a signed address.

    Args:
        variant: File name of the ZIP, as `manifest.variant_name` makes it.
        expires_at: Seconds since 1970, as the address has it.

    Raises:
        AddressRefused: It has ended, was changed, or what it led to is gone or no longer to be had.
    """
    expected = _signature(app.signing_key, package_id, variant, expires_at)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise AddressRefused
    if int(expires_at) < time.time():
        raise AddressRefused
    with app.db.read() as tx:
        package = tx.get(Package, package_id)
        if package is None or is_quarantined(package):
            raise AddressRefused
        view = zip_view(tx, package_id, variant)
    return Archive(view, download_name(package, variant), package.verdict)


def read_archive(app: App, archive: Archive, start: int, stop: int) -> Iterator[bytes | FileSpan]:
    """The bytes of the ZIP from `start` up to `stop`: literal, or as spans of files where the store has files.

    A span's file is open until the next part is asked for.

    Raises:
        BlobMissing: A file is gone from the store.
        StoreAway: The store does not answer.
    """
    parts = cut(archive.view, start, stop)
    if not isinstance(app.blobs, DiskBlobs):
        yield from read_ahead(app.blobs, parts)
        return
    for part in parts:
        if isinstance(part, Literal):
            yield part.data
        else:
            with app.blobs.open(part.sha256) as file:
                yield FileSpan(file, part.start, part.length)


def list_downloads(
    tx: Session, caller: Caller, package_id: UUID, *, cursor: UUID | None = None, limit: int = 50
) -> Page[Download]:
    """Who downloaded a package, newest first.

    Args:
        cursor: Id of the last download seen.

    Raises:
        PackageNotFound: There is no such package.
        HistoryHidden: The caller is neither its uploader nor an admin.
    """
    package = find_package(tx, caller, package_id)
    if not caller.is_admin and package.uploader_id != caller.user_id:
        raise HistoryHidden
    query = select(Download).where(Download.package_id == package_id).order_by(Download.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(Download.id < cursor)
    total = tx.scalar(select(func.count()).where(Download.package_id == package_id)) or 0
    return page_of(tx.scalars(query).all(), limit, lambda download: str(download.id), total=total)


def _require_released(tx: Session, package: Package) -> None:
    if not is_quarantined(package):
        return
    unsafe = select(PackageFile.path, PackageFile.reasons).where(
        PackageFile.package_id == package.id, PackageFile.verdict == package.verdict
    )
    raise Quarantined(package.id, [f"{path}: {reason}" for path, reasons in tx.execute(unsafe) for reason in reasons])


def _choose(tx: Session, package_id: UUID, wanted: Collection[Component]) -> Choice:
    present = tx.scalars(select(PackageFile.component).where(PackageFile.package_id == package_id).distinct())
    return manifest.choose({Component(name) for name in present}, wanted)


def _signed_path(key: bytes, package_id: UUID, variant: str, expires_at: int) -> str:
    signature = _signature(key, package_id, variant, str(expires_at))
    return f"/package/{package_id}/archive/{variant}?expires={expires_at}&signature={signature}"


def _signature(key: bytes, package_id: UUID, variant: str, expires_at: str) -> str:
    message = f"GET\n{package_id}\n{variant}\n{expires_at}"
    return hmac.new(key, message.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
