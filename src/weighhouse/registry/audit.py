"""Who did what to which object, from where, and with what outcome: written in the transaction that did it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import select
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.rules.permissions import Caller
from weighhouse.rules.trail import DONE, REFUSED, clean
from weighhouse.store.tables import Package, User, new_id

OPERATOR = "operator"
NOBODY = "nobody"


@dataclass(frozen=True)
class Origin:
    """Where an act came from.

    Args:
        address: The client's, as TRUSTED_PROXIES gives it; `None` for what runs on the registry's own machines.
        request_id: That of its line in the request log.
    """

    address: str | None = None
    request_id: str | None = None


# As the driver takes it: every download runs it, and a mapped row takes 0.7 ms instead of 0.2.
_ADD = """
    INSERT INTO audit_log
        (id, actor_id, actor, action, subject, detail, package_id, address, request_id, outcome)
    VALUES (%(id)s, %(actor_id)s, %(actor)s, %(action)s, %(subject)s, %(detail)s, %(package_id)s, %(address)s,
            %(request_id)s, %(outcome)s)
"""
_HERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=_HERE)


@contextmanager
def acting_from(origin: Origin) -> Iterator[None]:
    """All that is recorded in the block, also by threads that it waits for, came from there."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def record(
    tx: Session, caller: Caller | None, action: str, subject: str, *, package_id: UUID | None = None, **detail: Any
) -> None:
    """Adds an entry to the audit trail: it was done, if the transaction is committed.

    Args:
        caller: `None` for the operator, who works on the server's own machine.
        action: A verb and a noun: `delete package`.
        subject: What it was done to: `package bert 1.0.0`.
        package_id: The package that it was done to; who may see that one may read the entry.
        detail: JSON values that explain it. Secrets have no place in them.
    """
    actor_id, actor = (caller.user_id, caller.username) if caller is not None else (None, OPERATOR)
    _add(tx, actor_id, actor, action, subject, DONE, package_id, detail)


def record_sign_in(tx: Session, user_id: UUID, username: str) -> None:
    """Adds an entry to the audit trail: a user proved who they are, and has a token from now on."""
    _add(tx, user_id, username, "sign in", f"user {username}", DONE, None, {})


def record_refusal(
    tx: Session, caller: Caller | None, action: str, subject: str, *, package_id: UUID | None = None, **detail: Any
) -> None:
    """Adds an entry to the audit trail: it was tried, and refused.

    Args:
        caller: `None` for somebody who did not say who they are, or could not prove it.
    """
    actor_id, actor = (caller.user_id, caller.username) if caller is not None else (None, NOBODY)
    _add(tx, actor_id, actor, action, subject, REFUSED, package_id, detail)


def note_refusal(
    app: App, caller: Caller, action: str, *, package_id: UUID | None, user_id: UUID | None, subject: str, **detail: Any
) -> None:
    """Takes down what was refused, in a transaction of its own: that of the attempt is undone.

    Args:
        subject: What it would have been done to, where neither a package nor a user says so.

    Raises:
        Away: The database does not answer.
    """
    with app.db.write() as tx:
        package = None
        if package_id is not None:
            package = tx.execute(select(Package.name, Package.version).where(Package.id == package_id)).one_or_none()
            subject = f"package {package.name} {package.version}" if package else f"package {package_id}"
        elif user_id is not None:
            subject = f"user {tx.scalar(select(User.username).where(User.id == user_id)) or user_id}"
        record_refusal(tx, caller, action, subject, package_id=package_id if package else None, **detail)


def _add(
    tx: Session,
    actor_id: UUID | None,
    actor: str,
    action: str,
    subject: str,
    outcome: str,
    package_id: UUID | None,
    detail: dict[str, Any],
) -> None:
    origin = _origin.get()
    values = {
        "id": new_id(),
        "actor_id": actor_id,
        "actor": actor,
        "action": action,
        "subject": clean(subject),
        "detail": Jsonb(clean(detail)),
        "package_id": package_id,
        "address": clean(origin.address),
        "request_id": origin.request_id,
        "outcome": outcome,
    }
    tx.connection().exec_driver_sql(_ADD, values)
