"""Describe, release and delete, alone and while others do the same."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tests.conftest import eventually
from tests.registry.shelf import admin, at_once, caller, publish, rows
from weighhouse.app import App
from weighhouse.registry.accounts import TokenRefused, UserNotFound, delete_user, set_permissions
from weighhouse.registry.downloads import offer_download
from weighhouse.registry.evaluate import request_evaluation, run_evaluation
from weighhouse.registry.packages import delete_package, describe_package, list_files, release_package
from weighhouse.registry.ratings import rate_package
from weighhouse.registry.visible import PackageNotFound
from weighhouse.rules.errors import RegistryError
from weighhouse.rules.permissions import Caller


def test_a_description_costs_one_statement(registry: App, statements: list[str]) -> None:
    who = caller(registry, "ada")
    files = {f"f{number}.txt": f"{number}" for number in range(30)} | {"README.md": "---\nbase_model: a/b\n---\n# X"}
    package_id = publish(registry, who, "bert", files=files)
    run_evaluation(registry, package_id, 1)
    statements.clear()
    with registry.db.read() as tx:
        description = describe_package(tx, who, package_id)
    assert len(statements) == 1, statements
    assert len(description.files) == 31
    assert description.metrics
    assert [parent["name"] for parent in description.parents] == ["a/b"]
    statements.clear()
    with registry.db.read() as tx:
        assert len(list_files(tx, who, package_id, limit=10).rows) == 10
    assert len(statements) <= 2, statements


def while_it_goes(registry: App, change: str, work: Callable[[], Any]) -> Any:
    """What `work` gives or raises when what it needs is changed between its first look and its last write."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)

    with registry.db.write() as tx:
        tx.execute(text(change))
        thread = threading.Thread(target=run)
        thread.start()

        def is_waiting_or_done() -> bool:
            with registry.db.read() as other:
                return bool(outcome) or bool(
                    other.scalar(
                        text(
                            "SELECT count(*) FROM pg_stat_activity "
                            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                        )
                    )
                )

        eventually(is_waiting_or_done, 10)
    thread.join()
    return outcome[0]


_DELETE_PACKAGE, _DELETE_USER = "DELETE FROM packages", "DELETE FROM users WHERE NOT is_default"


@pytest.mark.parametrize("what", ["download", "rate", "evaluate", "release", "delete"])
def test_a_package_that_goes_in_the_middle_is_not_found(registry: App, what: str) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    package_id = publish(registry, who, "bert")
    with registry.db.write() as tx:
        if what == "release":
            tx.execute(text("UPDATE packages SET verdict = 'unsafe'"))
    outcome = while_it_goes(registry, _DELETE_PACKAGE, lambda: _do(registry, what, who, root, package_id))
    assert isinstance(outcome, PackageNotFound), repr(outcome)


def _do(registry: App, what: str, who: Caller, root: Caller, package_id: UUID) -> object:
    if what == "download":
        return offer_download(registry, who, package_id, (), address=None, agent=None)
    if what == "delete":
        return delete_package(registry, root, package_id)
    with registry.db.write() as tx:
        if what == "rate":
            return rate_package(tx, who, package_id, 3)
        if what == "evaluate":
            return request_evaluation(tx, who, package_id)
        return release_package(tx, root, package_id, "Looked at.")


@pytest.mark.parametrize("what", ["download", "rate"])
def test_a_caller_who_goes_in_the_middle_is_nobody(registry: App, what: str) -> None:
    who, guest, root = caller(registry, "ada"), caller(registry, "bob"), admin(registry)
    package_id = publish(registry, who, "bert")
    change = "DELETE FROM users WHERE username = 'bob'"
    outcome = while_it_goes(registry, change, lambda: _do(registry, what, guest, root, package_id))
    assert isinstance(outcome, TokenRefused), repr(outcome)


def test_a_user_who_goes_in_the_middle_is_not_found(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)

    def permit() -> object:
        with registry.db.write() as tx:
            return set_permissions(tx, root, who.user_id, ["search"])

    assert isinstance(while_it_goes(registry, _DELETE_USER, permit), UserNotFound)

    someone = caller(registry, "bob")

    def remove() -> object:
        with registry.db.write() as tx:
            return delete_user(tx, root, someone.user_id)

    assert isinstance(while_it_goes(registry, _DELETE_USER, remove), UserNotFound)


def test_of_many_deletes_one_finds_the_package(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    package_id = publish(registry, who, "bert")
    outcomes = at_once([lambda: delete_package(registry, root, package_id)] * 6)
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, PackageNotFound) for outcome in outcomes) == 5


def test_mixed_work_on_one_package_ends_in_answers_of_the_registry(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    for number in range(4):
        package_id = publish(registry, who, "bert", f"1.0.{number}")
        works: list[Callable[[], Any]] = []
        for what in ("download", "rate", "evaluate", "download", "rate", "delete"):
            works.append(partial(_do, registry, what, who, root, package_id))
        works.append(partial(run_evaluation, registry, package_id, 7))
        outcomes = at_once(works)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert all(isinstance(error, PackageNotFound) for error in errors), errors
    assert rows(registry) == []


def test_an_evaluation_of_what_is_gone_writes_nothing(registry: App) -> None:
    began = time.monotonic()
    run_evaluation(registry, uuid4(), 1)
    assert time.monotonic() - began < 20
    assert rows(registry) == []


def test_errors_of_the_registry_say_what_to_do(registry: App) -> None:
    with registry.db.read() as tx, pytest.raises(RegistryError, match="POST /packages"):
        describe_package(tx, admin(registry), uuid4())
