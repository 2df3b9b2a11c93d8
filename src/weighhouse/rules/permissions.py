"""Who is asking, and what they may do."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from weighhouse.rules.errors import Denied, Invalid


class Permission(StrEnum):
    """What a user may be allowed to do; `admin` includes all others."""

    SEARCH = "search"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    ADMIN = "admin"


class PermissionMissing(Denied):
    """The caller lacks a permission."""

    def __init__(self, username: str, permission: Permission) -> None:
        super().__init__(
            f"This needs the permission '{permission}', which {username} does not have. Ask an administrator to grant it."
        )
        self.permission = permission


class InvalidPermission(Invalid):
    """There is no such permission."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="permissions")


@dataclass(frozen=True)
class Caller:
    """A user as their token vouches for them, after the call that is being answered was taken from it.

    Args:
        calls_remaining: Calls that the token is still good for.
        calls_limit: Calls that it was good for when it was given out.
        expires_at: When it ends, UTC.
    """

    user_id: UUID
    username: str
    permissions: frozenset[Permission]
    token_id: UUID
    calls_remaining: int
    calls_limit: int
    expires_at: datetime

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything."""
        return Permission.ADMIN in self.permissions

    def may(self, permission: Permission) -> bool:
        """Whether the caller has this permission, by itself or as an admin."""
        return self.is_admin or permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Nothing, for a caller who has this permission.

        Raises:
            PermissionMissing: The caller does not have it.
        """
        if not self.may(permission):
            raise PermissionMissing(self.username, permission)


def parse_permissions(values: Iterable[str]) -> frozenset[Permission]:
    """The permissions of these names. One may be named twice; none at all is a user who can only sign in.

    Raises:
        InvalidPermission: A name is none of the four.

    >>> sorted(parse_permissions(["upload", "search", "search"]))
    [<Permission.SEARCH: 'search'>, <Permission.UPLOAD: 'upload'>]
    """
    known = {str(permission): permission for permission in Permission}
    found = set()
    for value in values:
        if value not in known:
            raise InvalidPermission(
                f"{value[:60]!a} is not a permission. Choose from search, download, upload and admin."
            )
        found.add(known[value])
    return frozenset(found)
