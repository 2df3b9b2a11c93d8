"""How many listed versions each name has, so that a search counts names and not versions."""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Changes nothing yet."""
