"""Callers and packages for tests of the use-cases, made without a password and without a server."""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tests.make import zip_of
from weighhouse.app import App
from weighhouse.registry.record import Recorded
from weighhouse.registry.upload import Intake, UploadForm
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.store.tables import Package, Token, User

EVERYTHING = (Permission.SEARCH, Permission.DOWNLOAD, Permission.UPLOAD)


def caller(registry: App, username: str, *permissions: Permission) -> Caller:
    """A new user with these permissions, all but `admin` when none is given; no password is theirs."""
    granted = permissions or EVERYTHING
    expires_at = datetime.now(UTC) + timedelta(days=1)
    with registry.db.write() as tx:
        user = User(
            username=username,
            username_key=username.lower(),
            password_hash="none",
            permissions=[str(one) for one in granted],
        )
        tx.add(user)
        tx.flush()
        token = Token(
            user_id=user.id, token_sha256=secrets.token_bytes(32), calls_limit=10, expires_at=expires_at, name="test"
        )
        tx.add(token)
        tx.flush()
        return Caller(user.id, username, frozenset(granted), token.id, 10, 10, expires_at)


def admin(registry: App) -> Caller:
    """The default admin, with a token."""
    expires_at = datetime.now(UTC) + timedelta(days=1)
    with registry.db.write() as tx:
        user = tx.scalars(select(User).where(User.is_default)).one()
        token = Token(user_id=user.id, token_sha256=secrets.token_bytes(32), calls_limit=10, expires_at=expires_at)
        tx.add(token)
        tx.flush()
        return Caller(user.id, user.username, frozenset(Permission), token.id, 10, 10, expires_at)


def upload(
    registry: App,
    who: Caller,
    name: str,
    version: str = "1.0.0",
    files: Mapping[str, str | bytes] | None = None,
    **fields: str,
) -> Recorded:
    """Takes a package in; by default one file with content of its own."""
    with Intake(registry, who) as intake:
        intake.feed(zip_of(files if files is not None else {"a.txt": secrets.token_hex(8)}))
        return intake.finish(UploadForm(name=name, version=version, **fields))


def publish(registry: App, who: Caller, name: str, version: str = "1.0.0", **fields: Any) -> UUID:
    """The id of a package that was just uploaded."""
    return upload(registry, who, name, version, **fields).package.id


def child_of(*parents: str) -> dict[str, str]:
    """Files of a package whose card names these parents."""
    listed = "".join(f"\n  - {parent}" for parent in parents)
    return {"README.md": f"---\nbase_model:{listed}\n---\n# A child\n", "a.txt": secrets.token_hex(8)}


def at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each of these gave or raised, all begun at the same moment."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def rows(registry: App) -> list[Package]:
    """Every package there is."""
    with registry.db.read() as tx:
        return list(tx.scalars(select(Package).order_by(Package.id)))
