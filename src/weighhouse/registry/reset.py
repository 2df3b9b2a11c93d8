"""Back to the first start: no packages, no users but the default admin."""

import psycopg
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.accounts import TokenRefused, first_password_hash
from weighhouse.registry.audit import record
from weighhouse.rules.errors import Away, Denied
from weighhouse.rules.names import check_username
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.store import jobs
from weighhouse.store.tables import LoginFailure, Token, User


class ResetForbidden(Denied):
    """This registry does not allow a reset."""

    def __init__(self) -> None:
        super().__init__("This registry does not allow a reset. Its operator can set WEIGHHOUSE_ALLOW_RESET=true.")


# Audit log, request logs and blobs stay: the first two say what happened, the sweep takes the last.
# Tables are locked in this order, which is that of an upload, so that neither waits for what the other holds.
_EMPTY = text(
    "TRUNCATE package_names, taken_versions, packages, listed_names, ingests, ingest_files, files, package_texts, "
    "evaluations, metrics, lineage, ratings, download_history, download_counts, zips, package_confusion_audit, "
    "direct_uploads, direct_upload_files, refused_packages"
)
_ATTEMPTS = 3


def reset_registry(app: App, caller: Caller) -> None:
    """Removes all packages and users, in one transaction; the caller's token stays valid, every other one ends.

    Raises:
        PermissionMissing: The caller is no admin.
        ResetForbidden: The operator does not allow it.
        TokenRefused: Another reset came first.
        Away: The database does not answer.
    """
    caller.require(Permission.ADMIN)
    if not app.settings.allow_reset:
        raise ResetForbidden
    password_hash = first_password_hash(app.settings)
    name = check_username(app.settings.admin_username)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with app.db.write() as tx:
                _start_anew(tx, caller, name, password_hash)
            return
        except Away as away:
            # Nothing was changed: a change of an account came from the other side.
            if attempt == _ATTEMPTS or not _is_deadlock(away):
                raise


def _start_anew(tx: Session, caller: Caller, name: str, password_hash: str) -> None:
    tx.execute(_EMPTY)
    if tx.scalar(select(Token.id).where(Token.id == caller.token_id)) is None:
        raise TokenRefused  # Another reset came first, and ended this caller's token with all others.
    admin = tx.scalars(select(User).where(User.is_default).with_for_update()).one()
    tx.execute(delete(Token).where(Token.id != caller.token_id))
    # The caller may be another admin, whose account ends here: their token goes on as the default admin's.
    tx.execute(update(Token).where(Token.id == caller.token_id).values(user_id=admin.id))
    tx.execute(delete(User).where(User.id != admin.id))
    tx.execute(delete(LoginFailure))
    admin.username, admin.username_key = name, func.lower(name)
    admin.password_hash = password_hash
    tx.execute(
        text("DELETE FROM procrastinate_jobs WHERE status = 'todo' AND task_name = ANY(:tasks)"),
        {"tasks": [jobs.COMPOSE, jobs.EVALUATE, jobs.INGEST, jobs.LOOK_AGAIN]},
    )
    jobs.enqueue(tx, jobs.SWEEP)
    record(tx, caller, "reset registry", "registry")


def _is_deadlock(away: Away) -> bool:
    return isinstance(getattr(away.__cause__, "orig", None), psycopg.errors.DeadlockDetected)
