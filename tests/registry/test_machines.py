"""A further machine is one of this registry only with its database, its schema and its store."""

from pathlib import Path

import pytest
from sqlalchemy import text

from weighhouse.app import App
from weighhouse.registry.machines import StoreElsewhere, check_machine
from weighhouse.store.blobs_disk import DiskBlobs
from weighhouse.store.database import SchemaOutdated


def _record(registry: App, *contents: bytes, is_kept: bool) -> None:
    """Blobs as uploads leave them, or as a store without them has them."""
    for content in contents:
        staging = registry.blobs.stage()
        staging.write(content)
        staged = staging.finish()
        if is_kept:
            registry.blobs.adopt(staged)
        registry.blobs.discard(staged)
        with registry.db.write() as tx:
            tx.execute(
                text("INSERT INTO blobs (sha256, size_bytes, crc32) VALUES (decode(:sha256, 'hex'), :size, :crc32)"),
                {"sha256": staged.sha256, "size": staged.size_bytes, "crc32": staged.crc32},
            )


def test_the_store_that_the_files_are_in_will_do_and_one_without_files_too(registry: App) -> None:
    check_machine(registry)
    _record(registry, b"one", b"two", is_kept=True)
    check_machine(registry)


def test_a_store_that_lacks_some_files_is_still_the_right_one(registry: App) -> None:
    _record(registry, b"kept", is_kept=True)
    _record(registry, *(b"lost %d" % number for number in range(10)), is_kept=False)
    check_machine(registry)


def test_a_store_with_none_of_the_files_is_another(registry: App, tmp_path: Path) -> None:
    _record(registry, b"one", b"two", is_kept=True)
    with DiskBlobs(tmp_path / "elsewhere") as empty:
        elsewhere = App(registry.settings, registry.db, empty)
        with pytest.raises(StoreElsewhere, match="WEIGHHOUSE_STORAGE_URL"):
            check_machine(elsewhere)


def test_a_schema_that_is_too_old_will_not_do(registry: App) -> None:
    with registry.db.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(SchemaOutdated):
        check_machine(registry)
