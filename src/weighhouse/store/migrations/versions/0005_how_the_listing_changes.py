"""How the number of listed versions of each name changes, so that a search by name counts names once."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# As before, and each change of a count is noted in the same transaction.
_COUNT = """
CREATE OR REPLACE FUNCTION count_listed_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_listed CONSTANT boolean := TG_OP <> 'INSERT' AND (OLD.verdict <> 'unsafe' OR OLD.released_at IS NOT NULL);
    is_listed CONSTANT boolean := TG_OP <> 'DELETE' AND (NEW.verdict <> 'unsafe' OR NEW.released_at IS NOT NULL);
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
# A reset empties the table at once, without a word to the trigger above.
_EMPTIED = """
CREATE FUNCTION note_emptied_listing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO listing_changes (name_key, versions)
    SELECT name_key, -versions FROM listed_names WHERE versions > 0;
    RETURN NULL;
END $$
"""
_EMPTIED_TRIGGER = """
CREATE TRIGGER note_emptied_listing BEFORE TRUNCATE ON listed_names
FOR EACH STATEMENT EXECUTE FUNCTION note_emptied_listing()
"""


def upgrade() -> None:
    """Makes the table, and has every change noted from then on."""
    op.create_table(
        "listing_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name_key", sa.Text(collation="C"), nullable=False),
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.Column(
            "transaction",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listing_changes")),
    )
    op.create_index(op.f("ix_listing_changes_transaction"), "listing_changes", ["transaction"])
    for statement in (_COUNT, _EMPTIED, _EMPTIED_TRIGGER):
        op.execute(statement)
