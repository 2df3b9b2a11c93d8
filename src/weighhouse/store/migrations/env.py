"""Runs migrations on the connection that `store/database.py` hands over."""

from typing import Any

from alembic import context

from weighhouse.store.tables import Row


def _ours(_item: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """Whether autogenerate compares it: the job queue's own tables belong to its library."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


def _run() -> None:
    connection: Any = context.config.attributes["connection"]
    context.configure(
        connection=connection, target_metadata=Row.metadata, include_object=_ours, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
