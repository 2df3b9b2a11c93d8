"""A reset against everything that may be under way."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from tests.make import zip_of
from tests.registry.shelf import admin, at_once, caller, publish, rows, upload
from weighhouse.app import App
from weighhouse.registry.accounts import TokenRefused
from weighhouse.registry.downloads import offer_download
from weighhouse.registry.evaluate import run_evaluation
from weighhouse.registry.housekeeping import sweep, sweep_idle
from weighhouse.registry.packages import describe_package
from weighhouse.registry.record import Recorded
from weighhouse.registry.reset import ResetForbidden, reset_registry
from weighhouse.registry.upload import Intake, UploadForm
from weighhouse.rules.errors import RegistryError
from weighhouse.rules.permissions import PermissionMissing
from weighhouse.store.tables import AuditEntry, Token, User


def blobs(registry: App) -> list[Path]:
    return [path for path in (registry.settings.data_dir / "store" / "blobs").rglob("*") if path.is_file()]


def test_a_reset_leaves_the_default_admin_the_callers_token_and_the_record_of_it(registry: App) -> None:
    who, root, other_session = caller(registry, "ada"), admin(registry), admin(registry)
    package_id = publish(registry, who, "bert")
    offer_download(registry, who, package_id, (), address=None, agent=None)
    reset_registry(registry, root)
    with registry.db.read() as tx:
        assert [user.username for user in tx.scalars(select(User))] == ["admin"]
        assert [token.id for token in tx.scalars(select(Token))] == [root.token_id]
        for table in ("packages", "files", "package_names", "taken_versions", "ratings", "download_history", "lineage"):
            assert tx.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table
        actions = [entry.action for entry in tx.scalars(select(AuditEntry).order_by(AuditEntry.id))]
        assert actions[-1] == "reset registry"
        assert tx.scalar(text("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'")) == 1
    assert other_session.token_id != root.token_id
    sweep_idle(registry)
    assert blobs(registry) == []
    # What was left behind of it does nothing.
    run_evaluation(registry, package_id, 1)
    assert rows(registry) == []
    publish(registry, root, "bert")


def test_a_reset_needs_an_admin_and_the_operators_leave(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    publish(registry, who, "bert")
    with pytest.raises(PermissionMissing):
        reset_registry(registry, who)
    registry.settings.allow_reset = False
    with pytest.raises(ResetForbidden):
        reset_registry(registry, root)
    assert len(rows(registry)) == 1


def test_an_upload_under_way_fails_or_lands_in_the_new_generation_whole(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    with Intake(registry, who) as of_a_user, Intake(registry, root) as of_the_admin:
        for intake in (of_a_user, of_the_admin):
            intake.feed(zip_of({"a.txt": "under way"}))
        reset_registry(registry, root)
        sweep_idle(registry)
        with pytest.raises(TokenRefused):
            of_a_user.finish(UploadForm(name="one", version="1.0.0"))
        package = of_the_admin.finish(UploadForm(name="two", version="1.0.0")).package
    assert [row.id for row in rows(registry)] == [package.id]
    with registry.db.read() as tx:
        [file] = describe_package(tx, root, package.id).files
    assert b"".join(registry.blobs.read(str(file["sha256"]))) == b"under way"


def test_resets_among_uploads_and_downloads_end_in_answers_of_the_registry(registry: App) -> None:
    root = admin(registry)
    stop = threading.Event()
    outcomes: list[Any] = []

    def keep(work: Callable[[int], Any]) -> None:
        for number in range(100_000):
            if stop.is_set():
                return
            try:
                outcomes.append(work(number))
            except Exception as error:
                outcomes.append(error)

    def look(_: int) -> object:
        for package in rows(registry)[:2]:
            offer_download(registry, root, package.id, (), address=None, agent=None)
        return None

    works = [lambda n, w=w: upload(registry, root, f"m{w}", f"1.0.{n}") for w in range(3)] + [look]
    threads = [threading.Thread(target=keep, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            stop.wait(0.2)
            reset_registry(registry, root)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    strange = [one for one in outcomes if isinstance(one, Exception) and not isinstance(one, RegistryError)]
    assert not strange, strange[:3]
    assert sum(isinstance(one, Recorded) for one in outcomes) > 8
    sweep(registry, grace=timedelta(seconds=-1))
    with registry.db.read() as tx:
        held = tx.scalar(text("SELECT count(DISTINCT sha256) FROM files"))
        for package in rows(registry):
            for file in describe_package(tx, root, package.id).files:
                assert registry.blobs.size(str(file["sha256"])) == file["size_bytes"]
    assert len(blobs(registry)) == held


def test_two_resets_at_once_are_fine(registry: App) -> None:
    root, deputy = admin(registry), admin(registry)
    publish(registry, root, "bert")
    outcomes = at_once([lambda: reset_registry(registry, root), lambda: reset_registry(registry, deputy)])
    assert sorted(map(type, outcomes), key=str) == sorted([TokenRefused, type(None)], key=str), outcomes
    with registry.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(User)) == 1
        winner = (root, deputy)[outcomes.index(None)]
        assert [token.id for token in tx.scalars(select(Token))] == [winner.token_id]
        assert rows(registry) == []
