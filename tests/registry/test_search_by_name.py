"""Searches by name alone count names instead of versions, and each total once: the answers are those of counting all."""

import random
import time
from collections import defaultdict
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.registry.shelf import admin, at_once, caller, publish
from weighhouse.app import App
from weighhouse.registry.housekeeping import sweep
from weighhouse.registry.packages import delete_package
from weighhouse.registry.reset import reset_registry
from weighhouse.registry.search import Filters, PackageQuery, list_packages, search_packages
from weighhouse.registry.totals import Counted, totals_of
from weighhouse.rules.permissions import Caller
from weighhouse.rules.versions import version_key

NAMES = ("bert", "Bert-base", "acme/roBERTa", "gpt_2", "albert", "x/y")
PARTS = (None, "*", "ber", "BERT", "_", "%", "/", "a", "gpt_2", "none-such")


@pytest.fixture
def who(registry: App) -> Caller:
    return caller(registry, "ada")


def counts(registry: App) -> tuple[dict[str, int], dict[str, int]]:
    """Listed versions by name: as they are kept, and counted anew."""
    with registry.db.read(snapshot=True) as tx:
        kept = tx.execute(text("SELECT name_key, versions FROM listed_names WHERE versions > 0")).all()
        listed = "verdict <> 'unsafe' OR released_at IS NOT NULL"
        there = tx.execute(text(f"SELECT name_key, count(*) FROM packages WHERE {listed} GROUP BY name_key")).all()
    return {row[0]: row[1] for row in kept}, {row[0]: row[1] for row in there}


def change(registry: App, package_id: UUID, values: str) -> None:
    """What a scan or an admin's release sets."""
    with registry.db.write() as tx:
        tx.execute(text(f"UPDATE packages SET {values} WHERE id = :id"), {"id": package_id})


def total_of(registry: App, who: Caller, part: str | None) -> int:
    """How many versions a search and a listing by this part of the name have found, both saying the same."""
    total = search_packages(registry, who, [PackageQuery(part)], limit=1).total
    assert list_packages(registry, who, Filters(name=part), limit=1).total == total
    return total


def test_the_counts_follow_every_change(registry: App, who: Caller) -> None:
    root = admin(registry)
    first, second = publish(registry, who, "Bert", "1.0.0"), publish(registry, who, "bert", "2.0.0")
    other = publish(registry, who, "gpt")
    for step, expected in (
        (lambda: change(registry, first, "verdict = 'suspicious'"), {"bert": 2, "gpt": 1}),
        (lambda: change(registry, first, "verdict = 'unsafe'"), {"bert": 1, "gpt": 1}),
        (lambda: change(registry, first, "verdict = 'unsafe', net_score = 0.5"), {"bert": 1, "gpt": 1}),
        (lambda: change(registry, first, "released_at = now()"), {"bert": 2, "gpt": 1}),
        (lambda: change(registry, first, "released_at = NULL"), {"bert": 1, "gpt": 1}),
        (lambda: delete_package(registry, root, first), {"bert": 1, "gpt": 1}),
        (lambda: delete_package(registry, root, second, release=True), {"gpt": 1}),
        (lambda: publish(registry, who, "bert", "2.0.0"), {"bert": 1, "gpt": 1}),
        (lambda: delete_package(registry, root, other), {"bert": 1}),
        (lambda: reset_registry(registry, root), {}),
        (lambda: publish(registry, caller(registry, "eve"), "bert"), {"bert": 1}),
    ):
        step()
        kept, there = counts(registry)
        assert kept == there == expected
        # Each of these was counted before the first change, and has been remembered since.
        for part in ("ber", "gp", "*", None):
            matching = [versions for name, versions in expected.items() if part in (None, "*") or part in name]
            assert total_of(registry, who, part) == sum(matching), part


def test_a_total_is_counted_once(registry: App, who: Caller) -> None:
    publish(registry, who, "bert")
    assert total_of(registry, who, "ber") == 1
    counted = totals_of(registry.db).find("%ber%")
    assert counted is not None
    totals_of(registry.db).keep("%ber%", 100, counted.snapshot, counted)
    publish(registry, who, "bert", "2.0.0")
    assert total_of(registry, who, "ber") == 101


def test_a_total_is_counted_anew_after_ten_minutes(registry: App) -> None:
    totals = totals_of(registry.db)
    for minutes, expected in ((9, 5), (11, None)):
        totals.keep("%ber%", 5, "1:1:", Counted(5, "1:1:", time.monotonic() - 60 * minutes))
        counted = totals.find("%ber%")
        assert (counted.total if counted else None) == expected


def test_a_change_that_was_under_way_when_a_total_was_remembered_is_counted(registry: App, who: Caller) -> None:
    publish(registry, who, "bert", "1.0.0")
    hidden = publish(registry, who, "bert", "2.0.0")
    with registry.db.write() as tx:
        tx.execute(text("UPDATE packages SET verdict = 'unsafe' WHERE id = :id"), {"id": hidden})
        # Begins later and ends earlier: its number is beyond that of a transaction that nobody has seen yet.
        publish(registry, who, "albert")
        assert total_of(registry, who, "bert") == 3
    assert total_of(registry, who, "bert") == 2


def test_changes_out_of_another_databases_backup_are_not_counted(registry: App, who: Caller) -> None:
    publish(registry, who, "bert")
    assert total_of(registry, who, "ber") == 1
    with registry.db.write() as tx:
        tx.execute(
            text(
                "INSERT INTO listing_changes (name_key, versions, transaction) "
                "SELECT 'bert', 1, pg_current_xact_id()::text::bigint + 1000000"
            )
        )
    assert total_of(registry, who, "ber") == 1


def test_changes_are_swept_after_a_day(registry: App, who: Caller) -> None:
    first = publish(registry, who, "bert")
    assert total_of(registry, who, "ber") == 1
    with registry.db.write() as tx:
        tx.execute(text("UPDATE listing_changes SET changed_at = now() - interval '25 hours'"))
    change(registry, first, "verdict = 'unsafe'")
    sweep(registry)
    with registry.db.read() as tx:
        assert tx.execute(text("SELECT name_key, versions FROM listing_changes")).all() == [("bert", -1)]
    assert total_of(registry, who, "ber") == 0


def test_versions_published_and_deleted_at_once_are_all_counted(registry: App, who: Caller) -> None:
    root = admin(registry)
    old = [publish(registry, who, name, f"0.{n}.0") for n in range(6) for name in ("bert", "gpt")]
    publishing = [partial(publish, registry, who, name, f"{n}.0.0") for n in range(1, 7) for name in ("bert", "gpt")]
    deleting = [partial(delete_package, registry, root, package_id) for package_id in old]
    # Totals that are remembered in the middle of it have some of the changes and not others.
    searching = [partial(search_packages, registry, who, [PackageQuery(part)]) for part in ("bert", "gpt", "*")] * 4
    at_once([work for works in zip(publishing, deleting, searching, strict=True) for work in works])
    assert counts(registry) == ({"bert": 6, "gpt": 6}, {"bert": 6, "gpt": 6})
    assert [total_of(registry, who, part) for part in ("bert", "gpt", "*")] == [6, 6, 12]


def test_the_answers_are_those_of_looking_at_every_version(registry: App, who: Caller) -> None:
    chance = random.Random(7)
    published: dict[UUID, tuple[str, str]] = {}
    spelled: dict[str, str] = {}
    for name in NAMES:
        for number in chance.sample(range(20), chance.randrange(1, 6)):
            published[publish(registry, who, name, f"1.{number}.0")] = (name, f"1.{number}.0")
            spelled.setdefault(name.lower(), name)
    hidden = set(chance.sample(sorted(published), 4))
    for package_id in hidden:
        change(registry, package_id, "verdict = 'unsafe'")

    by_name: dict[str, list[str]] = defaultdict(list)
    for package_id, (name, version) in published.items():
        if package_id not in hidden:
            by_name[name.lower()].append(version)
    ordered = [
        f"{spelled[key]} {version}"
        for key in sorted(by_name)
        for version in sorted(by_name[key], key=version_key, reverse=True)
    ]
    for _ in range(60):
        parts = chance.choices(PARTS, k=chance.randrange(0, 4))
        expected = [
            one
            for one in ordered
            if not parts or any(part in (None, "*") or part.lower() in one.split()[0].lower() for part in parts)
        ]
        offset, limit = chance.randrange(0, 8), chance.randrange(1, 9)
        page = search_packages(registry, who, [PackageQuery(part) for part in parts], offset=offset, limit=limit)
        assert [f"{one.name} {one.version}" for one in page.packages] == expected[offset : offset + limit], parts
        assert page.total == len(expected), parts
        if len(parts) == 1:
            listing = list_packages(registry, who, Filters(name=parts[0]), sort="name", limit=3)
            assert listing.total == len(expected)
