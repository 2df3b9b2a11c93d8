"""The first schema: the registry's tables, and those of the job queue as its library makes them."""

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes every table."""
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    # A driver-level call: the queue's script is full of percent signs and colons that are not parameters.
    op.get_bind().exec_driver_sql(SchemaManager.get_schema().replace("%", "%%"))
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("acted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("crc32 BETWEEN 0 AND 4294967295", name=op.f("ck_blobs_crc32")),
        sa.CheckConstraint("length(sha256) = 32", name=op.f("ck_blobs_sha256")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_blobs_size")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blobs")),
    )
    op.create_table(
        "boots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cpu_percent", sa.DOUBLE_PRECISION(), server_default="0", nullable=False),
        sa.Column("memory_percent", sa.DOUBLE_PRECISION(), server_default="0", nullable=False),
        sa.Column("disk_percent", sa.DOUBLE_PRECISION(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boots")),
    )
    op.create_table(
        "evidence_cache",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("validator", sa.Text(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_evidence_cache")),
    )
    op.create_index(op.f("ix_evidence_cache_used_at"), "evidence_cache", ["used_at"], unique=False)
    op.create_table(
        "login_failures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failures")),
    )
    op.create_index("ix_login_failures_subject", "login_failures", ["subject", "failed_at"], unique=False)
    op.create_table(
        "request_logs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("logged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.DOUBLE_PRECISION(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_logs")),
    )
    op.create_index("ix_request_logs_level", "request_logs", ["level", sa.literal_column("id DESC")], unique=False)
    op.create_index("ix_request_logs_time", "request_logs", ["logged_at"], unique=False)
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("username_key", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("permissions", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("NOT is_default OR 'admin' = ANY (permissions)", name=op.f("ck_users_default_is_admin")),
        sa.CheckConstraint(
            "permissions <@ ARRAY['search', 'download', 'upload', 'admin']", name=op.f("ck_users_permissions")
        ),
        sa.CheckConstraint("username_key = lower(username)", name=op.f("ck_users_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username_key", name=op.f("uq_users_username_key")),
    )
    op.create_index("uq_users_default", "users", ["is_default"], unique=True, postgresql_where=sa.text("is_default"))
    op.create_table(
        "package_names",
        sa.Column("name_key", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("lookalike_key", sa.Text(), nullable=False),
        sa.Column("swapped_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name_key = lower(name)", name=op.f("ck_package_names_key")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_package_names_owner_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("name_key", name=op.f("pk_package_names")),
    )
    op.create_index("ix_package_names_lookalike", "package_names", ["lookalike_key"], unique=False)
    op.create_index(op.f("ix_package_names_owner_id"), "package_names", ["owner_id"], unique=False)
    op.create_index("ix_package_names_swapped", "package_names", ["swapped_key"], unique=False)
    op.create_index(
        "ix_package_names_trigrams",
        "package_names",
        ["name_key"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"name_key": "gin_trgm_ops"},
    )
    op.create_table(
        "system_metrics",
        sa.Column("boot_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("is_error", sa.Boolean(), nullable=False),
        sa.Column("duration_class", sa.SmallInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.DOUBLE_PRECISION(), nullable=False),
        sa.ForeignKeyConstraint(["boot_id"], ["boots.id"], name=op.f("fk_system_metrics_boot_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("boot_id", "endpoint", "is_error", "duration_class", name=op.f("pk_system_metrics")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("calls_used", sa.Integer(), server_default="0", nullable=False),
        sa.Column("calls_limit", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("calls_used BETWEEN 0 AND calls_limit", name=op.f("ck_tokens_budget")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_tokens_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_tokens_token_sha256")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(op.f("ix_tokens_user_id"), "tokens", ["user_id"], unique=False)
    op.create_table(
        "taken_versions",
        sa.Column("name_key", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Text(collation="C"), nullable=False),
        sa.Column("manifest_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["name_key"], ["package_names.name_key"], name=op.f("fk_taken_versions_name_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("name_key", "version", name=op.f("pk_taken_versions")),
    )
    op.create_table(
        "packages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Text(collation="C"), nullable=False),
        sa.Column("version_key", sa.Text(collation="C"), nullable=False),
        sa.Column("is_prerelease", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("license", sa.Text(), nullable=True),
        sa.Column("license_key", sa.Text(), nullable=True),
        sa.Column("model_url", sa.Text(), nullable=True),
        sa.Column("model_key", sa.Text(collation="C"), nullable=True),
        sa.Column("dataset_url", sa.Text(), nullable=True),
        sa.Column("code_url", sa.Text(), nullable=True),
        sa.Column("source_revision", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files_count", sa.Integer(), nullable=False),
        sa.Column("manifest_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("uploader_id", sa.Uuid(), nullable=True),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Text(), server_default="evaluating", nullable=False),
        sa.Column("verdict", sa.Text(), server_default="unscanned", nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.Column("net_score", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("evaluation_id", sa.Uuid(), nullable=True),
        sa.Column("is_stale", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("status IN ('evaluating', 'evaluated', 'failed')", name=op.f("ck_packages_status")),
        sa.CheckConstraint(
            "verdict IN ('safe', 'suspicious', 'unsafe', 'unscanned')", name=op.f("ck_packages_verdict")
        ),
        sa.CheckConstraint("name_key = lower(name)", name=op.f("ck_packages_key")),
        sa.CheckConstraint("net_score BETWEEN 0 AND 1", name=op.f("ck_packages_net_score")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_packages_size")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name="fk_packages_evaluation_id", ondelete="SET NULL", use_alter=True
        ),
        sa.ForeignKeyConstraint(
            ["name_key", "version"], ["taken_versions.name_key", "taken_versions.version"], name="fk_packages_taken"
        ),
        sa.ForeignKeyConstraint(
            ["uploader_id"], ["users.id"], name=op.f("fk_packages_uploader_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_packages")),
        sa.UniqueConstraint("name_key", "version", name=op.f("uq_packages_name_key_version")),
        sa.UniqueConstraint("name_key", "version_key", name=op.f("uq_packages_name_key_version_key")),
    )
    op.create_index(op.f("ix_packages_evaluation_id"), "packages", ["evaluation_id"], unique=False)
    op.create_index("ix_packages_license", "packages", ["license_key"], unique=False)
    op.create_index(
        "ix_packages_model", "packages", ["model_key"], unique=False, postgresql_where=sa.text("model_key IS NOT NULL")
    )
    op.create_index(
        "ix_packages_name_trigrams",
        "packages",
        ["name_key"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"name_key": "gin_trgm_ops"},
    )
    op.create_index("ix_packages_newest", "packages", ["uploaded_at", "id"], unique=False)
    op.create_index("ix_packages_order", "packages", ["name_key", sa.literal_column("version_key DESC")], unique=False)
    op.create_index(
        "ix_packages_score",
        "packages",
        [sa.literal_column("coalesce(net_score, '-1'::integer::double precision)"), "id"],
        unique=False,
    )
    op.create_index(op.f("ix_packages_uploader_id"), "packages", ["uploader_id"], unique=False)
    op.create_index("ix_packages_version", "packages", ["version"], unique=False)
    op.create_index("ix_packages_version_key", "packages", ["version_key"], unique=False)
    op.create_table(
        "download_counts",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("downloads", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("fk_download_counts_package_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("package_id", name=op.f("pk_download_counts")),
    )
    op.create_index("ix_download_counts_downloads", "download_counts", ["downloads", "package_id"], unique=False)
    op.create_table(
        "download_history",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("components", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("downloaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("fk_download_history_package_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_download_history_user_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_download_history")),
    )
    op.create_index(
        "ix_download_history_package", "download_history", ["package_id", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(op.f("ix_download_history_user_id"), "download_history", ["user_id"], unique=False)
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("metrics_version", sa.Text(), nullable=False),
        sa.Column("evidence_digest", sa.Text(), nullable=False),
        sa.Column("net_score", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("coverage", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("net_low", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("net_high", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("weights", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.CheckConstraint("net_low <= net_high", name=op.f("ck_evaluations_bounds")),
        sa.CheckConstraint("net_score BETWEEN 0 AND 1 AND coverage BETWEEN 0 AND 1", name=op.f("ck_evaluations_range")),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("fk_evaluations_package_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint("package_id", "job_id", name=op.f("uq_evaluations_package_id_job_id")),
    )
    op.create_table(
        "files",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(collation="C"), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), server_default="unscanned", nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint("component IN ('weights', 'datasets', 'code', 'other')", name=op.f("ck_files_component")),
        sa.CheckConstraint("verdict IN ('safe', 'suspicious', 'unsafe', 'unscanned')", name=op.f("ck_files_verdict")),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name=op.f("fk_files_package_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"], name=op.f("fk_files_sha256")),
        sa.PrimaryKeyConstraint("package_id", "path", name=op.f("pk_files")),
    )
    op.create_index(op.f("ix_files_sha256"), "files", ["sha256"], unique=False)
    op.create_table(
        "lineage",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("parent_key", sa.Text(collation="C"), nullable=False),
        sa.Column("parent_name", sa.Text(), nullable=False),
        sa.Column("relationship_type", sa.Text(), nullable=False),
        sa.Column("named_in", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "relationship_type IN ('finetune', 'adapter', 'merge', 'quantized')", name=op.f("ck_lineage_relation")
        ),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("fk_lineage_package_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("package_id", "parent_key", name=op.f("pk_lineage")),
    )
    op.create_index(op.f("ix_lineage_parent_key"), "lineage", ["parent_key"], unique=False)
    op.create_table(
        "package_confusion_audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("similar_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("uploader_id", sa.Uuid(), nullable=True),
        sa.Column("is_blocked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("noticed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("fk_package_confusion_audit_package_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["uploader_id"], ["users.id"], name=op.f("fk_package_confusion_audit_uploader_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package_confusion_audit")),
    )
    op.create_index(
        op.f("ix_package_confusion_audit_package_id"), "package_confusion_audit", ["package_id"], unique=False
    )
    op.create_index(
        op.f("ix_package_confusion_audit_uploader_id"), "package_confusion_audit", ["uploader_id"], unique=False
    )
    op.create_table(
        "package_texts",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("card", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "document",
            postgresql.TSVECTOR(),
            sa.Computed(
                "setweight(to_tsvector('simple'::regconfig, translate(name, '/._-', '    ')), 'A') || setweight(to_tsvector('english'::regconfig, translate(name, '/._-', '    ')), 'A') || setweight(to_tsvector('english'::regconfig, left(description, 20000)), 'B') || setweight(to_tsvector('english'::regconfig, left(card, 200000)), 'C')",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("fk_package_texts_package_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("package_id", name=op.f("pk_package_texts")),
    )
    op.create_index(
        "ix_package_texts_card_trigrams",
        "package_texts",
        ["card"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"card": "gin_trgm_ops"},
    )
    op.create_index("ix_package_texts_document", "package_texts", ["document"], unique=False, postgresql_using="gin")
    op.create_table(
        "ratings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("score", sa.SmallInteger(), nullable=False),
        sa.Column("review", sa.Text(), nullable=True),
        sa.Column("rated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("score BETWEEN 1 AND 5", name=op.f("ck_ratings_score")),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("fk_ratings_package_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_ratings_user_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ratings")),
        sa.UniqueConstraint("package_id", "user_id", name=op.f("uq_ratings_package_id_user_id")),
    )
    op.create_index(
        "ix_ratings_newest",
        "ratings",
        ["package_id", sa.literal_column("rated_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(op.f("ix_ratings_user_id"), "ratings", ["user_id"], unique=False)
    op.create_table(
        "metrics",
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("score", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("sources", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.CheckConstraint("(status = 'ok') = (score IS NOT NULL)", name=op.f("ck_metrics_score_when_ok")),
        sa.CheckConstraint("status IN ('ok', 'inconclusive', 'not_applicable')", name=op.f("ck_metrics_status")),
        sa.CheckConstraint("score BETWEEN 0 AND 1", name=op.f("ck_metrics_score")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_metrics_evaluation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "metric", name=op.f("pk_metrics")),
    )
    op.create_foreign_key(
        "fk_packages_evaluation_id", "packages", "evaluations", ["evaluation_id"], ["id"], ondelete="SET NULL"
    )
    op.execute(
        "INSERT INTO secrets (name, value) VALUES ('signing', uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"
    )
