"""The tables as the code has them, against those that the migrations make."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from weighhouse.store.database import normal_url
from weighhouse.store.tables import Row


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether something in the database is the registry's own, and not the job queue's."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


# The comparison says of indexes over expressions that it only looks at their names.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")
def test_the_migrations_make_the_tables_that_the_code_has(database_url: str) -> None:
    engine = create_engine(normal_url(database_url))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"include_name": _is_ours})
            assert compare_metadata(context, Row.metadata) == []
    finally:
        engine.dispose()
