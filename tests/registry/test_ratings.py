"""One user, one rating, also at the same moment."""

from functools import partial

import pytest

from tests.registry.shelf import at_once, caller, publish
from weighhouse.app import App
from weighhouse.registry.accounts import delete_user
from weighhouse.registry.ratings import InvalidRating, Rated, list_ratings, rate_package
from weighhouse.rules.permissions import Caller, Permission, PermissionMissing


def rate(registry: App, who: Caller, package_id: object, score: int, review: str | None = None) -> Rated:
    with registry.db.write() as tx:
        return rate_package(tx, who, package_id, score, review=review)  # type: ignore[arg-type]  # an id


def test_ratings_at_the_same_moment_count_once_for_each_user(registry: App) -> None:
    package_id = publish(registry, caller(registry, "ada"), "bert")
    people = [caller(registry, f"user{number}") for number in range(4)]
    outcomes = at_once([partial(rate, registry, who, package_id, score) for who in people for score in (1, 5)])
    assert all(isinstance(outcome, Rated) for outcome in outcomes), outcomes
    with registry.db.read() as tx:
        page = list_ratings(tx, people[0], package_id, limit=3)
        rest = list_ratings(tx, people[0], package_id, limit=3, cursor=page.rows[-1].rating.id)
    assert page.total == 4
    assert len({row.username for row in (*page.rows, *rest.rows)}) == 4


def test_a_rating_stays_when_its_user_goes(registry: App) -> None:
    ada, bob = caller(registry, "ada"), caller(registry, "bob")
    package_id = publish(registry, ada, "bert")
    rate(registry, bob, package_id, 2, "Slow.")
    with registry.db.write() as tx:
        delete_user(tx, bob, bob.user_id)
    assert rate(registry, ada, package_id, 4).average_rating == 3.0
    with registry.db.read() as tx:
        assert [row.username for row in list_ratings(tx, ada, package_id).rows] == ["ada", None]


def test_stars_are_one_to_five_and_need_the_permission_to_search(registry: App) -> None:
    ada, guest = caller(registry, "ada"), caller(registry, "bob", Permission.DOWNLOAD)
    package_id = publish(registry, ada, "bert")
    for score in (0, 6, -1):
        with pytest.raises(InvalidRating):
            rate(registry, ada, package_id, score)
    with pytest.raises(InvalidRating):
        rate(registry, ada, package_id, 3, "x" * 10_001)
    with pytest.raises(PermissionMissing):
        rate(registry, guest, package_id, 3)
