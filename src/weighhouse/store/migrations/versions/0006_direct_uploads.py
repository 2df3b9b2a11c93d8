"""Packages that are sent file by file: what was announced, and which contents have arrived."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Makes the tables. No key leads to `packages`: the release before empties that table without knowing of these."""
    op.create_table(
        "direct_uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("uploader_id", sa.Uuid(), nullable=False),
        sa.Column("form", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("announced_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("package_id", sa.Uuid(), nullable=True),
        sa.Column("warnings", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint("length(announced_sha256) = 32", name=op.f("ck_direct_uploads_announced_sha256")),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (package_id IS NOT NULL)", name=op.f("ck_direct_uploads_finished")
        ),
        sa.ForeignKeyConstraint(
            ["uploader_id"], ["users.id"], name=op.f("fk_direct_uploads_uploader_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_direct_uploads")),
    )
    op.create_index(
        "uq_direct_uploads_open",
        "direct_uploads",
        ["uploader_id", "announced_sha256"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(op.f("ix_direct_uploads_uploader_id"), "direct_uploads", ["uploader_id"])
    op.create_index(op.f("ix_direct_uploads_expires_at"), "direct_uploads", ["expires_at"])
    op.create_table(
        "direct_upload_files",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(collation="C"), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=True),
        sa.Column("announced_crc32", sa.BigInteger(), nullable=True),
        sa.Column("ticket", sa.Text(), nullable=True),
        sa.CheckConstraint("length(sha256) = 32", name=op.f("ck_direct_upload_files_sha256")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_direct_upload_files_size")),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["direct_uploads.id"],
            name=op.f("fk_direct_upload_files_upload_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("upload_id", "path", name=op.f("pk_direct_upload_files")),
    )
    op.create_index("ix_direct_upload_files_content", "direct_upload_files", ["sha256", "upload_id"])
