"""ZIPs composed in a bucket, and uploads whose files go straight to the store."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Changes nothing yet."""
