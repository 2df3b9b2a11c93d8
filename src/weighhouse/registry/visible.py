"""Which packages a caller may see: quarantined ones only their uploader and admins."""

from uuid import UUID

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from weighhouse.rules.errors import NotFound
from weighhouse.rules.permissions import Caller
from weighhouse.store.tables import Package


class PackageNotFound(NotFound):
    """There is no such package."""

    def __init__(self, package_id: UUID) -> None:
        super().__init__(f"There is no package {package_id}. POST /packages finds packages by name.")


def is_listed() -> ColumnElement[bool]:
    """Whether a package stands in search: not in quarantine, or released from it."""
    return (Package.verdict != "unsafe") | Package.released_at.is_not(None)


def is_visible(caller: Caller) -> ColumnElement[bool]:
    """Whether this caller may see a package at all."""
    if caller.is_admin:
        return true()
    return is_listed() | (Package.uploader_id == caller.user_id)


def find_package(tx: Session, caller: Caller, package_id: UUID) -> Package:
    """The package of this id.

    Raises:
        PackageNotFound: There is none, or the caller may not see it; the two look alike.
    """
    package = tx.scalar(select(Package).where(Package.id == package_id, is_visible(caller)))
    if package is None:
        raise PackageNotFound(package_id)
    return package
