"""Verdicts of scans, and packages in quarantine for another verdict than unsafe, or not although they are."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

_LISTED = (
    "({row}.is_quarantined IS NOT TRUE AND ({row}.verdict <> 'unsafe' OR {row}.is_quarantined IS FALSE)"
    " OR {row}.released_at IS NOT NULL)"
)
# As before, with what the policy says.
_COUNT = f"""
CREATE OR REPLACE FUNCTION count_listed_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_listed CONSTANT boolean := TG_OP <> 'INSERT' AND {_LISTED.format(row="OLD")};
    is_listed CONSTANT boolean := TG_OP <> 'DELETE' AND {_LISTED.format(row="NEW")};
BEGIN
    IF is_listed AND NOT was_listed THEN
        INSERT INTO listed_names (name_key, versions) VALUES (NEW.name_key, 1)
        ON CONFLICT (name_key) DO UPDATE SET versions = listed_names.versions + 1;
        INSERT INTO listing_changes (name_key, versions) VALUES (NEW.name_key, 1);
    ELSIF was_listed AND NOT is_listed THEN
        UPDATE listed_names SET versions = versions - 1 WHERE name_key = OLD.name_key;
        INSERT INTO listing_changes (name_key, versions) VALUES (OLD.name_key, -1);
    END IF;
    RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE OR REPLACE TRIGGER count_listed_version
AFTER INSERT OR DELETE OR UPDATE OF verdict, released_at, is_quarantined ON packages
FOR EACH ROW EXECUTE FUNCTION count_listed_version()
"""


def upgrade() -> None:
    """Makes the tables. What the release before writes means what it did: both new columns may be empty."""
    op.add_column("packages", sa.Column("is_quarantined", sa.Boolean(), nullable=True))
    op.add_column("packages", sa.Column("scanner_version", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_packages_scanner_version"), "packages", ["scanner_version"])
    op.execute(_COUNT)
    op.execute(_TRIGGER)
    op.create_table(
        "blob_scans",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("scanner_version", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("scanned_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("scan_ms", sa.Integer(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("length(sha256) = 32", name=op.f("ck_blob_scans_sha256")),
        sa.CheckConstraint("name <> '' AND strpos(name, '/') = 0", name=op.f("ck_blob_scans_name")),
        sa.CheckConstraint("scanner_version > 0", name=op.f("ck_blob_scans_scanner_version")),
        sa.CheckConstraint(
            "verdict IN ('safe', 'suspicious', 'unsafe', 'unscanned')", name=op.f("ck_blob_scans_verdict")
        ),
        sa.CheckConstraint("jsonb_typeof(reasons) = 'array'", name=op.f("ck_blob_scans_reasons")),
        sa.CheckConstraint("size_bytes >= 0 AND scan_ms >= 0 AND attempts > 0", name=op.f("ck_blob_scans_figures")),
        sa.CheckConstraint("fault IS NULL OR verdict = 'unscanned'", name=op.f("ck_blob_scans_fault")),
        sa.PrimaryKeyConstraint("sha256", "name", "scanner_version", name=op.f("pk_blob_scans")),
    )
    op.create_table(
        "refused_packages",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("package_id", name=op.f("pk_refused_packages")),
    )
