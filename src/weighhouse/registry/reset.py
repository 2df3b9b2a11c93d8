"""Back to the first start: no packages, no users but the default admin."""

from sqlalchemy import delete, func, select, text, update

from weighhouse.app import App
from weighhouse.registry.accounts import first_password_hash
from weighhouse.registry.audit import record
from weighhouse.rules.errors import Denied
from weighhouse.rules.names import check_username
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.store import jobs
from weighhouse.store.tables import LoginFailure, Token, User


class ResetForbidden(Denied):
    """This registry does not allow a reset."""

    def __init__(self) -> None:
        super().__init__("This registry does not allow a reset. Its operator can set WEIGHHOUSE_ALLOW_RESET=true.")


# Audit log, request logs and blobs stay: the first two say what happened, the sweep takes the last.
_EMPTY = text(
    "TRUNCATE packages, package_texts, files, evaluations, metrics, lineage, ratings, download_history, download_counts, "
    "package_confusion_audit, package_names, taken_versions"
)


def reset_registry(app: App, caller: Caller) -> None:
    """Removes all packages and users, in one transaction; the caller's token stays valid, every other one ends.

    Raises:
        PermissionMissing: The caller is no admin.
        ResetForbidden: The operator does not allow it.
    """
    caller.require(Permission.ADMIN)
    if not app.settings.allow_reset:
        raise ResetForbidden
    password_hash = first_password_hash(app.settings)
    name = check_username(app.settings.admin_username)
    with app.db.write() as tx:
        tx.execute(_EMPTY)
        admin = tx.scalars(select(User).where(User.is_default).with_for_update()).one()
        tx.execute(delete(Token).where(Token.id != caller.token_id))
        # The caller may be another admin, whose account ends here: their token goes on as the default admin's.
        tx.execute(update(Token).where(Token.id == caller.token_id).values(user_id=admin.id))
        tx.execute(delete(User).where(User.id != admin.id))
        tx.execute(delete(LoginFailure))
        admin.username, admin.username_key = name, func.lower(name)
        admin.password_hash = password_hash
        tx.execute(
            text("DELETE FROM procrastinate_jobs WHERE status = 'todo' AND task_name = :task"), {"task": jobs.EVALUATE}
        )
        jobs.enqueue(tx, jobs.SWEEP)
        record(tx, caller, "reset registry", "registry")
