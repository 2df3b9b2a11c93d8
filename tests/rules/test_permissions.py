from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules.permissions import Caller, InvalidPermission, Permission, PermissionMissing, parse_permissions

EACH = pytest.mark.parametrize("permission", list(Permission))


def make_caller(*permissions: Permission) -> Caller:
    return Caller(
        user_id=UUID(int=1),
        username="ada",
        permissions=frozenset(permissions),
        token_id=UUID(int=2),
        calls_remaining=999,
        calls_limit=1000,
        expires_at=datetime(2030, 1, 1, tzinfo=UTC),
    )


@EACH
def test_an_admin_may_do_everything(permission: Permission) -> None:
    admin = make_caller(Permission.ADMIN)
    assert admin.is_admin
    assert admin.may(permission)
    admin.require(permission)


@EACH
def test_a_permission_is_no_other(permission: Permission) -> None:
    caller = make_caller(*(set(Permission) - {permission, Permission.ADMIN}))
    assert not caller.is_admin
    assert not caller.may(permission)
    with pytest.raises(PermissionMissing) as refusal:
        caller.require(permission)
    assert refusal.value.permission is permission
    assert f"'{permission}'" in refusal.value.detail
    assert "administrator" in refusal.value.detail
    assert dict(refusal.value.members) == {"permission": permission}


@EACH
def test_what_was_granted_may_be_done(permission: Permission) -> None:
    caller = make_caller(permission)
    assert caller.may(permission)
    caller.require(permission)


def test_a_caller_cannot_be_promoted_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        make_caller().permissions = frozenset(Permission)  # type: ignore[misc]  # what is tested


@given(st.lists(st.sampled_from(Permission)))
def test_the_names_of_permissions_are_read(permissions: list[Permission]) -> None:
    assert parse_permissions([str(permission) for permission in permissions]) == frozenset(permissions)


@given(st.text() | st.sampled_from(["Admin", "admin ", "", "root", "search,upload", "\ud800"]))
def test_an_unknown_permission_is_refused(name: str) -> None:
    if name in set(Permission):
        return
    with pytest.raises(InvalidPermission) as refusal:
        parse_permissions(["search", name])
    assert refusal.value.field == "permissions"
    refusal.value.detail.encode("ascii")
