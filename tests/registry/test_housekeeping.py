"""Sweeps against uploads of the same content: whatever comes first, what is published is whole."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.make import zip_of
from tests.registry.shelf import admin, caller, publish, upload
from weighhouse.app import App
from weighhouse.registry import housekeeping
from weighhouse.registry.evidence_cache import DatabaseCache
from weighhouse.registry.holding import blobs_held
from weighhouse.registry.housekeeping import (
    KEPT_EVIDENCE,
    sweep,
    sweep_idle,
    sweep_unrecorded,
    sweepable_blobs,
)
from weighhouse.registry.packages import delete_package, describe_package
from weighhouse.registry.record import VersionExists
from weighhouse.registry.upload import FieldInvalid, Intake, UploadForm
from weighhouse.rules.permissions import Caller
from weighhouse.store.tables import CachedEvidence, Token


def files_in(registry: App, folder: str) -> list[Path]:
    return [path for path in (registry.settings.data_dir / "store" / folder).rglob("*") if path.is_file()]


def is_whole(registry: App, who: Caller, package_id: object) -> bool:
    with registry.db.read() as tx:
        files = describe_package(tx, who, package_id).files  # type: ignore[arg-type]  # an id
    for file in files:
        assert sum(map(len, registry.blobs.read(str(file["sha256"])))) == file["size_bytes"]
    return bool(files)


def _race(registry: App, rounds: int) -> None:
    """Deletes one package while another with the same file is uploaded, and sweeps all the while."""
    who, root = caller(registry, "ada"), admin(registry)
    stop = threading.Event()
    trouble: list[Exception] = []

    def keep_sweeping() -> None:
        while not stop.is_set():
            try:
                sweep_idle(registry)
            except Exception as error:
                trouble.append(error)
                return

    sweeper = threading.Thread(target=keep_sweeping)
    sweeper.start()
    try:
        previous = publish(registry, who, "m0", files={"a.txt": "the same"})
        for number in range(1, rounds):
            made: list[object] = []
            uploading = threading.Thread(
                target=lambda n=number, made=made: made.append(
                    publish(registry, who, f"m{n}", files={"b.txt": "the same"})
                )
            )
            uploading.start()
            delete_package(registry, root, previous)
            uploading.join()
            assert made, f"round {number}"
            assert is_whole(registry, who, made[0]), f"round {number}"
            previous = made[0]  # type: ignore[assignment]  # an id
    finally:
        stop.set()
        sweeper.join()
    assert not trouble


def test_a_file_that_is_swept_while_it_is_uploaded_again_is_there_afterwards(registry: App) -> None:
    _race(registry, 60)


@pytest.mark.long
def test_a_file_that_is_swept_while_it_is_uploaded_again_is_there_after_many_rounds(registry: App) -> None:
    _race(registry, 1000)


def test_a_sweep_between_keeping_and_recording_does_no_harm(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    first = publish(registry, who, "one", files={"a.txt": "the same"})
    with Intake(registry, who) as intake:
        # Staged while the blob is there, and not flushed for that reason.
        intake.feed(zip_of({"b.txt": "the same"}))
        delete_package(registry, root, first)
        assert files_in(registry, "blobs") == []
        second = intake.finish(UploadForm(name="two", version="1.0.0")).package.id
    assert is_whole(registry, who, second)
    assert files_in(registry, "staging") == []


def test_a_sweep_takes_what_nobody_recorded_and_only_what_is_old(registry: App) -> None:
    who = caller(registry, "ada")
    kept = publish(registry, who, "one")
    with registry.blobs.stage() as staging:
        staging.write(b"an upload died here")
        staged = staging.finish()
    registry.blobs.adopt(staged)
    with registry.blobs.stage() as staging:
        staging.write(b"and another here")
        staging.finish()
    assert (len(files_in(registry, "blobs")), len(files_in(registry, "staging"))) == (2, 2)
    sweep(registry)
    assert (len(files_in(registry, "blobs")), len(files_in(registry, "staging"))) == (2, 2)
    sweep(registry, grace=timedelta(seconds=-1))
    assert (len(files_in(registry, "blobs")), len(files_in(registry, "staging"))) == (1, 0)
    assert is_whole(registry, who, kept)


def _sweep_beside_uploads(registry: App, rounds: int) -> None:
    """Sweeps what has no row yet, however young, while uploads are under way."""
    who = caller(registry, "ada")
    stop = threading.Event()
    trouble: list[Exception] = []

    def keep_sweeping() -> None:
        while not stop.is_set():
            try:
                sweep_idle(registry)
                sweep_unrecorded(registry, datetime.now(UTC) + timedelta(seconds=1))
            except Exception as error:
                trouble.append(error)
                return

    sweeper = threading.Thread(target=keep_sweeping)
    sweeper.start()
    try:
        for number in range(rounds):
            assert is_whole(registry, who, publish(registry, who, f"m{number}")), f"round {number}"
    finally:
        stop.set()
        sweeper.join()
    assert not trouble


def test_a_sweep_beside_an_upload_spares_it(registry: App) -> None:
    _sweep_beside_uploads(registry, 40)


@pytest.mark.long
def test_a_sweep_beside_uploads_spares_them_in_many_rounds(registry: App) -> None:
    _sweep_beside_uploads(registry, 1000)


def test_no_blob_goes_while_a_backup_holds_them_and_each_goes_with_the_next_sweep(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    package_id = publish(registry, who, "one")
    with registry.blobs.stage() as staging:
        staging.write(b"an upload died here")
        registry.blobs.adopt(staging.finish())
    with registry.db.alone() as connection, blobs_held(connection):
        delete_package(registry, root, package_id)
        sweep(registry, grace=timedelta(seconds=-1))
        assert len(files_in(registry, "blobs")) == 2
    sweep(registry, grace=timedelta(seconds=-1))
    assert files_in(registry, "blobs") == []


def test_what_a_sweep_would_remove_is_told_and_stays(registry: App) -> None:
    publish(registry, caller(registry, "ada"), "one")
    with registry.blobs.stage() as staging:
        staging.write(b"an upload died here")
        staged = staging.finish()
    registry.blobs.adopt(staged)
    assert list(sweepable_blobs(registry)) == []
    assert list(sweepable_blobs(registry, grace=timedelta(seconds=-1))) == [(staged.sha256, 19)]
    assert len(files_in(registry, "blobs")) == 2


def test_tokens_that_have_ended_are_forgotten_a_day_later(registry: App) -> None:
    who = caller(registry, "ada")
    with registry.db.write() as tx:
        tx.get_one(Token, who.token_id).expires_at = datetime.now(UTC) - timedelta(days=2)
    sweep(registry)
    with registry.db.read() as tx:
        assert tx.get(Token, who.token_id) is None


def test_answers_of_sources_are_kept_within_time_and_bytes(registry: App, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DatabaseCache(registry.db)
    for number in range(4):
        cache.put(str(number), None, bytes(1000))
        with registry.db.write() as tx:
            used_at = datetime.now(UTC) - (timedelta(days=4 - number) if number else KEPT_EVIDENCE + timedelta(days=1))
            tx.execute(update(CachedEvidence).where(CachedEvidence.key == str(number)).values(used_at=used_at))
    sweep(registry)
    assert [cache.get(str(number)) is not None for number in range(4)] == [False, True, True, True]
    with registry.db.write() as tx:
        tx.execute(update(CachedEvidence).where(CachedEvidence.key == "2").values(used_at=datetime.now(UTC)))
        tx.execute(
            update(CachedEvidence).where(CachedEvidence.key != "2").values(used_at=datetime(2026, 1, 1, tzinfo=UTC))
        )
        tx.execute(update(CachedEvidence).where(CachedEvidence.key == "3").values(used_at=datetime.now(UTC)))
    monkeypatch.setattr(housekeeping, "MAX_EVIDENCE_BYTES", 2500)
    sweep(registry)
    assert [cache.get(str(number)) is not None for number in range(4)] == [False, False, True, True]


def test_a_failed_upload_leaves_nothing_in_staging(registry: App) -> None:
    who = caller(registry, "ada")
    publish(registry, who, "one")
    with pytest.raises(VersionExists):
        upload(registry, who, "one")
    with Intake(registry, who) as intake:
        intake.feed(zip_of({"a.txt": "x"}))
        with pytest.raises(FieldInvalid):
            intake.finish(UploadForm(version="1.0.0"))
    with Intake(registry, who) as intake:
        intake.feed(zip_of({"a.bin": bytes(100_000)})[:60])
    assert files_in(registry, "staging") == []
