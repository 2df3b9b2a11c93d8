"""The embedded PostgreSQL, started for real."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from weighhouse.store import cluster, embedded
from weighhouse.store.cluster import DatabaseFailed
from weighhouse.store.embedded import Embedded


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A space and a per cent sign: both have a meaning of their own in a URL.
    return tmp_path_factory.mktemp("data") / "a b%20c"


@pytest.fixture
def running(data_dir: Path) -> Iterator[Embedded]:
    database = embedded.start(data_dir)
    yield database
    database.stop()


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def processes_in(data_dir: Path) -> list[psutil.Process]:
    here = str(data_dir.resolve() / "postgres")
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == here]


def test_it_accepts_connections_of_sqlalchemy_and_of_libpq(running: Embedded) -> None:
    engine = create_engine(running.url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT current_database()")) == "weighhouse"
    engine.dispose()
    with connect(running.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_what_is_acknowledged_survives_and_damage_is_noticed(running: Embedded) -> None:
    with connect(running.url) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)


def test_the_extensions_can_be_made_by_the_owner_who_is_no_superuser(running: Embedded) -> None:
    with connect(running.url) as connection:
        for extension in ("pg_trgm", "btree_gin", "fuzzystrmatch", "unaccent"):
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)


def test_letters_of_every_alphabet_have_a_lower_case_and_trigrams(running: Embedded) -> None:
    with connect(running.url) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        row = connection.execute("SELECT lower('ÄΩЖ'), similarity('модель', 'модели') > 0.5").fetchone()
        assert row == ("äωж", True)


def test_nobody_else_can_reach_it(running: Embedded, data_dir: Path) -> None:
    connections = psutil.Process(running.pid).net_connections("inet")
    assert connections == []
    for path in (data_dir / "postgres", data_dir / "postgres-password", data_dir / "log"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    with pytest.raises(psycopg.OperationalError):
        connect(running.url.replace("//weighhouse:", "//weighhouse:x"))
    with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
        connect(running.url.replace("//weighhouse:", "//postgres:"))


def test_it_is_told_no_secret_of_the_server(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHHOUSE_HF_TOKEN", "hf_secret")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    database = embedded.start(data_dir)
    environment = psutil.Process(database.pid).environ()
    database.stop()
    assert not {"WEIGHHOUSE_HF_TOKEN", "PGDATA"} & environment.keys()


def test_stop_leaves_no_process_and_the_data_is_there_at_the_next_start(data_dir: Path) -> None:
    first = embedded.start(data_dir)
    with connect(first.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()
    first.stop()
    assert first.poll() == 0
    assert processes_in(data_dir) == []

    second = embedded.start(data_dir)
    with connect(second.url) as connection:
        assert connection.execute("TABLE kept").fetchone() == (42,)
    second.stop()


def test_a_killed_postmaster_is_replaced_even_while_a_query_runs(data_dir: Path) -> None:
    first = embedded.start(data_dir)
    with connect(first.url) as connection:
        connection.execute("CREATE TABLE acknowledged AS SELECT generate_series(1, 1000) AS number")
    # It spins without ever looking whether its postmaster lives.
    busy = psycopg.connect(first.url.replace("+psycopg", ""))
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000)")
    os.kill(first.pid, signal.SIGKILL)
    while first.poll() is None:
        time.sleep(0.01)

    second = embedded.start(data_dir)
    with connect(second.url) as connection:
        assert connection.execute("SELECT count(*) FROM acknowledged").fetchone() == (1000,)
    second.stop()
    busy.close()
    assert processes_in(data_dir) == []


def test_what_a_killed_server_left_running_is_ended_and_started_anew(data_dir: Path) -> None:
    code = "import os, sys; from pathlib import Path; from weighhouse.store.embedded import start;"
    code += "print(start(Path(sys.argv[1])).pid, flush=True); os._exit(9)"
    server = subprocess.run([sys.executable, "-c", code, data_dir], check=False, stdout=subprocess.PIPE, text=True)
    assert server.returncode == 9
    left_over = int(server.stdout)
    assert psutil.pid_exists(left_over)

    database = embedded.start(data_dir)
    assert not psutil.pid_exists(left_over)
    assert embedded.running_url(data_dir) == database.url
    database.stop()


def test_a_stranger_who_got_the_number_of_the_old_postmaster_does_not_matter(data_dir: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    embedded.start(data_dir).stop()
    (data_dir / "postgres" / "postmaster.pid").write_text(f"{stranger.pid}\n{data_dir / 'postgres'}\n0\n5432\n\n\n")
    embedded.start(data_dir).stop()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_lost_password_file_is_made_anew(data_dir: Path) -> None:
    embedded.start(data_dir).stop()
    (data_dir / "postgres-password").unlink()
    with pytest.raises(DatabaseFailed, match="no embedded database"):
        embedded.database_url(data_dir)
    embedded.start(data_dir).stop()


def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    # Neither is a comma, at which libpq parts several hosts.
    deep = tmp_path / ("long, " + "x" * 100)
    database = embedded.start(deep)
    with connect(database.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    database.stop()
    folder = Path(str(make_url(database.url).query["host"]))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_a_socket_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    monkeypatch.setattr(embedded, "_socket_dir", lambda _: tmp_path / "link")
    with pytest.raises(DatabaseFailed, match="belongs to another user"):
        embedded.start(data_dir)


def test_what_was_half_made_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres-unfinished-killed"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    embedded.start(tmp_path).stop()
    assert not half.exists()


def test_a_database_that_cannot_start_says_why(tmp_path: Path, data_dir: Path) -> None:
    embedded.start(data_dir).stop()
    configuration = data_dir / "postgres" / "postgresql.conf"
    before = configuration.read_text()
    configuration.write_text("no_such_setting = on\n")
    try:
        with pytest.raises(DatabaseFailed, match="no_such_setting"):
            embedded.start(data_dir)
    finally:
        configuration.write_text(before)


def test_a_database_that_could_lose_data_does_not_start(data_dir: Path) -> None:
    database = embedded.start(data_dir)
    with connect(database.url) as connection:
        connection.execute("ALTER ROLE weighhouse SET synchronous_commit = off")
    database.stop()
    with pytest.raises(DatabaseFailed, match="synchronous_commit off"):
        embedded.start(data_dir)
    cluster.single_user(data_dir / "postgres", cluster.unprivileged(), "ALTER ROLE weighhouse RESET ALL")
    embedded.start(data_dir).stop()


def test_waiting_can_be_given_up(data_dir: Path) -> None:
    with pytest.raises(DatabaseFailed):
        embedded.start(data_dir, cancelled=lambda: True)
    assert processes_in(data_dir) == []


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseFailed, match="cannot be started in"):
        embedded.start(tmp_path / "file")


def test_root_without_user_namespaces_is_told_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(cluster.RootNotPossible, match="ordinary user, or set WEIGHHOUSE_DATABASE_URL"):
        cluster.unprivileged()
