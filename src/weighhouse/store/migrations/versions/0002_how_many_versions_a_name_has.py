"""How many listed versions each name has, so that a search by name counts names and not versions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Every way in which a version comes into search or leaves it: published, deleted, quarantined, released.
_COUNT = """
CREATE FUNCTION count_listed_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_listed boolean := TG_OP <> 'INSERT' AND (OLD.verdict <> 'unsafe' OR OLD.released_at IS NOT NULL);
    is_listed boolean := TG_OP <> 'DELETE' AND (NEW.verdict <> 'unsafe' OR NEW.released_at IS NOT NULL);
BEGIN
    IF is_listed AND NOT was_listed THEN
        INSERT INTO listed_names (name_key, versions) VALUES (NEW.name_key, 1)
        ON CONFLICT (name_key) DO UPDATE SET versions = listed_names.versions + 1;
    ELSIF was_listed AND NOT is_listed THEN
        UPDATE listed_names SET versions = versions - 1 WHERE name_key = OLD.name_key;
    END IF;
    RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE TRIGGER count_listed_version AFTER INSERT OR DELETE OR UPDATE OF verdict, released_at ON packages
FOR EACH ROW EXECUTE FUNCTION count_listed_version()
"""
_FILL = """
INSERT INTO listed_names (name_key, versions)
SELECT name_key, count(*) FROM packages WHERE verdict <> 'unsafe' OR released_at IS NOT NULL GROUP BY name_key
"""


def upgrade() -> None:
    """Makes the table, counts what is there, and has it kept true from then on."""
    # Whoever publishes meanwhile waits, and is counted by the trigger.
    op.execute("LOCK TABLE packages IN SHARE ROW EXCLUSIVE MODE")
    op.create_table(
        "listed_names",
        sa.Column("name_key", sa.Text(collation="C"), nullable=False),
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.CheckConstraint("versions >= 0", name=op.f("ck_listed_names_versions")),
        sa.ForeignKeyConstraint(
            ["name_key"],
            ["package_names.name_key"],
            name=op.f("fk_listed_names_name_key"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("name_key", name=op.f("pk_listed_names")),
        # Room on each page for the new row of a count that changed: no index has to be touched.
        postgresql_with={"fillfactor": "90"},
    )
    op.execute(_FILL)
    op.create_index(
        "ix_listed_names_trigrams",
        "listed_names",
        ["name_key"],
        postgresql_using="gin",
        postgresql_ops={"name_key": "gin_trgm_ops"},
    )
    op.execute(_COUNT)
    op.execute(_TRIGGER)
