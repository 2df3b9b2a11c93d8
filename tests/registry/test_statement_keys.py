"""The keys of statements: one for all servers of a registry, kept when another takes its place."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from weighhouse.app import App
from weighhouse.registry.statement_keys import KeyIsGiven, public_keys, rotate_key, statement_key
from weighhouse.rules.errors import Invalid
from weighhouse.rules.keys import BadKey, key_id, new_key, private_pem
from weighhouse.settings import Settings


def ids(app: App) -> list[str]:
    return [key_id(key) for key in public_keys(app)]


def test_servers_that_need_the_first_key_at_once_share_it(registry: App) -> None:
    with ThreadPoolExecutor(8) as pool:
        used = set(pool.map(lambda _: key_id(statement_key(registry).public_key()), range(16)))
    assert used == set(ids(registry))
    assert len(used) == 1


def test_a_key_that_is_replaced_stays_known(registry: App) -> None:
    first = key_id(statement_key(registry).public_key())
    second = key_id(rotate_key(registry))
    assert key_id(statement_key(registry).public_key()) == second
    third = key_id(rotate_key(registry))
    assert ids(registry) == [third, second, first]


def test_a_key_of_the_operator_goes_before_those_in_the_database(
    registry: App, settings: Settings, tmp_path: Path
) -> None:
    kept = key_id(statement_key(registry).public_key())
    path = tmp_path / "own.pem"
    own = new_key()
    path.write_bytes(private_pem(own))
    other = App.open(settings.model_copy(update={"statement_key": path}))
    try:
        assert key_id(statement_key(other).public_key()) == key_id(own.public_key())
        assert ids(other) == [key_id(own.public_key()), kept]
        with pytest.raises(KeyIsGiven):
            rotate_key(other)
    finally:
        other.close()


def test_a_server_does_not_start_with_a_key_that_cannot_be_used(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    with pytest.raises(Invalid, match="cannot be read"):
        App.open(settings.model_copy(update={"statement_key": path}))
    path.write_text("no key")
    with pytest.raises(BadKey, match="Make one with"):
        App.open(settings.model_copy(update={"statement_key": path}))
