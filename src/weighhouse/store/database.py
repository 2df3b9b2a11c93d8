"""The database: `read()` and `write()`, the two ways to open a transaction, and the schema's migrations."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.conninfo import make_conninfo
from psycopg.types.json import set_json_loads
from sqlalchemy import Compiled, Connection, RowMapping, Select, create_engine, event, exc, text
from sqlalchemy.engine import URL, ExecutionContext, make_url
from sqlalchemy.orm import Session

from weighhouse.rules.errors import Away
from weighhouse.store.connections import CONNECT_SECONDS, look_after

_log = logging.getLogger(__name__)

# A statement that runs longer than this is a defect or an attack; it must not hold a connection.
_STATEMENT_SECONDS = 30
# PostgreSQL itself ends a statement in time. When this is over, PostgreSQL is what is not there any more.
_PATIENCE_SECONDS = _STATEMENT_SECONDS + 5.0
# The counting of a call comes first with nearly every request and takes a moment: it notices an outage for all of them.
_COUNTING_PATIENCE_SECONDS = 4.0
_SESSION = {
    "timezone": "UTC",
    "statement_timeout": f"{_STATEMENT_SECONDS}s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
}
_OPTIONS = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())


_ANEW = "planned_anew"
PLANNED_ANEW = MappingProxyType({_ANEW: True})
"""For statements whose best plan hangs on their values: a prepared one would be planned once for all values."""


class DatabaseAway(Away):
    """The database does not answer."""

    def __init__(self, detail: str = "The database does not answer. Try again in a few seconds.") -> None:
        super().__init__(detail)


class SchemaOutdated(Away):
    """The database has an older schema than this release needs."""

    def __init__(self) -> None:
        super().__init__(
            "The database has an older schema than this release needs. Run weighhouse migrate, or start weighhouse "
            "serve, with this release.",
            retry_after_seconds=30,
        )


class Database:
    """A pool of connections to one PostgreSQL.

    Args:
        url: SQLAlchemy's or libpq's form; the driver is always psycopg 3.
        connections: Connections kept at most.
    """

    def __init__(self, url: str, *, connections: int = 20) -> None:
        self.url = normal_url(url)
        connect_args = {"options": _OPTIONS, "connect_timeout": CONNECT_SECONDS, "application_name": "weighhouse"}
        pool: dict[str, Any] = {"max_overflow": 0, "pool_timeout": 4, "pool_recycle": 1800}
        # In autocommit nothing is open when a statement ends: no mode to set, no rollback to send, before and after it.
        alone: dict[str, Any] = {
            "isolation_level": "AUTOCOMMIT",
            "skip_autocommit_rollback": True,
            "pool_reset_on_return": None,
        }
        transactions = max(2, connections * 2 // 5)
        self._engine = create_engine(self.url, pool_size=transactions, connect_args=connect_args, **pool)
        self._snapshot = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        reads = max(2, connections - transactions)
        self._autocommit = create_engine(self.url, pool_size=reads, connect_args=connect_args, **pool, **alone)
        # Counting a call may forget its last moments in a crash of the database, so it never waits for a disk.
        self._unsynced = create_engine(
            self.url,
            pool_size=max(2, connections // 4),
            connect_args=connect_args | {"options": _OPTIONS + " -c synchronous_commit=off"},
            **pool,
            **alone,
        )
        look_after(self._engine, _PATIENCE_SECONDS)
        look_after(self._autocommit, _PATIENCE_SECONDS)
        look_after(self._unsynced, _COUNTING_PATIENCE_SECONDS)
        for engine in (self._engine, self._autocommit, self._unsynced):
            event.listen(engine, "connect", _read_json_quickly)
            event.listen(engine, "do_execute", _plan_anew)

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Session]:
        """A session that only asks. Each statement stands alone; with `snapshot` all see the same instant.

        Raises:
            DatabaseAway: No connection, or it broke.
        """
        with (
            _translated(),
            Session(self._snapshot if snapshot else self._autocommit, expire_on_commit=False) as session,
        ):
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed when the block ends, and undone when it raises.

        Raises:
            DatabaseAway: No connection, or it broke; then the change was not made, or its fate is unknown.
        """
        with _translated(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def count(self, statement: str, values: Mapping[str, Any]) -> RowMapping | None:
        """The row of one statement that commits at once and without a disk sync; `None` when it touches no row.

        Args:
            statement: As the driver takes it, with `%(name)s` for each value: it runs with every request.

        Raises:
            DatabaseAway: No connection, or it broke.
        """
        with _translated(), self._unsynced.connect() as connection:
            return connection.exec_driver_sql(statement, values).mappings().one_or_none()

    @contextmanager
    def alone(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection outside the pool, in autocommit, on which nothing takes too long.

        Raises:
            DatabaseAway: No connection, or it broke.
        """
        options = "-c timezone=UTC -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
        try:
            with psycopg.connect(
                libpq_url(self.url), autocommit=True, connect_timeout=5, options=options, application_name="weighhouse"
            ) as connection:
                yield connection
        except psycopg.OperationalError as error:
            _log.warning("database: %s", error)
            raise DatabaseAway from error

    def close(self) -> None:
        """Closes every connection."""
        for engine in (self._engine, self._autocommit, self._unsynced):
            engine.dispose()


def _read_json_quickly(connection: psycopg.Connection[Any], _record: object) -> None:
    set_json_loads(orjson.loads, connection)


def _plan_anew(cursor: psycopg.Cursor[Any], statement: str, parameters: Any, context: ExecutionContext | None) -> bool:
    """Runs a statement that was marked so; `False` leaves it to SQLAlchemy."""
    if context is None or not context.execution_options.get(_ANEW):
        return False
    cursor.execute(statement.encode(), parameters, prepare=False)
    return True


def compiled(statement: Select[Any]) -> Compiled:
    """A statement put together once, for `exec_driver_sql`: to do it with every request costs more than the answer."""
    return statement.compile(dialect=make_url("postgresql+psycopg://").get_dialect()())


def driver_connection(session: Session) -> psycopg.Connection[Any]:
    """The psycopg connection under a session, for a library that joins its transaction."""
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


def broken_constraint(error: exc.IntegrityError) -> str:
    """Name of the constraint that refused a row; empty when the database did not say."""
    return (error.orig.diag.constraint_name or "") if isinstance(error.orig, psycopg.Error) else ""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseAway("Every database connection is in use. Try again in a few seconds.") from error
    except (exc.OperationalError, exc.InterfaceError) as error:
        if isinstance(error.orig, psycopg.errors.QueryCanceled):
            raise
        _log.warning("database: %s", error.orig)
        raise DatabaseAway from error


def normal_url(url: str) -> URL:
    """`url` with the psycopg 3 driver named, whatever form it came in."""
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg2"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def libpq_url(url: URL) -> str:
    """`url` as libpq's key-value text, for a library with a pool of its own."""
    # Not as an address: libpq reads the plus sign that stands for a space in one as a plus sign.
    values = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
    return make_conninfo("", **{key: _joined(value) for key, value in values.items()})


def _joined(value: object) -> str:
    """A value of an address as libpq has it: several hosts are one list."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def migrate(url: str) -> None:
    """Brings the schema up to date; several servers may start at once, one does the work.

    A schema that a later release made stays as it is: each release runs on that of the next.

    Raises:
        DatabaseAway: The database does not answer, or an extension cannot be created in it.
    """
    engine = create_engine(normal_url(url), connect_args={"connect_timeout": 10, "application_name": "weighhouse"})
    try:
        with _translated(), engine.connect() as connection:
            _upgrade(connection)
    except (exc.ProgrammingError, exc.NotSupportedError) as error:
        if isinstance(error.orig, psycopg.errors.InsufficientPrivilege | psycopg.errors.FeatureNotSupported):
            raise DatabaseAway(
                f"The schema could not be made: {str(error.orig).splitlines()[0]}. "
                "Let the owner of the database run: CREATE EXTENSION pg_trgm; then start again."
            ) from error
        raise
    finally:
        engine.dispose()


def knows_revision(revision: str) -> bool:
    """Whether this release can bring a schema of that revision up to date."""
    return revision in _revisions()


def check_schema(tx: Session) -> None:
    """Nothing, when this release can run on the schema: its own, or that of a later release, which only adds to it.

    Raises:
        SchemaOutdated: The schema is that of an earlier release, or there is none.
    """
    try:
        found = tx.scalar(text("SELECT version_num FROM alembic_version"))
    except exc.ProgrammingError as error:
        raise SchemaOutdated from error
    if found is None or (found != _revisions()[0] and knows_revision(found)):
        raise SchemaOutdated


@cache
def _revisions() -> tuple[str, ...]:
    """Revisions that this release knows, the newest first."""
    scripts = ScriptDirectory(str(Path(__file__).parent / "migrations")).walk_revisions()
    return tuple(script.revision for script in scripts)


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings for the migrations in this package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    # The number is arbitrary; it only has to be this program's own.
    connection.exec_driver_sql("SELECT pg_advisory_lock(7235919)")
    connection.commit()
    try:
        found = MigrationContext.configure(connection).get_current_revision()
        connection.commit()
        if found is not None and not knows_revision(found):
            _log.warning("the schema has revision %s, of a later release; this one runs on it as it is", found)
            return
        command.upgrade(alembic_config(connection), "head")
        connection.commit()
    finally:
        connection.exec_driver_sql("SELECT pg_advisory_unlock(7235919)")
        connection.commit()
