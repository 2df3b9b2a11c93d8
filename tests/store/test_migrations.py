"""Changes of the schema: beside the release before, ahead of this one, and from several servers at once."""

import importlib
import io
import logging
import pkgutil
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.engine import make_url

from weighhouse.app import App
from weighhouse.registry.monitor import check_readiness
from weighhouse.store.database import SchemaOutdated, libpq_url, migrate
from weighhouse.store.migrations import versions

# What takes away something that the release before relies on, or asks for something that it does not give. Each reads
# one statement.
_NARROWING = {
    "removes something": r"DROP (TABLE|COLUMN|VIEW|TYPE|SCHEMA|SEQUENCE)|DROP FUNCTION",
    "renames something": r"\bRENAME\b",
    "changes a type": r"ALTER COLUMN \S+ (SET DATA )?TYPE",
    "demands a value": r"SET NOT NULL|ADD COLUMN(?!.*\bDEFAULT\b).*\bNOT NULL\b",
    "takes a default away": r"DROP DEFAULT",
    "refuses more": r"ADD (CONSTRAINT \S+ )?(CHECK|UNIQUE|FOREIGN KEY|EXCLUDE)",
    "loses rows": r"^\s*(DELETE FROM|TRUNCATE)\b",
}


def migrations() -> Iterator[tuple[str, list[str]]]:
    """Each migration after the first, and the statements that it runs."""
    for module in pkgutil.iter_modules(versions.__path__):
        if module.name.startswith("0001"):
            continue
        written = io.StringIO()
        context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written})
        with Operations.context(context):
            importlib.import_module(f"{versions.__name__}.{module.name}").upgrade()
        # A function's body has semicolons of its own; what it does is no change of the schema.
        statements = re.sub(r"\$\$.*?\$\$", "$$", written.getvalue(), flags=re.DOTALL)
        yield module.name, [statement.strip() for statement in statements.split(";") if statement.strip()]


def faults(statement: str) -> list[str]:
    """What is narrowing about a statement."""
    # One line, so that a column stands with its properties.
    line = " ".join(statement.split())
    return [what for what, pattern in _NARROWING.items() if re.search(pattern, line, re.IGNORECASE)]


def test_every_migration_only_adds_so_that_the_release_before_runs_on_it() -> None:
    found = dict(migrations())
    assert len(found) >= 5
    narrowing = {
        f"{name}: {what}: {statement[:80]}"
        for name, statements in found.items()
        for statement in statements
        for what in faults(statement)
    }
    assert not narrowing


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE packages DROP COLUMN status",
        "DROP TABLE zips",
        "ALTER TABLE packages RENAME COLUMN status TO state",
        "ALTER TABLE packages ALTER COLUMN size TYPE TEXT",
        "ALTER TABLE packages ALTER COLUMN size SET NOT NULL",
        "ALTER TABLE packages ADD COLUMN colour TEXT NOT NULL",
        "ALTER TABLE packages ADD CONSTRAINT ck_size CHECK (size > 0)",
        "DELETE FROM packages",
    ],
)
def test_what_would_break_the_release_before_is_seen(statement: str) -> None:
    assert faults(statement)


def test_what_only_adds_is_let_through() -> None:
    assert not faults("ALTER TABLE packages ADD COLUMN colour TEXT DEFAULT 'red' NOT NULL")
    assert not faults("ALTER TABLE packages ADD COLUMN colour TEXT")
    assert not faults("ALTER TABLE packages ALTER COLUMN colour DROP NOT NULL")


def _run(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(libpq_url(make_url(url)), autocommit=True) as connection:
        done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


def test_a_schema_of_a_later_release_is_left_alone_and_served(
    registry: App, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    _run(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with caplog.at_level(logging.WARNING):
        migrate(database_url)
    assert "of a later release" in caplog.text
    assert _run(database_url, "SELECT version_num FROM alembic_version") == [("9999",)]
    check_readiness(registry)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE alembic_version SET version_num = '0002'", "DELETE FROM alembic_version", "DROP TABLE alembic_version"],
)
def test_a_schema_of_an_earlier_release_is_not_served(registry: App, database_url: str, statement: str) -> None:
    check_readiness(registry)
    _run(database_url, statement)
    with pytest.raises(SchemaOutdated, match="weighhouse migrate"):
        check_readiness(registry)


def test_several_servers_that_start_at_once_make_one_schema(database_url: str) -> None:
    _run(database_url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(migrate, database_url) for _ in range(4)]:
            done.result()
    assert len(_run(database_url, "SELECT version_num FROM alembic_version")) == 1
