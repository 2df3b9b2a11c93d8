"""Shapes of packages: what is known of one, its files, downloads, ratings and relatives."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from weighhouse.doors.api.schemas.evaluations import MetricShown
from weighhouse.doors.api.schemas.shape import Message, Score, Shape, StatusName, Text, VerdictName, WholeNumber

ComponentName = Literal["weights", "datasets", "code"]


class PackageMessage(Message):
    """What was done to a package."""

    package_id: UUID


class Uploaded(Shape):
    """A package that was taken in."""

    package_id: UUID
    name: str = Field(examples=["my-model"])
    version: str = Field(examples=["1.0.0"])
    s3_path: str = Field(examples=["s3://bucket/my-model/1.0.0/package.zip"])
    net_score: Score | None = Field(
        examples=[0.85], description="Null while evaluating, and when coverage is under 0.50."
    )
    message: str = Field(examples=["Package uploaded and evaluated successfully"])
    status: StatusName
    warnings: list[str] = Field(description="Names of other packages that this one may be confused with.")


class Stars(Shape):
    """Stars for a package, with or without words."""

    score: WholeNumber = Field(ge=1, le=5, examples=[5])
    review: Text | None = Field(None, max_length=10_000)


class Rated(Shape):
    """A package's rating after a vote."""

    package_id: UUID
    score: int
    average_rating: float
    ratings: int


class ReviewShown(Shape):
    """One user's stars and words."""

    username: str | None = Field(description="Null when the user is gone.")
    score: int
    review: str | None
    rated_at: datetime


class Reviews(Shape):
    """A page of ratings, newest first."""

    ratings: list[ReviewShown]
    total: int
    next_cursor: str | None


class DownloadOffer(Shape):
    """Where to download from, for how long, and what is in it."""

    package_id: UUID
    name: str
    version: str
    download_url: str
    expires_in_seconds: int = Field(examples=[300])
    components_included: list[ComponentName] = Field(examples=[["weights", "code"]])
    components_missing: list[ComponentName]


class FileShown(Shape):
    """A file of a package."""

    path: str
    size_bytes: int
    sha256: str
    component: Literal["weights", "datasets", "code", "other"]
    verdict: VerdictName
    reasons: list[Any]


class Files(Shape):
    """A page of a package's files, by path."""

    files: list[FileShown]
    total: int
    next_cursor: str | None


class DownloadShown(Shape):
    """Somebody asked for a download."""

    downloaded_at: datetime
    user_id: UUID | None
    username: str
    components: list[ComponentName]
    address: str | None
    agent: str | None


class Downloads(Shape):
    """A page of a package's downloads, newest first."""

    downloads: list[DownloadShown]
    total: int
    next_cursor: str | None


class ParentShown(Shape):
    """A package that this one was made from."""

    id: UUID | None = Field(description="Null while the parent is not in this registry.")
    name: str
    version: str | None
    relationship_type: Literal["finetune", "adapter", "merge", "quantized"]
    named_in: str


class SignerShown(Shape):
    """Who signed a package."""

    kind: Literal["key", "certificate", "sigstore"]
    id: str | None = Field(description="SHA-256 of the public key's PEM, or of the certificate.")
    name: str | None = Field(description="The certificate's subject.")


class SignatureShown(Shape):
    """What the package's `model.sig` is worth."""

    state: Literal["trusted", "unknown", "invalid"]
    reason: str
    signer: SignerShown | None
    checked_at: datetime


class Metadata(Shape):
    """Everything that is known of a package."""

    id: UUID
    name: str
    version: str
    description: str | None
    license: str | None
    size_bytes: int
    uploader_id: UUID | None
    upload_date: datetime
    metrics: dict[str, float | None]
    metric_details: dict[str, MetricShown]
    metrics_version: str | None
    evaluated_at: datetime | None
    coverage: Score | None
    net_low: Score | None
    net_high: Score | None
    is_stale: bool = Field(description="A parent has a new score since.")
    status: StatusName
    verdict: VerdictName
    files: list[FileShown] = Field(description="The first 1,000, by path.")
    files_total: int
    manifest_sha256: str
    signature: SignatureShown | None = Field(description="Null for a package without a `model.sig`.")
    components: list[ComponentName]
    parents: list[ParentShown]
    model_url: str | None
    dataset_url: str | None
    code_url: str | None
    downloads: int
    ratings: int
    average_rating: float | None


class RelativeShown(Shape):
    """A package in the lineage."""

    id: UUID | None = Field(description="Null for a parent that is not in this registry.")
    name: str
    version: str | None
    depth: int
    direction: Literal["ancestors", "descendants"]
    relationship_type: str | None = Field(description="How the edge that led here relates child and parent.")
    parent_id: UUID | None = Field(description="The first parent of this package that is in this registry.")
    child_id: UUID | None = Field(description="Going up: the package whose edge led here.")


class Lineage(Shape):
    """A package, then its relatives, nearest first."""

    package_id: UUID
    lineage: list[RelativeShown]


class Release(Shape):
    """Why a package is freed from quarantine."""

    reason: Text = Field(min_length=1, max_length=2000)
