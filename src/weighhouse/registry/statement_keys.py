"""The keys that a registry signs its statements with: made at first need, kept in the database, so that all servers share them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.rules.errors import Conflict
from weighhouse.rules.keys import PrivateKey, PublicKey, key_id, new_key, private_pem, read_private_key
from weighhouse.store.tables import Secret

_PREFIX = "statement-key/"


class KeyIsGiven(Conflict):
    """The key comes from a file, so the registry does not change it."""

    def __init__(self) -> None:
        super().__init__("WEIGHHOUSE_STATEMENT_KEY names the key in use. Change that file, on every server alike.")


def statement_key(app: App) -> PrivateKey:
    """The key that is signed with now.

    Raises:
        Away: The database does not answer.
    """
    if app.statement_key is not None:
        return app.statement_key
    return _kept(app)[0]


def public_keys(app: App) -> Sequence[PublicKey]:
    """The key that is signed with now, then those before it, which older statements are signed with.

    Raises:
        Away: The database does not answer.
    """
    given = [app.statement_key] if app.statement_key is not None else []
    with app.db.read() as tx:
        kept = _read(tx)
    # A key that was never needed is not made by asking for it while another one is given.
    keys = [*given, *(kept or ([] if given else _kept(app)))]
    return [key.public_key() for key in keys]


def rotate_key(app: App) -> PublicKey:
    """Signs with a new key from now on, on all servers; the public halves of those before stay known.

    Raises:
        KeyIsGiven: A setting names the key.
        Away: The database does not answer.
    """
    if app.statement_key is not None:
        raise KeyIsGiven
    number = len(_kept(app)) + 1
    with app.db.write() as tx:
        _add(tx, number)
        key = _read(tx)[0].public_key()
        record(tx, None, "rotate key", f"statement key {key_id(key)}")
    return key


def _kept(app: App) -> Sequence[PrivateKey]:
    """Newest first; the first one is made here."""
    with app.db.read() as tx:
        keys = _read(tx)
    if keys:
        return keys
    with app.db.write() as tx:
        _add(tx, 1)
        return _read(tx)


def _read(tx: Session) -> Sequence[PrivateKey]:
    query = select(Secret.value).where(Secret.name.startswith(_PREFIX)).order_by(Secret.name.desc())
    return [read_private_key(value) for value in tx.scalars(query)]


def _add(tx: Session, number: int) -> None:
    """One key a number: of two servers that make it at once, both use the one that was first."""
    fresh = {"name": f"{_PREFIX}{number:06}", "value": private_pem(new_key())}
    tx.execute(insert(Secret).values(fresh).on_conflict_do_nothing())
