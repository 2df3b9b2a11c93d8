"""The audit trail is a chain: entries are only ever added, and each is sealed by a hash over it and the one before."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

# In one statement with the column: the rows that are there have its default, and so has what the release before adds.
_OUTCOME = """
ALTER TABLE audit_log ADD COLUMN outcome text DEFAULT 'done' NOT NULL
CONSTRAINT ck_audit_log_outcome CHECK (outcome IN ('done', 'refused'))
"""
# For entries of the release before: packages that are still here. Later ones say it themselves.
_PACKAGES = """
UPDATE audit_log SET package_id = packages.id FROM packages
WHERE subject = 'package ' || packages.name || ' ' || packages.version AND acted_at >= packages.uploaded_at
"""
# Who adds an entry waits for nobody: it is noted here, in the same transaction, that it is to be sealed. By a trigger, so
# that entries of the release before are sealed, too.
_WAIT = """
CREATE FUNCTION await_audit_seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_pending (entry_id) VALUES (NEW.id);
    RETURN NULL;
END $$
"""
_WAIT_TRIGGER = """
CREATE TRIGGER await_audit_seal AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION await_audit_seal()
"""
# Nothing is excepted, a reset neither: it empties other tables, and is an entry itself, with which a new chain begins.
# Also for sessions that have triggers off (session_replication_role): ENABLE ALWAYS. Who owns the tables can still drop
# the triggers; that is what the chain is for.
_REFUSE = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the audit trail is only ever added to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$
"""


def upgrade() -> None:
    """Adds columns and tables. What is there already waits to be sealed, and is by the first server that starts."""
    # This holds the table until the migration ends: no entry comes in between the two that note what waits.
    op.add_column("audit_log", sa.Column("package_id", sa.Uuid(), nullable=True))
    op.add_column("audit_log", sa.Column("address", sa.Text(), nullable=True))
    op.add_column("audit_log", sa.Column("request_id", sa.Text(), nullable=True))
    op.execute(_OUTCOME)
    op.create_table(
        "audit_seals",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("chain", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("seq > 0 AND chain > 0", name=op.f("ck_audit_seals_place")),
        sa.CheckConstraint("length(sha256) = 32", name=op.f("ck_audit_seals_sha256")),
        sa.ForeignKeyConstraint(["entry_id"], ["audit_log.id"], name=op.f("fk_audit_seals_entry_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_seals")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_audit_seals_entry_id")),
    )
    op.create_table(
        "audit_pending",
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit_pending")),
    )
    op.execute(_PACKAGES)
    op.create_index(
        "ix_audit_log_package", "audit_log", ["package_id", "id"], postgresql_where=sa.text("package_id IS NOT NULL")
    )
    op.execute("INSERT INTO audit_pending (entry_id) SELECT id FROM audit_log")
    op.execute(_WAIT)
    op.execute(_WAIT_TRIGGER)
    op.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER await_audit_seal")
    op.execute(_REFUSE)
    for table, acts in (
        ("audit_log", "UPDATE OR DELETE OR TRUNCATE"),
        ("audit_seals", "UPDATE OR DELETE OR TRUNCATE"),
        # A row goes when its entry is sealed.
        ("audit_pending", "UPDATE OR TRUNCATE"),
    ):
        op.execute(
            f"CREATE TRIGGER refuse_audit_change BEFORE {acts} ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_audit_change")
