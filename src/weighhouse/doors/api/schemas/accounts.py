"""Shapes of accounts: credentials, users, permissions, tokens."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from weighhouse.doors.api.schemas.shape import EXAMPLE_ID, Message, Shape, Text

PermissionName = Literal["search", "download", "upload", "admin"]


class Credentials(Shape):
    """Name and password."""

    username: Text = Field(examples=["admin"], max_length=1024)
    password: Text = Field(examples=["admin123"], max_length=4096)


class GivenToken(Shape):
    """A token, shown this once."""

    token: str
    calls_remaining: int = Field(examples=[1000])
    expires_at: datetime


class NewUser(Shape):
    """An account to be made."""

    username: Text = Field(examples=["newuser"], max_length=1024)
    password: Text = Field(examples=["password123"], max_length=4096)
    permissions: list[Text] = Field(default=[], examples=[["upload", "download", "search"]], max_length=16)


class UserShown(Shape):
    """An account."""

    user_id: UUID = Field(examples=[EXAMPLE_ID])
    username: str
    permissions: list[PermissionName]


class UserListed(UserShown):
    """An account in the list of all."""

    created_at: datetime


class Myself(UserShown):
    """The account behind the token, and what the token is still good for."""

    calls_remaining: int
    expires_at: datetime


class Users(Shape):
    """A page of accounts."""

    users: list[UserListed]
    total: int
    next_cursor: str | None


class Permissions(Shape):
    """Permissions that replace those before."""

    permissions: list[Text] = Field(examples=[["upload", "download", "search"]], max_length=16)


class NewPassword(Shape):
    """A password that replaces the one before."""

    password: Text = Field(max_length=4096)
    current_password: Text | None = Field(None, max_length=4096, description="Needed when users change their own.")


class UserMessage(Message):
    """What was done to an account."""

    user_id: UUID


class TokenShown(Shape):
    """A token without its secret."""

    token_id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None
    calls_remaining: int
    expires_at: datetime


class Tokens(Shape):
    """A user's living tokens, newest first."""

    tokens: list[TokenShown]
