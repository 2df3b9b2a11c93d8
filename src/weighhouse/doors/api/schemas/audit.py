"""Shapes of the audit trail."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from weighhouse.doors.api.schemas.shape import Shape

OutcomeName = Literal["done", "refused"]


class TrailHead(Shape):
    """How far the chain is."""

    head: str = Field(description="Number and SHA-256 of the last seal: what `audit verify --head` takes.")
    chain: int = Field(description="Each reset begins the next.")
    waiting: int = Field(description="Entries that are not sealed yet.")
    waiting_since: datetime | None


class EntryShown(Shape):
    """Somebody did something, or tried to."""

    id: UUID
    seq: int | None = Field(description="Its number in the chain; null while it waits to be sealed.")
    acted_at: datetime
    actor_id: UUID | None
    actor: str
    action: str
    subject: str
    outcome: OutcomeName
    address: str | None
    request_id: str | None
    detail: dict[str, Any]


class Entries(Shape):
    """A page of what was done to a package, newest first."""

    entries: list[EntryShown]
    next_cursor: str | None
