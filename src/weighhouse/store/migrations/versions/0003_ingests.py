"""Models that were asked for: how far each is on its way in from the hub, and what came of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "ingests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("asker_id", sa.Uuid(), nullable=True),
        sa.Column("wanted", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("files_total", sa.Integer(), nullable=True),
        sa.Column("files_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=True),
        sa.Column("bytes_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'fetching', 'weighing', 'admitted', 'refused', 'failed', 'cancelled')",
            name=op.f("ck_ingests_state"),
        ),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('admitted', 'refused', 'failed', 'cancelled'))",
            name=op.f("ck_ingests_finished"),
        ),
        sa.ForeignKeyConstraint(["asker_id"], ["users.id"], name=op.f("fk_ingests_asker_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name=op.f("fk_ingests_package_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingests")),
    )
    op.create_index("ix_ingests_asker_id", "ingests", ["asker_id"])
    op.create_index("ix_ingests_package_id", "ingests", ["package_id"])
    op.create_index("ix_ingests_finished", "ingests", ["finished_at"])
    op.create_table(
        "ingest_files",
        sa.Column("ingest_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(collation="C"), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("length(sha256) = 32", name=op.f("ck_ingest_files_sha256")),
        sa.ForeignKeyConstraint(
            ["ingest_id"], ["ingests.id"], name=op.f("fk_ingest_files_ingest_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ingest_id", "path", name=op.f("pk_ingest_files")),
    )
    op.create_index("ix_ingest_files_sha256", "ingest_files", ["sha256"])
