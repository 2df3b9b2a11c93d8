"""How grave a likeness of names is, names looked up with their namespaces, and names that an admin freed."""

from alembic import op

revision = "0010"
down_revision = "0009"

_WHOLE_KEY = "translate(replace(replace(translate(name_key, '-_./', ''), 'rn', 'm'), 'vv', 'w'), '1i0528', 'lloszb')"


def upgrade() -> None:
    """Adds columns that have a default, and the index. The release before goes on writing what it knows of."""
    for column in (
        "severity text DEFAULT 'low' NOT NULL "
        "CONSTRAINT ck_package_confusion_audit_severity CHECK (severity IN ('low', 'medium', 'high'))",
        "similar_downloads bigint DEFAULT 0 NOT NULL",
        "is_well_known boolean DEFAULT false NOT NULL",
    ):
        op.execute(f"ALTER TABLE package_confusion_audit ADD COLUMN {column}")
    op.execute("ALTER TABLE package_names ADD COLUMN released_at timestamptz")
    op.execute(f"CREATE INDEX ix_package_names_whole ON package_names ({_WHOLE_KEY})")
