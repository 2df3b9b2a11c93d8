"""Every table and constraint. Promises of the registry stand here as `UNIQUE`, `CHECK` and foreign keys."""

from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

INGEST_STATES = ("waiting", "fetching", "weighing", "admitted", "refused", "failed", "cancelled")
"""From the fourth on, an ingest has ended."""
COMPONENTS = ("weights", "datasets", "code", "other")
PERMISSIONS = ("search", "download", "upload", "admin")
RELATIONS = ("finetune", "adapter", "merge", "quantized")
SEVERITIES = ("low", "medium", "high")
STATUSES = ("evaluating", "evaluated", "failed")
VERDICTS = ("safe", "suspicious", "unsafe", "unscanned")
ZIP_STATES = ("building", "ready", "failed")


def new_id() -> UUID:
    """A version 7 UUID: ids made later sort later, so that indexes grow at their end."""
    return uuid_utils.compat.uuid7()


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Row(DeclarativeBase):
    """A row of a table. Relationships are never loaded by accident."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this attribute of the class
        UUID: Uuid,
        str: Text,
        datetime: DateTime(timezone=True),
        float: DOUBLE_PRECISION,
        bytes: LargeBinary,
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
    }


class User(Row):
    """An account. `username_key` is the name in lower case: two users never differ only in case."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("username_key = lower(username)", name="key"),
        CheckConstraint(f"permissions <@ ARRAY{list(PERMISSIONS)!r}", name="permissions"),
        CheckConstraint("NOT is_default OR 'admin' = ANY (permissions)", name="default_is_admin"),
        Index("uq_users_default", "is_default", unique=True, postgresql_where=text("is_default")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    username: Mapped[str]
    username_key: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    permissions: Mapped[list[str]]
    is_default: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Token(Row):
    """A token, by the hash of its secret, with the calls it may make.

    Half of each page stays free, so that counting a call rewrites the row in place and touches no index.
    """

    __tablename__ = "tokens"
    __table_args__ = (
        CheckConstraint("calls_used BETWEEN 0 AND calls_limit", name="budget"),
        {"postgresql_with": {"fillfactor": 50}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_sha256: Mapped[bytes] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(server_default="")
    calls_used: Mapped[int] = mapped_column(Integer, server_default="0")
    calls_limit: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class LoginFailure(Row):
    """A failed login, kept for as long as it slows down the next one."""

    __tablename__ = "login_failures"
    __table_args__ = (Index("ix_login_failures_subject", "subject", "failed_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    subject: Mapped[str]
    """`user:NAME` or `address:IP`."""
    failed_at: Mapped[datetime] = mapped_column(server_default=func.now())


WHOLE_KEY = "translate(replace(replace(translate(name_key, '-_./', ''), 'rn', 'm'), 'vv', 'w'), '1i0528', 'lloszb')"
"""A name's skeleton with its namespace, as PostgreSQL makes it."""


class PackageName(Row):
    """A name and who owns it. It stays when its packages go; without an owner it belongs to the admins."""

    __tablename__ = "package_names"
    __table_args__ = (
        CheckConstraint("name_key = lower(name)", name="key"),
        Index("ix_package_names_lookalike", "lookalike_key"),
        Index("ix_package_names_swapped", "swapped_key"),
        # The key of the whole name; `rules/lookalike_probes.whole_key` is the same.
        Index("ix_package_names_whole", text(WHOLE_KEY)),
        Index(
            "ix_package_names_trigrams", "name_key", postgresql_using="gin", postgresql_ops={"name_key": "gin_trgm_ops"}
        ),
    )

    name_key: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    name: Mapped[str]
    owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    lookalike_key: Mapped[str]
    swapped_key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    released_at: Mapped[datetime | None]
    """When an admin freed it for whoever comes first; `None` while it is its owner's."""


class ListedName(Row):
    """How many versions of a name stand in search. Kept by a trigger on `packages`: only it writes here."""

    __tablename__ = "listed_names"
    __table_args__ = (
        CheckConstraint("versions >= 0", name="versions"),
        Index(
            "ix_listed_names_trigrams", "name_key", postgresql_using="gin", postgresql_ops={"name_key": "gin_trgm_ops"}
        ),
        # Room on each page for the new row of a count that changed: no index has to be touched.
        {"postgresql_with": {"fillfactor": "90"}},
    )

    name_key: Mapped[str] = mapped_column(
        Text(collation="C"), ForeignKey("package_names.name_key", ondelete="CASCADE"), primary_key=True
    )
    versions: Mapped[int]


class ListingChange(Row):
    """By how many versions a name's count rose or fell, and in which transaction: brings a remembered total up to date.

    Written by triggers only, and swept after a day.
    """

    __tablename__ = "listing_changes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name_key: Mapped[str] = mapped_column(Text(collation="C"))
    versions: Mapped[int]
    transaction: Mapped[int] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint"), index=True
    )
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TakenVersion(Row):
    """A (name, version) that was published once. It outlives its package, so that a deleted version is never replaced."""

    __tablename__ = "taken_versions"

    name_key: Mapped[str] = mapped_column(
        Text(collation="C"), ForeignKey("package_names.name_key", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    manifest_sha256: Mapped[bytes]
    taken_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Package(Row):
    """One version of a package, whole from its first moment: its files and its job are recorded in the same transaction."""

    __tablename__ = "packages"
    __table_args__ = (
        UniqueConstraint("name_key", "version"),
        UniqueConstraint("name_key", "version_key"),
        ForeignKeyConstraint(
            ["name_key", "version"], ["taken_versions.name_key", "taken_versions.version"], name="fk_packages_taken"
        ),
        CheckConstraint("name_key = lower(name)", name="key"),
        CheckConstraint(_one_of("status", STATUSES), name="status"),
        CheckConstraint(_one_of("verdict", VERDICTS), name="verdict"),
        CheckConstraint("size_bytes >= 0", name="size"),
        CheckConstraint("net_score BETWEEN 0 AND 1", name="net_score"),
        Index("ix_packages_order", "name_key", text("version_key DESC")),
        Index("ix_packages_newest", "uploaded_at", "id"),
        # A package without a score sorts below every score, in both directions.
        Index("ix_packages_score", text("coalesce(net_score, '-1'::integer::double precision)"), "id"),
        Index("ix_packages_version", "version"),
        Index("ix_packages_version_key", "version_key"),
        Index("ix_packages_license", "license_key"),
        Index("ix_packages_model", "model_key", postgresql_where=text("model_key IS NOT NULL")),
        Index(
            "ix_packages_name_trigrams", "name_key", postgresql_using="gin", postgresql_ops={"name_key": "gin_trgm_ops"}
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    name_key: Mapped[str] = mapped_column(Text(collation="C"))
    version: Mapped[str] = mapped_column(Text(collation="C"))
    version_key: Mapped[str] = mapped_column(Text(collation="C"))
    """Sorts bytewise as the versions do."""
    is_prerelease: Mapped[bool]
    description: Mapped[str | None]
    license: Mapped[str | None]
    license_key: Mapped[str | None]
    """The license in lower case."""
    model_url: Mapped[str | None]
    model_key: Mapped[str | None] = mapped_column(Text(collation="C"))
    """The id that `model_url` names, in lower case: how a child's `base_model` finds this package."""
    dataset_url: Mapped[str | None]
    code_url: Mapped[str | None]
    source_revision: Mapped[str | None]
    """The commit that an ingest took it from."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    """Sum of the files."""
    files_count: Mapped[int]
    manifest_sha256: Mapped[bytes]
    uploader_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    uploaded_at: Mapped[datetime] = mapped_column(server_default=func.now())
    status: Mapped[str] = mapped_column(server_default="evaluating")
    verdict: Mapped[str] = mapped_column(server_default="unscanned")
    released_at: Mapped[datetime | None]
    """When an admin freed it from quarantine."""
    release_reason: Mapped[str | None]
    is_quarantined: Mapped[bool | None]
    """What the policy of scans says where it differs from the usual; `NULL`: as the verdict says, `unsafe` is."""
    scanner_version: Mapped[int | None] = mapped_column(index=True)
    """Of the scanner that the verdict is of; `NULL` until every file was scanned."""
    net_score: Mapped[float | None]
    evaluation_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("evaluations.id", ondelete="SET NULL", use_alter=True, name="fk_packages_evaluation_id"), index=True
    )
    is_stale: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """Whether a parent has a new score since this package was weighed."""
    signature: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """What its `model.sig` was found to be; `None` where it has none."""

    uploader: Mapped[User | None] = relationship(lazy="raise", viewonly=True)


class Ingest(Row):
    """A model that was asked for: how far it is on its way in from the hub, and what came of it."""

    __tablename__ = "ingests"
    __table_args__ = (
        CheckConstraint(_one_of("state", INGEST_STATES), name="state"),
        CheckConstraint(f"(finished_at IS NOT NULL) = ({_one_of('state', INGEST_STATES[3:])})", name="finished"),
        Index("ix_ingests_finished", "finished_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    asker_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    wanted: Mapped[dict[str, Any]]
    """What was asked for, with the commit that it was then."""
    state: Mapped[str] = mapped_column(server_default="waiting")
    files_total: Mapped[int | None]
    files_done: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    bytes_total: Mapped[int | None] = mapped_column(BigInteger)
    bytes_done: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    package_id: Mapped[UUID | None] = mapped_column(ForeignKey("packages.id", ondelete="SET NULL"), index=True)
    outcome: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """What the gate said of an admitted model; the problem of any other."""
    asked_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


class IngestFile(Row):
    """A file that an ingest keeps already: whoever goes on with it need not fetch it, and no sweep takes it meanwhile.

    The rows go when the ingest ends.
    """

    __tablename__ = "ingest_files"
    __table_args__ = (CheckConstraint("length(sha256) = 32", name="sha256"),)

    ingest_id: Mapped[UUID] = mapped_column(ForeignKey("ingests.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    sha256: Mapped[bytes] = mapped_column(index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    crc32: Mapped[int] = mapped_column(BigInteger)


class DirectUpload(Row):
    """A package that is sent file by file: announced, and perhaps finished. Two open ones of a user differ in something.

    A finished one stays until it expires, for a client that did not hear the answer.
    """

    __tablename__ = "direct_uploads"
    __table_args__ = (
        CheckConstraint("length(announced_sha256) = 32", name="announced_sha256"),
        CheckConstraint("(finished_at IS NOT NULL) = (package_id IS NOT NULL)", name="finished"),
        Index(
            "uq_direct_uploads_open",
            "uploader_id",
            "announced_sha256",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    uploader_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    form: Mapped[dict[str, Any]]
    announced_sha256: Mapped[bytes]
    """Digest of the form and all files."""
    begun_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)
    finished_at: Mapped[datetime | None]
    package_id: Mapped[UUID | None]
    """No foreign key: a package may go, and what was answered stays true."""
    warnings: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))


class DirectUploadFile(Row):
    """A file of a package that is being sent; the rows go when it is finished."""

    __tablename__ = "direct_upload_files"
    __table_args__ = (
        CheckConstraint("length(sha256) = 32", name="sha256"),
        CheckConstraint("size_bytes >= 0", name="size"),
        Index("ix_direct_upload_files_content", "sha256", "upload_id"),
    )

    upload_id: Mapped[UUID] = mapped_column(ForeignKey("direct_uploads.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    sha256: Mapped[bytes]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    crc32: Mapped[int | None] = mapped_column(BigInteger)
    """Known once its content is here for this upload: it was sent, or the uploader could read it before."""
    announced_crc32: Mapped[int | None] = mapped_column(BigInteger)
    ticket: Mapped[str | None]
    """The store's own, of a content that the client sends to it and not to the registry."""


class PackageText(Row):
    """What full text and regular expressions search. Beside `packages`, so that a new score rewrites no text index."""

    __tablename__ = "package_texts"
    __table_args__ = (
        Index("ix_package_texts_document", "document", postgresql_using="gin"),
        Index(
            "ix_package_texts_card_trigrams", "card", postgresql_using="gin", postgresql_ops={"card": "gin_trgm_ops"}
        ),
    )

    package_id: Mapped[UUID] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    card: Mapped[str] = mapped_column(server_default="")
    # A tsvector holds at most 1 MiB: the head of a long card says what it is about.
    document: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed(
            # Words of a name are found as they are written, and by their stems beside words of prose.
            "setweight(to_tsvector('simple'::regconfig, translate(name, '/._-', '    ')), 'A') || "
            "setweight(to_tsvector('english'::regconfig, translate(name, '/._-', '    ')), 'A') || "
            "setweight(to_tsvector('english'::regconfig, left(description, 20000)), 'B') || "
            "setweight(to_tsvector('english'::regconfig, left(card, 200000)), 'C')",
            persisted=True,
        ),
    )


class Blob(Row):
    """A file by its content. A row means that the bytes are durable."""

    __tablename__ = "blobs"
    __table_args__ = (
        CheckConstraint("length(sha256) = 32", name="sha256"),
        CheckConstraint("size_bytes >= 0", name="size"),
        CheckConstraint("crc32 BETWEEN 0 AND 4294967295", name="crc32"),
    )

    sha256: Mapped[bytes] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    crc32: Mapped[int] = mapped_column(BigInteger)
    kept_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PackageFile(Row):
    """One file of a package's manifest. Its blob cannot go while it stands here."""

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint(_one_of("component", COMPONENTS), name="component"),
        CheckConstraint(_one_of("verdict", VERDICTS), name="verdict"),
    )

    package_id: Mapped[UUID] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    sha256: Mapped[bytes] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    component: Mapped[str]
    verdict: Mapped[str] = mapped_column(server_default="unscanned")
    reasons: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))


class BlobScan(Row):
    """What a version of the scanner said of a content under a name: a loader goes by both.

    Without a key to `blobs`: a model from the hub is scanned before it is let in and its files are recorded.
    """

    __tablename__ = "blob_scans"
    __table_args__ = (
        CheckConstraint("length(sha256) = 32", name="sha256"),
        CheckConstraint("name <> '' AND strpos(name, '/') = 0", name="name"),
        CheckConstraint("scanner_version > 0", name="scanner_version"),
        CheckConstraint(_one_of("verdict", VERDICTS), name="verdict"),
        CheckConstraint("jsonb_typeof(reasons) = 'array'", name="reasons"),
        CheckConstraint("size_bytes >= 0 AND scan_ms >= 0 AND attempts > 0", name="figures"),
        CheckConstraint("fault IS NULL OR verdict = 'unscanned'", name="fault"),
    )

    sha256: Mapped[bytes] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    """The last part of the path."""
    scanner_version: Mapped[int] = mapped_column(primary_key=True)
    verdict: Mapped[str]
    reasons: Mapped[list[Any]]
    """Objects with level, kind, message, position in bytes, and the member of an archive."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    scanned_at: Mapped[datetime] = mapped_column(server_default=func.now())
    scan_ms: Mapped[int]
    fault: Mapped[str | None]
    """What ended the scan before it had a verdict; it is tried again."""
    attempts: Mapped[int] = mapped_column(server_default=text("1"))


class RefusedPackage(Row):
    """A package that the policy of scans refused: what its uploader is told. Nothing else of it is kept."""

    __tablename__ = "refused_packages"

    package_id: Mapped[UUID] = mapped_column(primary_key=True)
    reasons: Mapped[list[Any]]
    refused_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Evaluation(Row):
    """One weighing of a package; never changed, a later one is another row."""

    __tablename__ = "evaluations"
    __table_args__ = (
        UniqueConstraint("package_id", "job_id"),
        CheckConstraint("net_score BETWEEN 0 AND 1 AND coverage BETWEEN 0 AND 1", name="range"),
        CheckConstraint("net_low <= net_high", name="bounds"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    package_id: Mapped[UUID] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"))
    job_id: Mapped[int] = mapped_column(BigInteger)
    """The job that ran it: a job that runs twice records once."""
    as_of: Mapped[datetime]
    metrics_version: Mapped[str]
    evidence_digest: Mapped[str]
    net_score: Mapped[float | None]
    coverage: Mapped[float]
    net_low: Mapped[float]
    net_high: Mapped[float]
    weights: Mapped[dict[str, Any]]
    latency_ms: Mapped[int]


class MetricRow(Row):
    """One metric's answer within an evaluation."""

    __tablename__ = "metrics"
    __table_args__ = (
        CheckConstraint("status IN ('ok', 'inconclusive', 'not_applicable')", name="status"),
        CheckConstraint("(status = 'ok') = (score IS NOT NULL)", name="score_when_ok"),
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
    )

    evaluation_id: Mapped[UUID] = mapped_column(ForeignKey("evaluations.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str]
    status: Mapped[str]
    score: Mapped[float | None]
    reason_code: Mapped[str | None]
    reasons: Mapped[list[Any]]
    inputs: Mapped[dict[str, Any]]
    method: Mapped[str]
    sources: Mapped[list[Any]]
    latency_ms: Mapped[int]


class LineageEdge(Row):
    """A package names a parent. The parent is kept by name and found when it is asked for, so it may arrive later."""

    __tablename__ = "lineage"
    __table_args__ = (CheckConstraint(_one_of("relationship_type", RELATIONS), name="relation"),)

    package_id: Mapped[UUID] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True)
    parent_key: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True, index=True)
    parent_name: Mapped[str]
    relationship_type: Mapped[str]
    named_in: Mapped[str]


class Rating(Row):
    """One user's stars for a package; a second one replaces the first. It stays when the user goes."""

    __tablename__ = "ratings"
    __table_args__ = (
        UniqueConstraint("package_id", "user_id"),
        CheckConstraint("score BETWEEN 1 AND 5", name="score"),
        Index("ix_ratings_newest", "package_id", text("rated_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    package_id: Mapped[UUID] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"))
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    score: Mapped[int] = mapped_column(SmallInteger)
    review: Mapped[str | None]
    rated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Download(Row):
    """Somebody asked for a download address. The trail stays when the package goes."""

    __tablename__ = "download_history"
    __table_args__ = (Index("ix_download_history_package", "package_id", text("id DESC")),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    package_id: Mapped[UUID | None] = mapped_column(ForeignKey("packages.id", ondelete="SET NULL"))
    name: Mapped[str]
    version: Mapped[str]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    username: Mapped[str]
    components: Mapped[list[str]]
    address: Mapped[str | None]
    agent: Mapped[str | None]
    downloaded_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DownloadCount(Row):
    """How often a package was downloaded. Apart from `packages`, so that a download rewrites one narrow row."""

    __tablename__ = "download_counts"
    __table_args__ = (Index("ix_download_counts_downloads", "downloads", "package_id"),)

    package_id: Mapped[UUID] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True)
    downloads: Mapped[int] = mapped_column(BigInteger, server_default="0")


class ComposedZip(Row):
    """A ZIP that the bucket holds, or is about to. The row goes with its package, and the object goes after the row."""

    __tablename__ = "zips"
    __table_args__ = (
        CheckConstraint(_one_of("state", ZIP_STATES), name="state"),
        CheckConstraint("(state = 'ready') = (etag IS NOT NULL AND size_bytes IS NOT NULL)", name="ready"),
        CheckConstraint("(state = 'failed') = (fault IS NOT NULL)", name="failed"),
        CheckConstraint("upload_id IS NULL OR state = 'building'", name="upload"),
    )

    package_id: Mapped[UUID] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True)
    variant: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    key: Mapped[str] = mapped_column(Text(collation="C"), unique=True)
    state: Mapped[str]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    etag: Mapped[str | None]
    upload_id: Mapped[str | None]
    """The multipart upload that composes it."""
    fault: Mapped[str | None]
    """Why it could not be composed."""
    asked_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When a download last asked for it."""
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When it got into its state."""


class ConfusionAudit(Row):
    """A name that looks like another was uploaded, or refused."""

    __tablename__ = "package_confusion_audit"
    __table_args__ = (CheckConstraint(_one_of("severity", SEVERITIES), name="severity"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    package_id: Mapped[UUID | None] = mapped_column(ForeignKey("packages.id", ondelete="SET NULL"), index=True)
    name: Mapped[str]
    similar_name: Mapped[str]
    kind: Mapped[str]
    severity: Mapped[str] = mapped_column(server_default="low")
    similar_downloads: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Of the other name, when this was noticed."""
    is_well_known: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """Whether the other is a name of the public hub."""
    reason: Mapped[str]
    uploader_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    is_blocked: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    noticed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SystemMetric(Row):
    """Requests of one server run, by endpoint, outcome and duration class: sums that any process may add to."""

    __tablename__ = "system_metrics"

    boot_id: Mapped[UUID] = mapped_column(ForeignKey("boots.id", ondelete="CASCADE"), primary_key=True)
    endpoint: Mapped[str] = mapped_column(primary_key=True)
    is_error: Mapped[bool] = mapped_column(primary_key=True)
    duration_class: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    """Index of the logarithmic class that the duration falls into; see `registry/monitor.py`."""
    requests: Mapped[int] = mapped_column(BigInteger)
    duration_ms: Mapped[float]
    """Sum of the durations."""


class Boot(Row):
    """One run of a server, of as many processes as it has."""

    __tablename__ = "boots"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    host: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    cpu_percent: Mapped[float] = mapped_column(server_default="0")
    memory_percent: Mapped[float] = mapped_column(server_default="0")
    disk_percent: Mapped[float] = mapped_column(server_default="0")


class RequestLog(Row):
    """One request as it was answered; the newest 100,000 are kept."""

    __tablename__ = "request_logs"
    __table_args__ = (
        Index("ix_request_logs_level", "level", text("id DESC")),
        Index("ix_request_logs_time", "logged_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    logged_at: Mapped[datetime]
    level: Mapped[str]
    method: Mapped[str]
    endpoint: Mapped[str]
    status_code: Mapped[int] = mapped_column(SmallInteger)
    error: Mapped[str | None]
    request_id: Mapped[str]
    username: Mapped[str | None]
    duration_ms: Mapped[float]


class AuditEntry(Row):
    """Who did what to which object, from where, and whether it was done or refused. Entries are only ever added."""

    __tablename__ = "audit_log"
    __table_args__ = (
        CheckConstraint("outcome IN ('done', 'refused')", name="outcome"),
        Index("ix_audit_log_package", "package_id", "id", postgresql_where=text("package_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    acted_at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor_id: Mapped[UUID | None]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    package_id: Mapped[UUID | None]
    """No key: the entry outlives the package."""
    address: Mapped[str | None]
    request_id: Mapped[str | None]
    outcome: Mapped[str] = mapped_column(server_default=text("'done'"))


class AuditSeal(Row):
    """The place of an entry in the chain: a hash over it and over the one before."""

    __tablename__ = "audit_seals"
    __table_args__ = (
        CheckConstraint("seq > 0 AND chain > 0", name="place"),
        CheckConstraint("length(sha256) = 32", name="sha256"),
    )

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    entry_id: Mapped[UUID] = mapped_column(ForeignKey("audit_log.id"), unique=True)
    chain: Mapped[int]
    sha256: Mapped[bytes]


class AuditPending(Row):
    """An entry that waits to be sealed. A trigger adds it together with the entry."""

    __tablename__ = "audit_pending"

    entry_id: Mapped[UUID] = mapped_column(primary_key=True)


class CachedEvidence(Row):
    """What a source answered, with what proves it unchanged, so that nothing is fetched twice."""

    __tablename__ = "evidence_cache"

    key: Mapped[str] = mapped_column(primary_key=True)
    """Source, question and immutable id."""
    validator: Mapped[str | None]
    """ETag or commit that a conditional question names; `None` where the key itself is immutable."""
    value: Mapped[bytes]
    used_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class Secret(Row):
    """Keys that every server of this registry shares."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[bytes]
