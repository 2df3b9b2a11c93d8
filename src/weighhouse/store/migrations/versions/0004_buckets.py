"""The ZIPs that a bucket holds or is about to hold."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Makes the table; a ZIP of a package that is there already is composed when it is first asked for."""
    op.create_table(
        "zips",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("variant", sa.Text(collation="C"), nullable=False),
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("upload_id", sa.Text(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('building', 'ready', 'failed')", name=op.f("ck_zips_state")),
        sa.CheckConstraint(
            "(state = 'ready') = (etag IS NOT NULL AND size_bytes IS NOT NULL)", name=op.f("ck_zips_ready")
        ),
        sa.CheckConstraint("(state = 'failed') = (fault IS NOT NULL)", name=op.f("ck_zips_failed")),
        sa.CheckConstraint("upload_id IS NULL OR state = 'building'", name=op.f("ck_zips_upload")),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name=op.f("fk_zips_package_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("package_id", "variant", name=op.f("pk_zips")),
        sa.UniqueConstraint("key", name=op.f("uq_zips_key")),
    )
