"""Shapes of a license check."""

from typing import Literal

from pydantic import Field

from weighhouse.doors.api.schemas.shape import EXAMPLE_ID, Id, Score, Shape, Text


class LicenseQuestion(Shape):
    """A project and a package."""

    github_url: Text = Field(
        examples=["https://github.com/user/my-project"], max_length=2048, description="The project on GitHub."
    )
    model_id: Id = Field(examples=[EXAMPLE_ID], description="The package's id.")


class LicenseShown(Shape):
    """One side's license, and where it was found."""

    raw: str | None = Field(description="As it was found; null when none was.")
    spdx: str | None = Field(description="As an SPDX expression; null when it has no name.")
    display: str
    category: str = Field(examples=["permissive"])
    source: Literal["github", "text", "metadata", "declared", "none"]


class ProjectLicenseShown(LicenseShown):
    """The project's license."""

    match_score: Score | None = Field(description="How well its text is a known one, when the text was compared.")
    files: list[str] = Field(description="Files that say something of it.")


class UseShown(Shape):
    """Whether one operation is granted, and what has to be kept to."""

    permission: Literal["allowed", "conditional", "forbidden", "unknown"]
    obligations: list[str]
    notes: list[str]


class LicenseChecked(Shape):
    """Whether two licenses go together, and why."""

    compatible: bool = Field(description="False, too, where the licenses do not settle it.")
    github_license: str = Field(examples=["MIT"])
    model_license: str = Field(examples=["Apache-2.0"])
    reason: str = Field(examples=["MIT is compatible with Apache-2.0 licenses"])
    warnings: list[str] | None = Field(description="What could change the answer; null when nothing could.")
    verdict: Literal["compatible", "conditional", "incompatible", "unknown"]
    determined: bool
    confidence: Literal["low", "medium", "high"]
    rule: str = Field(examples=["R3"])
    mode: Literal["combine", "derive"]
    project: ProjectLicenseShown
    model: LicenseShown
    conditions: list[str]
    notes: list[str]
    chosen_inbound: str | None = Field(description="The alternative of the project's license that was taken.")
    chosen_outbound: str | None = Field(description="The alternative of the model's license that was taken.")
    reverse_compatible: bool = Field(description="Whether the model may be part of a work under the project's license.")
    model_use: dict[str, UseShown] = Field(description="By operation.")
    derivative_license: Literal["any", "same", "same_restrictions", "none"] | None
    disclaimer: str
