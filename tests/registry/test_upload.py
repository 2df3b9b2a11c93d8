"""Whose a name is, what stays taken, and that one of many wins."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from tests.make import zip_of
from tests.registry.shelf import admin, at_once, caller, publish, rows, upload
from weighhouse.app import App
from weighhouse.registry.accounts import TokenRefused, delete_user
from weighhouse.registry.confusion import NameConfusing
from weighhouse.registry.housekeeping import sweep
from weighhouse.registry.packages import delete_package, describe_package
from weighhouse.registry.record import NameOwned, NamespaceOwned, VersionExists
from weighhouse.registry.upload import Intake, UploadForm
from weighhouse.rules.permissions import Permission, PermissionMissing
from weighhouse.store.tables import AuditEntry, Blob, ConfusionAudit, PackageFile, TakenVersion


def test_of_forty_uploads_of_one_version_exactly_one_wins(registry: App) -> None:
    who = caller(registry, "ada")
    contents = [f"content {number}" for number in range(40)]

    def work(content: str) -> object:
        return upload(registry, who, "bert", files={"a.txt": content}).package

    outcomes = at_once([partial(work, content) for content in contents])
    refused = [outcome for outcome in outcomes if isinstance(outcome, VersionExists)]
    won = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
    assert (len(won), len(refused)) == (1, 39), outcomes
    [package] = rows(registry)
    with registry.db.read() as tx:
        description = describe_package(tx, who, package.id)
    [file] = description.files
    assert b"".join(registry.blobs.read(str(file["sha256"]))).decode() == contents[won[0]]
    sweep(registry, grace=timedelta())
    root = registry.settings.data_dir / "store"
    assert len([path for path in (root / "blobs").rglob("*") if path.is_file()]) == 1
    assert not list((root / "staging").iterdir())


def test_of_many_first_uploads_of_a_name_one_user_owns_it(registry: App) -> None:
    people = [caller(registry, f"user{number}") for number in range(8)]
    outcomes = at_once([partial(upload, registry, who, "bert", f"1.0.{n}") for n, who in enumerate(people)])
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert all(isinstance(outcome, NameOwned) for outcome in outcomes if isinstance(outcome, Exception))


def test_names_differ_by_more_than_letter_case_and_keep_their_first_spelling(registry: App) -> None:
    who = caller(registry, "ada")
    publish(registry, who, "BERT")
    with pytest.raises(VersionExists):
        upload(registry, who, "bert")
    assert upload(registry, who, "Bert", "2.0.0").package.name == "BERT"


def test_versions_differ_by_letter_case_and_build(registry: App) -> None:
    who = caller(registry, "ada")
    for version in ("1.0.0-A", "1.0.0-a", "1.0.0", "1.0.0+b", "1.0", "1.00", "v1"):
        publish(registry, who, "bert", version)
    assert len(rows(registry)) == 7


def test_a_deleted_version_stays_taken_and_its_name_with_its_owner(registry: App) -> None:
    who, stranger, root = caller(registry, "ada"), caller(registry, "bob"), admin(registry)
    delete_package(registry, root, publish(registry, who, "bert"))
    with pytest.raises(VersionExists, match="stays taken"):
        upload(registry, who, "bert")
    with pytest.raises(NameOwned):
        upload(registry, stranger, "bert", "2.0.0")
    publish(registry, root, "bert", "2.0.0")
    delete_package(registry, root, publish(registry, who, "bert", "3.0.0"), release=True)
    assert publish(registry, who, "bert", "3.0.0")


def test_a_name_without_an_owner_belongs_to_admins(registry: App) -> None:
    who, stranger, root = caller(registry, "ada"), caller(registry, "bob"), admin(registry)
    package_id = publish(registry, who, "bert")
    with registry.db.write() as tx:
        delete_user(tx, who, who.user_id)
    namesake = caller(registry, "ada")
    for other in (stranger, namesake):
        with pytest.raises(NameOwned):
            upload(registry, other, "bert", "2.0.0")
    publish(registry, root, "bert", "2.0.0")
    assert next(package for package in rows(registry) if package.id == package_id).uploader_id is None


def test_a_namespace_is_its_users_and_free_while_nobody_is_called_so(registry: App) -> None:
    ada, bob, root = caller(registry, "ada"), caller(registry, "bob"), admin(registry)
    publish(registry, ada, "Ada/bert")
    publish(registry, bob, "team/bert")
    publish(registry, root, "bob/by-admin")
    with pytest.raises(NamespaceOwned):
        upload(registry, bob, "ADA/other")
    with pytest.raises(NameOwned):
        upload(registry, ada, "team/bert", "2.0.0")
    # Whoever comes later and is called so does not take what is there.
    team = caller(registry, "team")
    with pytest.raises(NameOwned):
        upload(registry, team, "team/bert", "3.0.0")
    publish(registry, team, "team/other")


def test_who_may_not_upload_does_not_begin(registry: App) -> None:
    reader = caller(registry, "ada", Permission.SEARCH, Permission.DOWNLOAD)
    with pytest.raises(PermissionMissing):
        Intake(registry, reader)


def test_an_upload_whose_user_was_deleted_meanwhile_fails_whole(registry: App) -> None:
    who = caller(registry, "ada")
    with Intake(registry, who) as intake:
        intake.feed(zip_of({"a.txt": "x"}))
        with registry.db.write() as tx:
            delete_user(tx, who, who.user_id)
        with pytest.raises(TokenRefused):
            intake.finish(UploadForm(name="bert", version="1.0.0"))
    assert rows(registry) == []
    with registry.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(TakenVersion)) == 0


def test_a_refused_upload_leaves_no_row(registry: App) -> None:
    who, stranger = caller(registry, "ada"), caller(registry, "bob")
    publish(registry, who, "bert")
    with registry.db.read() as tx:
        before = [tx.scalar(select(func.count()).select_from(table)) for table in (Blob, PackageFile, TakenVersion)]
    for name, version in (("bert", "1.0.0"), ("bert", "2.0.0"), ("ada/x", "1.0.0")):
        with pytest.raises((NameOwned, NamespaceOwned)):
            upload(registry, stranger, name, version)
    with registry.db.read() as tx:
        after = [tx.scalar(select(func.count()).select_from(table)) for table in (Blob, PackageFile, TakenVersion)]
    assert before == after


def test_a_look_alike_is_put_on_record_and_refused_where_the_operator_wants_it(registry: App) -> None:
    ada, bob, root = caller(registry, "ada"), caller(registry, "bob"), admin(registry)
    publish(registry, ada, "bert-base")
    assert [found.existing for found in upload(registry, bob, "bert_base").lookalikes] == ["bert-base"]
    registry.settings.confusion_block = "medium"
    with pytest.raises(NameConfusing):
        upload(registry, bob, "bert.base")
    # One's own names may be alike.
    assert upload(registry, ada, "bert-base-large-uncased").package
    assert upload(registry, ada, "bert-base-large-uncase").package
    publish(registry, root, "bertbase")
    with registry.db.read() as tx:
        noticed = tx.scalars(select(ConfusionAudit).order_by(ConfusionAudit.id)).all()
    assert ("bert.base", True) in [(row.name, row.is_blocked) for row in noticed]
    assert noticed[0].uploader_id == bob.user_id


def test_the_same_bytes_are_kept_once_whoever_brings_them(registry: App) -> None:
    ada, bob, root = caller(registry, "ada"), caller(registry, "bob"), admin(registry)
    weights = b"the same weights" * 1000
    first = publish(registry, ada, "one", files={"model.bin": weights, "README.md": "# One"})
    second = publish(registry, bob, "two", files={"model.bin": weights, "copy/model.bin": weights})
    kept = [path for path in (registry.settings.data_dir / "store" / "blobs").rglob("*") if path.is_file()]
    assert len(kept) == 2
    delete_package(registry, root, first)
    with registry.db.read() as tx:
        files = describe_package(tx, bob, second).files
    assert all(b"".join(registry.blobs.read(str(file["sha256"]))) == weights for file in files)


def test_what_was_done_is_on_record(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    delete_package(registry, root, publish(registry, who, "bert"))
    with registry.db.read() as tx:
        entries = [(entry.actor, entry.action, entry.subject) for entry in tx.scalars(select(AuditEntry))]
    assert ("ada", "upload package", "package bert 1.0.0") in entries
    assert ("admin", "delete package", "package bert 1.0.0") in entries
