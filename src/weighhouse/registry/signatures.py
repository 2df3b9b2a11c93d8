"""Whether a package is signed, by whom, and whether this registry trusts them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from weighhouse.app import App
from weighhouse.rules.errors import Invalid
from weighhouse.rules.model_signing import MAX_SIGNATURE_BYTES, SIGNATURE_PATH, Checked, check_model
from weighhouse.store.tables import PackageFile

Kept = dict[str, Any] | None
"""A checked signature as it is recorded; `None` for a package without one."""


class SignatureRequired(Invalid):
    """This registry takes only packages with a signature that it trusts."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"This registry takes only packages that somebody it trusts has signed. {found} "
            "Sign the folder with `weighhouse sign` and a key that the registry's operator knows.",
            field="file",
        )


def check_signature(app: App, files: Mapping[str, str]) -> Kept:
    """What the signature among these files is worth.

    Args:
        files: SHA-256 of each file by path; the signature's own content is kept already.

    Raises:
        BlobMissing: It is not kept any more.
        Away: The store does not answer.
    """
    if SIGNATURE_PATH not in files:
        return None
    checked = _check(app, files)
    signer = checked.signer and {"kind": checked.signer.kind, "id": checked.signer.id, "name": checked.signer.name}
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"state": checked.state, "reason": checked.reason, "signer": signer, "checked_at": at}


def require_signature(app: App, signature: Kept) -> None:
    """Returns unless this registry demands signatures and this is not one that it trusts.

    Raises:
        SignatureRequired: It does.
    """
    if not app.settings.require_signature or (signature is not None and signature["state"] == "trusted"):
        return
    raise SignatureRequired(f"This one has no {SIGNATURE_PATH}." if signature is None else str(signature["reason"]))


def check_again(app: App, package_id: UUID) -> Kept:
    """The same for a package that is here already: whom the registry trusts may have changed.

    Raises:
        BlobMissing: The signature's content is not kept any more.
        Away: The database or the store does not answer.
    """
    signed = select(PackageFile.path).where(PackageFile.package_id == package_id, PackageFile.path == SIGNATURE_PATH)
    query = select(PackageFile.path, PackageFile.sha256).where(PackageFile.package_id == package_id, signed.exists())
    with app.db.read() as tx:
        files = {row.path: row.sha256.hex() for row in tx.execute(query)}
    return check_signature(app, files)


def _check(app: App, files: Mapping[str, str]) -> Checked:
    digest = files[SIGNATURE_PATH]
    if app.blobs.size(digest) > MAX_SIGNATURE_BYTES:
        return Checked("invalid", f"{SIGNATURE_PATH} is longer than {MAX_SIGNATURE_BYTES // 1024**2} MiB.")
    return check_model(b"".join(app.blobs.read(digest)), files, app.trust)
