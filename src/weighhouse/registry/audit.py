"""Who did what to which object: written in the transaction that did it."""

from typing import Any

from sqlalchemy.orm import Session

from weighhouse.rules.permissions import Caller
from weighhouse.store.tables import AuditEntry


def record(tx: Session, caller: Caller | None, action: str, subject: str, **detail: Any) -> None:
    """Adds an entry to the audit log.

    Args:
        caller: `None` for the operator, who works on the server's own machine.
        action: A verb and a noun: `delete package`.
        subject: What it was done to: `package bert 1.0.0`.
        detail: JSON values that explain it.
    """
    actor_id, actor = (caller.user_id, caller.username) if caller is not None else (None, "operator")
    tx.add(AuditEntry(actor_id=actor_id, actor=actor, action=action, subject=subject, detail=detail))
