"""Shapes of a search and of what it finds."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from weighhouse.doors.api.schemas.shape import Score, Shape, Text


class PackageQuery(Shape):
    """Conditions that all have to hold."""

    name: Text | None = Field(
        None, examples=["bert"], max_length=1024, description="Part of the name; `*` is every name."
    )
    version: Text | None = Field(None, examples=["^1.0.0"], max_length=1024, description="A version or a SemVer range.")
    regex: Text | None = Field(
        None, examples=["^bert.*"], description="PostgreSQL regular expression on the name or the model card."
    )


class PackageFound(Shape):
    """A package as a search shows it."""

    id: UUID
    name: str
    version: str
    description: str | None
    license: str | None
    net_score: Score | None
    upload_date: datetime


class PackagesFound(Shape):
    """Packages that match, and how many there are in all."""

    packages: list[PackageFound]
    total: int
    offset: int
    limit: int


class PackagesPage(PackagesFound):
    """A page of packages."""

    next_cursor: str | None
