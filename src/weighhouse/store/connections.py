"""Connections to PostgreSQL that notice when nobody is at the other end any more."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry

CONNECT_SECONDS = 3
"""How long a new connection may take."""

# Together with CONNECT_SECONDS less than the five seconds in which an outage is to be told.
_GREETING_SECONDS = 1.5
# Who was spoken to just now is there: only a connection that was left alone is greeted first.
_IDLE_SECONDS = 5.0
_WAKE_SECONDS = 0.1


class PatientConnection(psycopg.Connection[Any]):
    """A connection that gives up on a server that says nothing.

    The kernel notices a broken connection after minutes, and one through a proxy that hangs never.
    """

    patience_seconds = 60.0

    def wait(self, gen: PQGen[RV], interval: float = _WAKE_SECONDS, timeout: float | None = None) -> RV:
        """What `gen` comes to.

        Raises:
            OperationalError: The server did not answer in time; the connection is closed.
        """
        seconds = self.patience_seconds if timeout is None else timeout
        deadline = time.monotonic() + seconds
        try:
            return super().wait(gen, interval, seconds)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                # An answer that comes after all must not be taken for that of the next statement.
                self.close()
            raise

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Has less patience for a while."""
        before, self.patience_seconds = self.patience_seconds, seconds
        try:
            yield
        finally:
            self.patience_seconds = before


def look_after(engine: Engine, patience_seconds: float) -> None:
    """Has an engine make patient connections, and greet those that were idle before it hands them out.

    Args:
        patience_seconds: How long a statement may be without an answer.
    """

    def connect(_dialect: object, _entry: object, arguments: list[Any], options: dict[str, Any]) -> PatientConnection:
        connection = PatientConnection.connect(*arguments, **options)
        connection.patience_seconds = patience_seconds
        return connection

    def note(_connection: object, entry: ConnectionPoolEntry) -> None:
        entry.info["used_at"] = time.monotonic()

    def greet(connection: PatientConnection, entry: ConnectionPoolEntry, _handle: object) -> None:
        used_at = entry.info.get("used_at", float("inf"))
        if time.monotonic() - used_at < _IDLE_SECONDS:
            return
        try:
            with connection.within(_GREETING_SECONDS):
                engine.dialect.do_ping(connection)  # type: ignore[arg-type]  # SQLAlchemy's own protocol of the driver
        except psycopg.Error as error:
            # Of all connections: what ended this one, a failover or a network, ended the others of the pool too.
            raise exc.InvalidatePoolError("Nobody answered on a connection that was idle") from error

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", greet)
