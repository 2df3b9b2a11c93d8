"""PostgreSQL behind a network that fails: an outage is told in seconds, and nothing has to be started anew after it."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from tests.conftest import eventually
from tests.fault_proxy import Fault, FaultProxy
from weighhouse.store import connections
from weighhouse.store.connections import PatientConnection
from weighhouse.store.database import Database, DatabaseAway, libpq_url


@pytest.fixture
def proxy(database_url: str) -> Iterator[FaultProxy]:
    with FaultProxy(str(make_url(database_url).query["host"]), 5432) as running:
        yield running


@pytest.fixture
def database(database_url: str, proxy: FaultProxy) -> Iterator[Database]:
    through = make_url(database_url).set(host="127.0.0.1", port=proxy.port, query={"sslmode": "disable"})
    opened = Database(through.render_as_string(hide_password=False))
    yield opened
    opened.close()


def ask(database: Database) -> bool:
    with database.read() as tx:
        return bool(tx.scalar(text("SELECT 1")))


def is_well(database: Database) -> bool:
    try:
        return ask(database)
    except DatabaseAway:
        return False


@pytest.mark.parametrize("fault", [Fault(is_refusing=True), Fault(is_resetting=True)], ids=["refuses", "resets"])
def test_a_database_that_hangs_up_is_away_at_once_and_back_when_it_is(
    database: Database, proxy: FaultProxy, fault: Fault
) -> None:
    assert ask(database)
    proxy.set(fault)
    for _ in range(3):
        with pytest.raises(DatabaseAway):
            ask(database)
    proxy.set()
    eventually(lambda: is_well(database))


def test_a_database_that_falls_silent_is_away_before_anybody_gives_up_and_back_when_it_is(
    database: Database, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.count("SELECT 1 AS one", {})
    assert ask(database)
    proxy.set(Fault(is_silent=True))
    # In the middle of a conversation, and with a connection that was left alone.
    with pytest.raises(DatabaseAway):
        database.count("SELECT 1 AS one", {})
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)
    began = time.monotonic()
    with pytest.raises(DatabaseAway) as away:
        ask(database)
    # Without the greeting it would be the 35 seconds that a statement may take.
    assert time.monotonic() - began < 25
    assert away.value.retry_after_seconds > 0
    proxy.set()
    eventually(lambda: is_well(database))


def test_a_slow_database_is_waited_for(database: Database, proxy: FaultProxy) -> None:
    proxy.set(Fault(latency_seconds=0.3))
    assert ask(database)


def test_an_idle_connection_that_was_lost_costs_no_request(
    database: Database, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(database)
    proxy.set(Fault(is_resetting=True))
    proxy.set()
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)
    assert ask(database)


def test_a_late_answer_is_never_taken_for_the_next_one(database_url: str) -> None:
    with PatientConnection.connect(libpq_url(make_url(database_url)), autocommit=True) as connection:
        with connection.within(0.2), pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 'first' FROM pg_sleep(30)")
        assert connection.closed
