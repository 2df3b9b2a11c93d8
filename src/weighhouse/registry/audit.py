"""Who did what to which object: written in the transaction that did it."""

from typing import Any

from sqlalchemy.orm import Session

from weighhouse.rules.permissions import Caller
from weighhouse.store.tables import AuditEntry


def record(tx: Session, caller: Caller, action: str, subject: str, **detail: Any) -> None:
    """Adds an entry to the audit log.

    Args:
        action: A verb and a noun: `delete package`.
        subject: What it was done to: `package bert 1.0.0`.
        detail: JSON values that explain it.
    """
    entry = AuditEntry(actor_id=caller.user_id, actor=caller.username, action=action, subject=subject, detail=detail)
    tx.add(entry)
