"""Which packages a caller may see: quarantined ones only their uploader and admins."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import ColumnElement, exc, false, literal, select, true
from sqlalchemy.orm import Session

from weighhouse.registry.accounts import TokenRefused
from weighhouse.rules.errors import NotFound
from weighhouse.rules.permissions import Caller
from weighhouse.store.database import broken_constraint
from weighhouse.store.tables import Package


class PackageNotFound(NotFound):
    """There is no such package."""

    def __init__(self, package_id: UUID) -> None:
        super().__init__(f"There is no package {package_id}. POST /packages finds packages by name.")


def is_quarantined(package: Package) -> bool:
    """Whether a package's verdict keeps it in quarantine, and no admin released it."""
    is_held = package.verdict == "unsafe" if package.is_quarantined is None else package.is_quarantined
    return is_held and package.released_at is None


def is_listed() -> ColumnElement[bool]:
    """Whether a package stands in search: not in quarantine, or released from it."""
    is_held = Package.is_quarantined
    # Not coalesce(): the planner knows how many rows each of these leaves.
    is_fine = is_held.is_not(true()) & ((Package.verdict != "unsafe") | is_held.is_(false()))
    return is_fine | Package.released_at.is_not(None)


LISTED = (
    "({row}.is_quarantined IS NOT TRUE AND ({row}.verdict <> 'unsafe' OR {row}.is_quarantined IS FALSE)"
    " OR {row}.released_at IS NOT NULL)"
)
"""The same as SQL, of the row that goes by this name."""


def is_visible(caller: Caller) -> ColumnElement[bool]:
    """Whether this caller may see a package at all."""
    return true() if caller.is_admin else is_visible_to(literal(caller.user_id), false())


def is_visible_to(user_id: ColumnElement[UUID], is_admin: ColumnElement[bool]) -> ColumnElement[bool]:
    """The same for a statement that is put together before it has a caller."""
    return is_listed() | (Package.uploader_id == user_id) | is_admin


def find_package(tx: Session, caller: Caller, package_id: UUID, *, lock: bool = False) -> Package:
    """The package of this id.

    Args:
        lock: Keep it from being changed or deleted by others until the transaction ends.

    Raises:
        PackageNotFound: There is none, or the caller may not see it; the two look alike.
    """
    query = select(Package).where(Package.id == package_id, is_visible(caller))
    package = tx.scalar(query.with_for_update() if lock else query)
    if package is None:
        raise PackageNotFound(package_id)
    return package


@contextmanager
def still_there(package_id: UUID) -> Iterator[None]:
    """Around a write that refers to a package and its caller: no lock keeps them, so either may be gone by then.

    Raises:
        PackageNotFound: The package went after it was found.
        TokenRefused: The caller's account went after their token was taken.
    """
    try:
        yield
    except exc.IntegrityError as error:
        constraint = broken_constraint(error)
        if constraint.endswith("_package_id"):
            raise PackageNotFound(package_id) from error
        if constraint.endswith("_user_id"):
            raise TokenRefused from error
        raise
