"""The one transaction that makes an upload a package: name, version, blobs, files, texts, parents, job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import exc, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.accounts import TokenRefused
from weighhouse.registry.audit import record
from weighhouse.registry.confusion import NameConfusing, find_confusions, noticed, require_clear
from weighhouse.registry.evaluate import Weighing, record_weighing
from weighhouse.registry.scans import first_hold, settle_verdict
from weighhouse.registry.signatures import Kept, check_signature, require_signature
from weighhouse.registry.zips import WHOLE, request_zip
from weighhouse.rules import manifest
from weighhouse.rules.errors import Away, Conflict, Denied
from weighhouse.rules.lookalikes import Finding, lookalike_key, swapped_key
from weighhouse.rules.names import PackageName, name_key, namespace_of
from weighhouse.rules.parents import ParentRef
from weighhouse.rules.permissions import Caller
from weighhouse.rules.versions import is_prerelease, version_key
from weighhouse.store import jobs
from weighhouse.store.blobs import BlobMissing, Staged
from weighhouse.store.database import broken_constraint
from weighhouse.store.tables import (
    Blob,
    DownloadCount,
    LineageEdge,
    Package,
    PackageFile,
    PackageText,
    TakenVersion,
    User,
    new_id,
)
from weighhouse.store.tables import PackageName as NameRow


class VersionExists(Conflict):
    """A published version never changes; publish a new one."""

    def __init__(self, name: str, version: str, package_id: UUID | None, is_same: bool) -> None:
        if package_id is None:
            detail = f"{name} {version} was deleted, and its version stays taken. Choose the next one."
        elif is_same:
            detail = f"{name} {version} is already here, with exactly these files. There is nothing to upload."
        else:
            detail = f"{name} already has a version {version}. Choose the next one."
        super().__init__(detail)
        self.name = name
        self.version = version
        self.package_id = package_id
        self.is_same = is_same


class NameOwned(Denied):
    """Another user owns this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} belongs to another user. Choose another name, or ask its owner or an administrator.")
        self.name = name


class NamespaceOwned(Denied):
    """The namespace is another user's name."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"{namespace}/ is the namespace of another user. Use your own name in front of the slash.")
        self.namespace = namespace


class NameReserved(NameOwned):
    """The name stays reserved for the former owner of deleted packages."""

    def __init__(self, name: str) -> None:
        Denied.__init__(
            self,
            f"The packages of {name} were deleted, and the name stays reserved for its former owner. Choose another name, "
            "or ask an administrator to release it.",
        )
        self.name = name


@dataclass(frozen=True)
class Submission:
    """A package as it is about to be recorded; everything in it was checked."""

    name: PackageName
    version: str
    files: Sequence[manifest.File]
    card: str = ""
    description: str | None = None
    license: str | None = None
    model_url: str | None = None
    model_id: str | None = None
    dataset_url: str | None = None
    code_url: str | None = None
    parents: Sequence[ParentRef] = ()
    source_revision: str | None = None
    """The commit that an ingest took it from."""

    @property
    def manifest_sha256(self) -> bytes:
        """What the version means from now on."""
        return bytes.fromhex(manifest.digest(self.files))


@dataclass(frozen=True)
class Recorded:
    """A package that was recorded, and the names that its own may be confused with."""

    package: Package
    lookalikes: Sequence[Finding] = field(default=())


class FileGone(Away):
    """A file that was kept already has been swept."""

    def __init__(self) -> None:
        super().__init__("A file that was here before was just removed, with the last package that held it. Try again.")


def record_package(
    app: App,
    caller: Caller,
    submission: Submission,
    staged: Sequence[Staged],
    *,
    weighing: Weighing | None = None,
    also: Callable[[Session, Recorded], None] | None = None,
) -> Recorded:
    """Makes the submission a package; before the commit nobody sees any of it, afterwards everybody all of it.

    Args:
        staged: The bytes of its files, adopted, and not discarded before this returns; none for a file that is kept already.
        weighing: Its evaluation, when that came first; else a job is asked for one.
        also: Writes what becomes true together with the package.

    Raises:
        NameOwned, NamespaceOwned: The name belongs to somebody else.
        NameReserved: Its packages were deleted, and it waits for its former owner.
        NameConfusing: The name looks like another's, and this registry refuses that.
        VersionExists: The version was published before.
        SignatureRequired: This registry demands a signature that it trusts.
        TokenRefused: The caller was deleted meanwhile.
        FileGone: A file without staged bytes is not kept any more.
        Away: The database or the store does not answer.
    """
    signature = _checked_signature(app, submission)
    lookalikes: Sequence[Finding] = ()
    try:
        with app.db.write() as tx:
            name, is_new = _claim_name(tx, caller, submission.name)
            _claim_version(tx, name, submission)
            _hold_blobs(app, tx, submission.files, staged)
            package = _insert(tx, caller, name, submission, first_hold(app.settings.scan_policy), signature)
            if weighing is None:
                jobs.enqueue(tx, jobs.EVALUATE, lock=str(package.id), package_id=str(package.id))
            else:
                # What comes from the hub was scanned before it was weighed.
                settle_verdict(tx, app.settings.scan_policy, package.id)
                record_weighing(tx, package.id, 0, weighing)
            action = "upload package" if submission.source_revision is None else "ingest package"
            record(tx, caller, action, f"package {name} {submission.version}", package_id=package.id)
            if app.zips is not None:
                request_zip(tx, package, WHOLE)
            lookalikes = find_confusions(tx, caller, name, package.id, submission.files, is_new=is_new)
            require_clear(app, caller, lookalikes)
            tx.add_all(noticed(caller, name, found, package_id=package.id) for found in lookalikes)
            recorded = Recorded(package, lookalikes)
            if also is not None:
                also(tx, recorded)
    except NameConfusing:
        with app.db.write() as tx:
            tx.add_all(noticed(caller, submission.name, found, is_blocked=True) for found in lookalikes)
        raise
    except exc.IntegrityError as error:
        if broken_constraint(error) in {"fk_packages_uploader_id", "fk_package_names_owner_id"}:
            raise TokenRefused from error
        raise
    return recorded


def require_publishable(tx: Session, caller: Caller, name: PackageName, version: str | None) -> None:
    """Returns when this version could be recorded now; asked before a long transfer, decided when it is recorded.

    Args:
        version: `None` where the files are yet to say it.

    Raises:
        NameOwned, NamespaceOwned: The name belongs to somebody else.
        VersionExists: The version was published before.
    """
    if not caller.is_admin:
        namespace = namespace_of(name)
        if namespace is not None and namespace.lower() != caller.username.lower():
            _require_free(tx, namespace)
        known = tx.execute(
            select(NameRow.name, NameRow.owner_id, NameRow.released_at).where(NameRow.name_key == name_key(name))
        ).one_or_none()
        if known is not None and known.owner_id != caller.user_id and known.released_at is None:
            raise _owned(tx, known.name)
    if version is None:
        return
    taken = select(TakenVersion.version).where(TakenVersion.name_key == name_key(name), TakenVersion.version == version)
    if tx.scalar(taken) is not None:
        where = (Package.name_key == name_key(name), Package.version == version)
        raise VersionExists(name, version, tx.scalar(select(Package.id).where(*where)), is_same=False)


def _claim_name(tx: Session, caller: Caller, name: PackageName) -> tuple[str, bool]:
    """The name as it was first written, and whether this upload is its first."""
    namespace = namespace_of(name)
    if namespace is not None and not caller.is_admin and namespace.lower() != caller.username.lower():
        _require_free(tx, namespace)
    row = {
        "name_key": name_key(name),
        "name": name,
        "owner_id": caller.user_id,
        "lookalike_key": lookalike_key(name),
        "swapped_key": swapped_key(name),
    }
    is_new = tx.scalar(insert(NameRow).values(row).on_conflict_do_nothing().returning(NameRow.name)) is not None
    if not is_new:
        is_new = _claim_released(tx, caller, name)
    known = tx.execute(select(NameRow.name, NameRow.owner_id).where(NameRow.name_key == name_key(name))).one()
    if not caller.is_admin and known.owner_id != caller.user_id:
        raise _owned(tx, known.name)
    return known.name, is_new


def _claim_released(tx: Session, caller: Caller, name: str) -> bool:
    """Makes a name that an admin released the caller's; of several that come at once, one gets it."""
    released = (NameRow.name_key == name_key(name), NameRow.released_at.is_not(None))
    claim = update(NameRow).where(*released).values(owner_id=caller.user_id, released_at=None)
    return tx.scalar(claim.returning(NameRow.name)) is not None


def _owned(tx: Session, name: str) -> NameOwned:
    """Why a name is not the caller's: it is in use, or waits for its former owner."""
    is_used = tx.scalar(select(Package.id).where(Package.name_key == name_key(name)).limit(1)) is not None
    return NameOwned(name) if is_used else NameReserved(name)


def _require_free(tx: Session, namespace: str) -> None:
    if tx.scalar(select(User.id).where(User.username_key == namespace.lower())) is not None:
        raise NamespaceOwned(namespace)


def _claim_version(tx: Session, name: str, submission: Submission) -> None:
    row = {"name_key": name_key(name), "version": submission.version, "manifest_sha256": submission.manifest_sha256}
    if tx.scalar(insert(TakenVersion).values(row).on_conflict_do_nothing().returning(TakenVersion.version)) is not None:
        return
    where = (Package.name_key == name_key(name), Package.version == submission.version)
    existing = tx.execute(select(Package.id, Package.manifest_sha256).where(*where)).one_or_none()
    is_same = existing is not None and existing.manifest_sha256 == submission.manifest_sha256
    raise VersionExists(name, submission.version, existing.id if existing else None, is_same)


def _hold_blobs(app: App, tx: Session, files: Sequence[manifest.File], staged: Sequence[Staged]) -> None:
    """Locks the rows of all blobs, so that no sweep removes them, and puts back those that one just did."""
    by_digest = {bytes.fromhex(file.sha256): file for file in files}
    rows = [
        {"sha256": digest, "size_bytes": file.size_bytes, "crc32": file.crc32}
        for digest, file in sorted(by_digest.items())  # One order for everybody: no two uploads wait for each other.
    ]
    hold = insert(Blob).on_conflict_do_update(index_elements=[Blob.sha256], set_={"kept_at": func.now()})
    tx.execute(hold, rows)
    missing = app.blobs.missing({file.sha256 for file in files})
    at_hand = {blob.sha256: blob for blob in staged if blob.sha256 in missing}
    if at_hand.keys() != missing:
        raise FileGone
    app.blobs.adopt(*at_hand.values())


def _checked_signature(app: App, submission: Submission) -> Kept:
    """Before the transaction: it reads the signature from the store."""
    try:
        signature = check_signature(app, {file.path: file.sha256 for file in submission.files})
    except BlobMissing as error:
        raise FileGone from error
    require_signature(app, signature)
    return signature


def _insert(
    tx: Session, caller: Caller, name: str, submission: Submission, hold: bool | None, signature: Kept
) -> Package:
    package = Package(
        id=new_id(),
        name=name,
        name_key=name_key(name),
        version=submission.version,
        version_key=version_key(submission.version),
        is_prerelease=is_prerelease(submission.version),
        description=submission.description,
        license=submission.license,
        license_key=submission.license.lower() if submission.license else None,
        model_url=submission.model_url,
        model_key=submission.model_id.lower() if submission.model_id else None,
        dataset_url=submission.dataset_url,
        code_url=submission.code_url,
        source_revision=submission.source_revision,
        size_bytes=sum(file.size_bytes for file in submission.files),
        files_count=len(submission.files),
        manifest_sha256=submission.manifest_sha256,
        uploader_id=caller.user_id,
        is_quarantined=hold,
        signature=signature,
    )
    tx.add(package)
    tx.flush()
    tx.execute(insert(PackageFile), [_file_row(package.id, file) for file in submission.files])
    tx.add(
        PackageText(package_id=package.id, name=name, description=submission.description or "", card=submission.card)
    )
    tx.add(DownloadCount(package_id=package.id))
    tx.add_all(
        LineageEdge(
            package_id=package.id,
            parent_key=parent.name.lower(),
            parent_name=parent.name,
            relationship_type=parent.relation,
            named_in=parent.named_in,
        )
        for parent in _kept_parents(tx, submission.parents)
    )
    return package


def _kept_parents(tx: Session, parents: Sequence[ParentRef]) -> Sequence[ParentRef]:
    """Those that are ids, or names of packages in this registry."""
    words = [name_key(parent.name) for parent in parents if parent.maybe_local_name]
    known = set(tx.scalars(select(NameRow.name_key).where(NameRow.name_key.in_(words)))) if words else set()
    return [parent for parent in parents if not parent.maybe_local_name or name_key(parent.name) in known]


def _file_row(package_id: UUID, file: manifest.File) -> dict[str, Any]:
    return {
        "package_id": package_id,
        "path": file.path,
        "sha256": bytes.fromhex(file.sha256),
        "size_bytes": file.size_bytes,
        "component": file.component.value,
    }
