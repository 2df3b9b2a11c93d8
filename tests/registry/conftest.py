"""Counts the SQL statements of a use-case."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from weighhouse.app import App


@pytest.fixture
def statements(registry: App) -> Iterator[list[str]]:
    """Every statement that the registry sends from now on; clear it before the one to be counted."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engines = [registry.db._engine, registry.db._autocommit, registry.db._unsynced]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield sent
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
