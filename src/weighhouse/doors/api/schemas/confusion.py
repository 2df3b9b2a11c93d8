"""Shapes of what admins look through: names that look alike."""

from datetime import datetime
from uuid import UUID

from weighhouse.doors.api.schemas.shape import Shape
from weighhouse.rules.lookalikes import LookalikeKind, Severity


class ConfusionShown(Shape):
    """A name that looks like another, or weights that are another's."""

    id: UUID
    package_id: UUID | None
    name: str
    similar_name: str
    kind: LookalikeKind | str
    severity: Severity
    explanation: str
    similar_downloads: int
    is_well_known: bool
    is_blocked: bool
    uploader: str | None
    noticed_at: datetime


class Confusions(Shape):
    """A page of them, newest first."""

    findings: list[ConfusionShown]
    total: int
    next_cursor: str | None
