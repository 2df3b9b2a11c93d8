"""Whether a package is signed, and what its signature is worth."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds the column. The release before leaves it empty, which says that there is no signature that was looked at."""
    op.add_column("packages", sa.Column("signature", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
