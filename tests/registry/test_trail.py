"""The audit trail: whatever is done to it beside the registry shows."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from tests.conftest import eventually
from tests.registry.shelf import admin, at_once, caller, publish
from weighhouse.app import App
from weighhouse.registry.audit import Origin, acting_from, record
from weighhouse.registry.reset import reset_registry
from weighhouse.registry.sealing import seal_entries
from weighhouse.registry.trail import TrailState, Verified, Wanted, export_trail, trail_state, verify_trail
from weighhouse.rules.trail import Noted, parse_head


def add(registry: App, count: int = 1, **detail: object) -> None:
    """Entries of their own, each in a transaction of its own."""
    for number in range(count):
        with acting_from(Origin("192.0.2.7", f"request-{number}")), registry.db.write() as tx:
            record(tx, None, "try things", f"thing {number}", package_id=uuid4(), number=number, **detail)


def state(registry: App) -> TrailState:
    """How far the chain is."""
    with registry.db.read(snapshot=True) as tx:
        return trail_state(tx)


@contextlib.contextmanager
def by_hand(registry: App) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The database, as its owner can change it who takes the guards away."""
    guards = (
        ("audit_log", "refuse_audit_change"),
        ("audit_log", "await_audit_seal"),
        ("audit_seals", "refuse_audit_change"),
    )
    with registry.db.alone() as connection:
        for table, guard in guards:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {guard}".encode())
        yield connection
        for table, guard in guards:
            connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {guard}".encode())


def tamper(registry: App, *statements: LiteralString) -> Verified:
    """What a verification says after somebody has run these."""
    with by_hand(registry) as connection:
        connection.execute("ALTER TABLE audit_seals DROP CONSTRAINT fk_audit_seals_entry_id")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
    return verify_trail(registry)


@pytest.fixture
def sealed(registry: App) -> App:
    """A registry with ten sealed entries, the first of them that of its admin."""
    add(registry, 9, why="because", of={"b": 1.5, "a": [None, True, "é\u202e"]})
    assert seal_entries(registry.db, batch=3) == 10
    return registry


def test_a_trail_that_nobody_touched_is_whole(sealed: App) -> None:
    add(sealed, 2)
    found = verify_trail(sealed)
    assert found.broken is None
    assert found.entries == found.head.seq == 10
    assert found.state.waiting == 2
    assert seal_entries(sealed.db) == 2
    assert verify_trail(sealed, start=Noted(10, found.head.sha256), noted=parse_head(str(found.head))).entries == 2


_CHANGES: dict[str, LiteralString] = {
    "acted_at": "acted_at + interval '1 microsecond'",
    "actor_id": "gen_random_uuid()",
    "actor": "'somebody else'",
    "action": "'do nothing'",
    "subject": "subject || ' '",
    "package_id": "NULL",
    "address": "'192.0.2.8'",
    "request_id": "NULL",
    "outcome": "'refused'",
    "detail": "jsonb_set(detail, '{of,a,1}', 'false')",
}


def test_every_column_of_an_entry_is_covered(registry: App) -> None:
    with registry.db.read() as tx:
        columns = tx.scalars(
            text("SELECT column_name FROM information_schema.columns WHERE table_name = 'audit_log'")
        ).all()
    assert set(columns) == {"id", *_CHANGES}


@pytest.mark.parametrize("column", _CHANGES)
def test_a_change_of_any_field_shows(sealed: App, column: LiteralString) -> None:
    change = _CHANGES[column]
    found = tamper(
        sealed,
        f"UPDATE audit_log SET {column} = {change} WHERE id = (SELECT entry_id FROM audit_seals WHERE seq = 4)",
    )
    assert found.broken is not None
    assert found.broken.seq == 4
    assert found.entries == 3


def test_an_exchanged_id_shows(sealed: App) -> None:
    found = tamper(
        sealed,
        "UPDATE audit_log SET id = gen_random_uuid() WHERE id = (SELECT entry_id FROM audit_seals WHERE seq = 4)",
    )
    assert found.broken is not None
    assert found.broken.seq == 4


@pytest.mark.parametrize(
    ("statements", "seq"),
    [
        (("DELETE FROM audit_log WHERE id = (SELECT entry_id FROM audit_seals WHERE seq = 6)",), 6),
        (
            (
                "DELETE FROM audit_log WHERE id = (SELECT entry_id FROM audit_seals WHERE seq = 6)",
                "DELETE FROM audit_seals WHERE seq = 6",
            ),
            6,
        ),
        (
            (
                "DELETE FROM audit_seals WHERE seq = 6",
                "UPDATE audit_seals SET seq = seq - 1 WHERE seq > 6",
            ),
            6,
        ),
        (("DELETE FROM audit_seals WHERE seq = 1",), 1),
        (("DELETE FROM audit_seals WHERE seq > 4 AND seq < 10",), 5),
        (("UPDATE audit_seals SET sha256 = sha256('forged') WHERE seq = 7",), 7),
        (("UPDATE audit_seals SET chain = 2 WHERE seq = 7",), 7),
        (
            ("UPDATE audit_seals SET entry_id = gen_random_uuid() WHERE seq = 3",),
            3,
        ),
        (
            (
                "UPDATE audit_seals SET seq = 100 WHERE seq = 3",
                "UPDATE audit_seals SET seq = 3 WHERE seq = 4",
                "UPDATE audit_seals SET seq = 4 WHERE seq = 100",
            ),
            3,
        ),
        (
            (
                "INSERT INTO audit_log (id, actor, action, subject) VALUES (gen_random_uuid(), 'a', 'b', 'c')",
                "INSERT INTO audit_seals SELECT 11, id, 1, sha256('x') FROM audit_log WHERE actor = 'a'",
            ),
            11,
        ),
        (("INSERT INTO audit_log (id, actor, action, subject) VALUES (gen_random_uuid(), 'a', 'b', 'c')",), None),
        (("DELETE FROM audit_seals WHERE seq = 10",), None),
    ],
)
def test_removal_insertion_and_reordering_show(
    sealed: App, statements: tuple[LiteralString, ...], seq: int | None
) -> None:
    found = tamper(sealed, *statements)
    assert found.broken is not None
    assert found.broken.seq == seq


def test_entries_cut_off_at_the_end_show_against_a_head_noted_before(sealed: App) -> None:
    head = parse_head(str(verify_trail(sealed).head))
    cut = tamper(
        sealed,
        "CREATE TABLE gone AS SELECT entry_id FROM audit_seals WHERE seq > 8",
        "DELETE FROM audit_seals WHERE seq > 8",
        "DELETE FROM audit_log WHERE id IN (SELECT entry_id FROM gone)",
    )
    # The rest hangs together; this is what heads are noted for.
    assert cut.broken is None
    found = verify_trail(sealed, noted=head)
    assert found.broken is not None
    assert found.broken.seq == 10
    assert "ends with entry 8" in str(found.broken)
    add(sealed, 2)
    seal_entries(sealed.db)
    for grown in (verify_trail(sealed, noted=head), verify_trail(sealed, start=head)):
        assert grown.broken is not None
        assert "when it was noted" in str(grown.broken)


def test_an_entry_that_is_removed_before_it_is_sealed_shows_as_long_as_it_is_awaited(sealed: App) -> None:
    add(sealed)
    found = tamper(sealed, "DELETE FROM audit_log WHERE id IN (SELECT entry_id FROM audit_pending)")
    assert found.broken is not None
    assert "before it was sealed" in str(found.broken)
    assert seal_entries(sealed.db) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'x'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log CASCADE",
        "UPDATE audit_seals SET chain = 1",
        "DELETE FROM audit_seals",
        "TRUNCATE audit_seals",
        "UPDATE audit_pending SET entry_id = gen_random_uuid()",
        "TRUNCATE audit_pending",
    ],
)
def test_the_database_refuses_changes(sealed: App, statement: LiteralString) -> None:
    with (
        sealed.db.alone() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added"),
    ):
        connection.execute(statement)


def test_a_session_that_has_triggers_off_is_refused_too(registry: App) -> None:
    guards = "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'audit_%' AND NOT tgisinternal"
    with registry.db.read() as tx:
        assert tx.scalars(text(guards)).all() == ["A"] * 4


def test_after_a_reset_a_new_chain_holds_on_to_the_one_before(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    publish(registry, who, "bert")
    seal_entries(registry.db)
    before = state(registry).head
    reset_registry(registry, root)
    add(registry, 2)
    seal_entries(registry.db)
    found = verify_trail(registry, noted=parse_head(str(before)))
    assert found.broken is None
    assert (before.chain, found.head.chain) == (1, 2)
    assert found.head.seq == before.seq + 3


def test_sealers_at_once_and_appends_beside_them_leave_one_whole_chain(registry: App) -> None:
    seal_entries(registry.db)
    stop = threading.Event()
    sealed: list[int] = []

    def seal() -> None:
        while not stop.is_set():
            sealed.append(seal_entries(registry.db, batch=7))

    sealers = [threading.Thread(target=seal) for _ in range(2)]
    for thread in sealers:
        thread.start()
    try:
        outcomes = at_once([lambda: add(registry, 100)] * 4)
    finally:
        stop.set()
        for thread in sealers:
            thread.join()
    assert outcomes == [None] * 4
    sealed.append(seal_entries(registry.db))
    assert sum(sealed) == 400
    found = verify_trail(registry)
    assert found.broken is None
    assert found.entries == 401
    assert found.state.waiting == 0


def test_an_entry_never_waits_for_a_sealer(registry: App) -> None:
    with registry.db.alone() as connection, connection.transaction():
        # As a sealer that stands still in the middle of its batch.
        connection.execute("SELECT pg_advisory_xact_lock(7235921)")
        connection.execute("INSERT INTO audit_seals SELECT 1, id, 1, sha256('x') FROM audit_log")
        connection.execute("DELETE FROM audit_pending")
        add(registry)
        assert seal_entries(registry.db) == 0
        raise psycopg.Rollback
    assert seal_entries(registry.db) == 2


_SEAL_SLOWLY = """
import sys
from weighhouse.app import App
from weighhouse.registry.sealing import seal_entries
from weighhouse.settings import Settings

app = App.open(Settings(_env_file=None, database_url=sys.argv[1], data_dir=sys.argv[2]))
seal_entries(app.db, batch=3)
"""


def test_a_sealer_that_is_killed_leaves_a_whole_chain_and_the_rest_waiting(registry: App, tmp_path: Path) -> None:
    with registry.db.write() as tx:
        for number in range(3000):
            record(tx, None, "try things", f"thing {number}")
    url = registry.settings.database_url
    assert url is not None
    sealer = subprocess.Popen([sys.executable, "-P", "-c", _SEAL_SLOWLY, url, str(tmp_path / "other")])
    try:
        eventually(lambda: state(registry).head.seq > 100, seconds=60)
    finally:
        sealer.kill()
        sealer.wait()
    found = verify_trail(registry)
    assert found.broken is None
    assert 100 < found.entries < 3001
    assert found.entries + found.state.waiting == 3001
    # PostgreSQL may take a moment to notice that the one who held the lock is gone.
    eventually(lambda: seal_entries(registry.db) > 0, seconds=10)
    found = verify_trail(registry)
    assert found.broken is None
    assert found.entries == 3001
    assert found.state.waiting == 0


def test_entries_of_the_release_before_are_sealed_with_all_others(registry: App) -> None:
    with registry.db.alone() as connection:
        # As that release adds one: it knows of no new column.
        connection.execute(
            "INSERT INTO audit_log (id, actor, action, subject, detail) "
            "VALUES (gen_random_uuid(), 'ada', 'delete package', 'package bert 1.0.0', '{}')"
        )
    assert seal_entries(registry.db) == 2
    assert verify_trail(registry).broken is None


def test_an_export_tells_what_waits_last_and_once(registry: App) -> None:
    add(registry, 3)
    seal_entries(registry.db)
    add(registry, 2)
    lines = [json.loads(line) for lines in export_trail(registry, Wanted()) for line in lines.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, None, None]
    assert [line["sha256"] is None for line in lines] == [False] * 4 + [True] * 2
    some = [json.loads(line) for line in b"".join(export_trail(registry, Wanted(user="OPERATOR"))).splitlines()]
    assert some == lines
