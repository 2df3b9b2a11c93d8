"""Backups by use-case: what a store that cannot be linked to is copied as, what is lacking, who comes second."""

import contextlib
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Place, place_in
from tests.doors.rest import sha256
from tests.registry.shelf import caller, upload
from tests.swift_server import SwiftServer
from weighhouse.app import App
from weighhouse.registry.backup import make_backup
from weighhouse.registry.backup_folder import BackupUnusable, find_backup, unfinished
from weighhouse.registry.holding import BackupUnderWay
from weighhouse.registry.integrity import verify_registry
from weighhouse.registry.restore import RegistryInUse, restore_backup
from weighhouse.store.blobs import blob_key
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.database import Database, libpq_url, normal_url


@pytest.fixture
def in_bucket(registry: App, place: Place) -> Iterator[App]:
    """The same registry with its files in a bucket."""
    assert registry.settings.database_url is not None
    with S3Blobs(place.open()) as blobs:
        app = App(registry.settings, Database(registry.settings.database_url), blobs)
        yield app
        app.db.close()


def test_blobs_of_a_bucket_are_copied_and_a_damaged_one_is_named_and_left_out(
    in_bucket: App, place: Place, tmp_path: Path
) -> None:
    upload(in_bucket, caller(in_bucket, "ada"), "one", files={"a.txt": "the content", "b.txt": "another one"})
    with contextlib.closing(place.open()) as bucket:
        bucket.put(blob_key(sha256(b"the content")), b"the c0ntent")
    made = make_backup(in_bucket, tmp_path / "backups")
    assert made.backup.summary.lacking == [sha256(b"the content")]
    assert made.backup.blob(sha256(b"another one")).read_bytes() == b"another one"
    assert (made.new_blobs, made.new_bytes) == (1, 11)
    with contextlib.closing(place.open()) as bucket:
        bucket.put(blob_key(sha256(b"the content")), b"the content")
    healed = make_backup(in_bucket, tmp_path / "backups")
    assert (healed.new_blobs, healed.backup.summary.lacking) == (1, [])


@pytest.fixture
def empty_url(postgres: str) -> Iterator[str]:
    """A database without any table."""
    name = f"empty_{secrets.token_hex(4)}"
    with psycopg.connect(libpq_url(normal_url(postgres)), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        yield normal_url(postgres).set(database=name).render_as_string(hide_password=False)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.mark.parametrize("with_blobs", [True, False])
def test_a_registry_on_a_database_and_a_bucket_of_its_own_comes_back(
    in_bucket: App,
    place: Place,
    empty_url: str,
    whole_bucket: str,
    bucket_server: SwiftServer,
    tmp_path: Path,
    with_blobs: bool,
) -> None:
    upload(in_bucket, caller(in_bucket, "ada"), "one", files={"a.txt": "the content", "b.txt": "another one"})
    made = make_backup(in_bucket, tmp_path / "backups", with_blobs=with_blobs)
    assert (tmp_path / "backups" / "blobs").exists() == with_blobs
    settings = in_bucket.settings.model_copy(update={"database_url": empty_url})
    there = place_in(whole_bucket, bucket_server) if with_blobs else place
    with S3Blobs(there.open()) as blobs, contextlib.closing(Database(empty_url)) as database:
        back = App(settings, database, blobs)
        restored = restore_backup(back, made.backup)
        assert (restored.packages, restored.blobs, restored.lacking, restored.contradictions) == (1, 2, [], [])
        report = verify_registry(back)
        assert (report.is_clean, report.blobs_checked, report.bytes_read) == (True, 2, 22)


def test_nobody_but_its_owner_can_read_a_backup(registry: App, tmp_path: Path) -> None:
    made = make_backup(registry, tmp_path / "backups")
    for path in (made.backup.path.parent, *made.backup.path.parent.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_one_backup_at_a_time_is_written_into_a_folder(registry: App, tmp_path: Path) -> None:
    with unfinished(tmp_path / "backups"), pytest.raises(BackupUnderWay):
        make_backup(registry, tmp_path / "backups")


def test_a_backup_that_fails_leaves_nothing(registry: App, tmp_path: Path) -> None:
    upload(registry, caller(registry, "ada"), "one", files={"a.txt": "the content"})
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "blobs").write_text("no folder can be made here")
    with pytest.raises(Exception, match="could not be written"):
        make_backup(registry, folder)
    assert [path.name for path in folder.iterdir()] == ["blobs"]
    with pytest.raises(BackupUnusable, match="holds no backup"):
        find_backup(folder)


def test_a_database_with_tables_is_not_restored_into(registry: App, tmp_path: Path) -> None:
    made = make_backup(registry, tmp_path / "backups")
    with pytest.raises(RegistryInUse, match="database holds tables"):
        restore_backup(registry, made.backup)


def test_a_backup_of_a_later_release_is_refused(registry: App, tmp_path: Path) -> None:
    made = make_backup(registry, tmp_path / "backups")
    later = made.backup._replace(summary=made.backup.summary.model_copy(update={"schema_revision": "9999"}))
    with pytest.raises(BackupUnusable, match="later than this release"):
        restore_backup(registry, later)
