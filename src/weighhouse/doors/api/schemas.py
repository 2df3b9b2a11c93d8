"""The shapes the REST API speaks. Unknown keys that come in are ignored; every text is checked for what no text may hold."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from weighhouse.rules.errors import Invalid
from weighhouse.rules.strictjson import check_text


def _text(value: str) -> str:
    try:
        return check_text(value, "value")
    except Invalid as invalid:
        raise ValueError(invalid.detail) from invalid


def _no_text(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("must be a whole number")
    return value


Text = Annotated[str, AfterValidator(_text)]
WholeNumber = Annotated[int, BeforeValidator(_no_text)]
Score = Annotated[float, Field(ge=0, le=1)]
PermissionName = Literal["search", "download", "upload", "admin"]
LevelName = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
StatusName = Literal["evaluating", "evaluated", "failed"]
MetricStatus = Literal["ok", "inconclusive", "not_applicable"]
VerdictName = Literal["safe", "suspicious", "unsafe", "unscanned"]
ComponentName = Literal["weights", "datasets", "code"]

_ID = "01926f3e-7c1a-7d3b-9a55-3f1f4c2f6a10"


class Shape(BaseModel):
    """A JSON object."""

    model_config = ConfigDict(extra="ignore")


class Problem(Shape):
    """What went wrong, and what to do about it (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "/problems/version-exists",
                "title": "A published version never changes; publish a new one",
                "status": 409,
                "detail": "bert-base already has a version 1.0.0. Choose the next one.",
                "request_id": "3b241101e2bb4255",
            }
        },
    )

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None


class ProblemKind(Shape):
    """What a problem's type means."""

    type: str
    title: str
    status: int


class Credentials(Shape):
    """Name and password."""

    username: Text = Field(examples=["admin"], max_length=1024)
    password: Text = Field(examples=["admin123"], max_length=4096)


class GivenToken(Shape):
    """A token, shown this once."""

    token: str
    calls_remaining: int = Field(examples=[1000])
    expires_at: datetime


class Message(Shape):
    """What was done."""

    message: str


class NewUser(Shape):
    """An account to be made."""

    username: Text = Field(examples=["newuser"], max_length=1024)
    password: Text = Field(examples=["password123"], max_length=4096)
    permissions: list[Text] = Field(default=[], examples=[["upload", "download", "search"]], max_length=16)


class UserShown(Shape):
    """An account."""

    user_id: UUID = Field(examples=[_ID])
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


class Ingest(Shape):
    """A model of the hub that is to be let in."""

    model_url: Text = Field(examples=["https://huggingface.co/google-bert/bert-base-uncased"], max_length=2048)
    revision: Text | None = Field(None, max_length=200, description="Branch, tag or commit; by default the newest.")
    name: Text | None = Field(None, max_length=1024, description="By default the model's id.")
    version: Text | None = Field(None, max_length=1024, description="By default the first 12 characters of the commit.")
    dataset_url: Text | None = Field(None, max_length=2048, examples=["https://huggingface.co/datasets/squad"])
    code_url: Text | None = Field(None, max_length=2048, examples=["https://github.com/user/repo"])
    all_weights: bool = Field(
        False, description="Whether the same weights in older formats are fetched beside safetensors."
    )


class NotKnown(Shape):
    """A metric that could not be judged."""

    metric: str
    reason_code: str | None
    reasons: list[str]


class Ingested(Uploaded):
    """A model that was let in."""

    gate: Literal["pass", "hold"] = Field(description="`hold`: what was judged is good enough, the rest is not known.")
    inconclusive: list[NotKnown]
    coverage: Score
    revision: str = Field(description="The commit that the files are of.")
    left_out: list[str] = Field(description="Files that hold the same weights once more, and were not fetched.")


class IngestState(Shape):
    """How far a model is on its way in, and what came of it."""

    ingest_id: UUID
    state: Literal["waiting", "fetching", "weighing", "admitted", "refused", "failed", "cancelled"]
    model_url: str
    revision: str = Field(description="The commit that is taken in.")
    name: str
    version: str
    files_total: int | None = Field(description="How many are fetched; null before that is known.")
    files_done: int
    bytes_total: int | None
    bytes_done: int
    package_id: UUID | None = Field(description="The package, once the model is admitted.")
    gate: Literal["pass", "hold"] | None
    net_score: Score | None
    coverage: Score | None
    inconclusive: list[NotKnown]
    left_out: list[str]
    warnings: list[str]
    problem: dict[str, Any] | None = Field(description="Why it was refused or failed, as a problem document.")
    asked_at: datetime
    finished_at: datetime | None


class IngestStates(Shape):
    """A page of ingests, newest first."""

    ingests: list[IngestState]
    next_cursor: str | None


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


class MetricShown(Shape):
    """The evidence record of one metric."""

    metric: str
    version: str
    status: MetricStatus
    score: Score | None
    reason_code: str | None
    reasons: list[str]
    inputs: dict[str, Any]
    method: str
    sources: list[dict[str, str]]
    latency_ms: int


class ParentShown(Shape):
    """A package that this one was made from."""

    id: UUID | None = Field(description="Null while the parent is not in this registry.")
    name: str
    version: str | None
    relationship_type: Literal["finetune", "adapter", "merge", "quantized"]
    named_in: str


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


class SourceShown(Shape):
    """Where a fact came from."""

    kind: str = Field(examples=["git"])
    ref: str = Field(examples=["acme/code@3f2a…"], description="An immutable id.")


class MetricChange(Shape):
    """A metric that answers differently than in the evaluation before, or from other evidence."""

    metric: str
    version_before: str | None = Field(description="Null for a metric that there was not then.")
    version_after: str | None
    status_before: MetricStatus | None
    status_after: MetricStatus | None
    score_before: Score | None
    score_after: Score | None
    score_change: float | None = Field(description="Null unless there are two scores.")
    reasons_gone: list[str]
    reasons_new: list[str]
    sources_gone: list[SourceShown]
    sources_new: list[SourceShown]


class SincePrevious(Shape):
    """What changed since the evaluation before: the method, the evidence, and what came of it."""

    evaluation_id: UUID = Field(description="The evaluation before.")
    metrics_version: str = Field(description="The method of the evaluation before.")
    evidence_digest: str = Field(description="What the evaluation before looked at.")
    method_changed: bool
    evidence_changed: bool
    net_score_change: float | None = Field(description="Null unless there are two net scores.")
    metrics: list[MetricChange] = Field(description="Those whose answer changed, by name.")


class EvaluationShown(Shape):
    """One weighing of a package, and what changed since the one before."""

    evaluation_id: UUID
    evaluated_at: datetime
    metrics_version: str
    evidence_digest: str
    net_score: Score | None
    coverage: Score
    net_low: Score
    net_high: Score
    latency_ms: int
    since_previous: SincePrevious | None = Field(description="Null for the first evaluation of a package.")


class Evaluations(Shape):
    """A page of evaluations, newest first."""

    evaluations: list[EvaluationShown]
    next_cursor: str | None


class LicenseQuestion(Shape):
    """A project and a package."""

    github_url: Text = Field(
        examples=["https://github.com/user/my-project"], max_length=2048, description="The project on GitHub."
    )
    model_id: UUID = Field(examples=[_ID], description="The package's id.")


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


class Release(Shape):
    """Why a package is freed from quarantine."""

    reason: Text = Field(min_length=1, max_length=2000)


class ComponentStates(Shape):
    """Whether the parts answer."""

    database: Literal["healthy", "unhealthy"]
    s3: Literal["healthy", "unhealthy"]


class RequestFigures(Shape):
    """Requests since the start, over all server processes."""

    total_requests: int
    successful_requests: int
    failed_requests: int
    error_rate_percent: float
    avg_response_time_ms: float
    p95_response_time_ms: float
    p99_response_time_ms: float
    cpu_percent: float
    memory_percent: float
    disk_percent: float


class EndpointShown(Shape):
    """What one endpoint answered."""

    endpoint: str
    count: int
    errors: int
    avg_response_ms: float


class HealthShown(Shape):
    """Whether the registry works."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: datetime
    components: ComponentStates
    metrics: RequestFigures | None = Field(None, description="Only with `detailed=true`.")
    top_endpoints: list[EndpointShown] | None = Field(None, description="Only with `detailed=true`.")


class LogShown(Shape):
    """A request as it was answered."""

    timestamp: datetime
    level: LevelName
    endpoint: str
    method: str
    status_code: int
    error: str | None
    request_id: str
    username: str | None
    duration_ms: float


class Logs(Shape):
    """Some requests, newest first."""

    logs: list[LogShown]
    total: int
    offset: int
    limit: int
    note: str
