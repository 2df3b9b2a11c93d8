"""Models on their way in from the hub."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Changes nothing yet."""
