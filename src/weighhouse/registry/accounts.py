"""Users, permissions, passwords; the tokens they sign in with and the calls those may make."""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import bcrypt
from sqlalchemy import delete, exc, func, select, text, update
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record, record_refusal, record_sign_in
from weighhouse.registry.paging import Page, page_of
from weighhouse.registry.throttle import Throttle
from weighhouse.rules.errors import Conflict, Denied, Exhausted, NotFound, Unauthenticated
from weighhouse.rules.names import check_username
from weighhouse.rules.passwords import bcrypt_input, check_password
from weighhouse.rules.permissions import Caller, Permission, parse_permissions
from weighhouse.settings import DEFAULT_ADMIN_PASSWORD, Settings
from weighhouse.store.database import broken_constraint
from weighhouse.store.tables import Token, User

BCRYPT_COST = 12


class TokenRefused(Unauthenticated):
    """No valid token came with this request."""

    def __init__(self) -> None:
        super().__init__(
            "No valid token came with this request. Get one with POST /authenticate and send it as X-Authorization."
        )


class LoginRefused(Unauthenticated):
    """Name and password do not belong together."""

    def __init__(self) -> None:
        super().__init__("Name and password do not belong together. Check both; letter case counts in the password.")


class BudgetUsedUp(Exhausted):
    """The token has made all its calls."""

    def __init__(self, calls_limit: int) -> None:
        super().__init__(f"This token has made all of its {calls_limit} calls. Get a new one with POST /authenticate.")
        self.calls_limit = calls_limit


class UsernameTaken(Conflict):
    """Another account has this name."""

    def __init__(self, username: str) -> None:
        super().__init__(f"There is already a user {username}. Choose another name; letter case does not count.")
        self.username = username


class DefaultAdminProtected(Conflict):
    """The default admin stays, with all permissions."""

    def __init__(self) -> None:
        super().__init__("The default admin cannot be deleted and keeps 'admin', so that the registry is never locked.")


class NotYourAccount(Denied):
    """An account is changed by its user or an admin."""

    def __init__(self) -> None:
        super().__init__("Only the user themselves or an admin may do this. Ask an administrator.")


class UserNotFound(NotFound):
    """There is no such user."""

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"There is no user {user_id}. GET /users lists them.")


class TokenNotFound(NotFound):
    """The user has no such token."""

    def __init__(self, token_id: UUID) -> None:
        super().__init__(f"This user has no token {token_id}. GET /user/{{id}}/tokens lists them.")


@dataclass(frozen=True)
class GivenToken:
    """A token as it is shown once: its secret and what it is good for."""

    secret: str
    calls_remaining: int
    expires_at: datetime


# Identity, permissions and budget in one statement: the row that proves the token is the row that counts the call.
_TAKE_CALL = """
    UPDATE tokens SET calls_used = calls_used + 1, last_used_at = now()
    FROM users
    WHERE token_sha256 = %(token_sha256)s AND users.id = tokens.user_id
      AND calls_used < calls_limit AND revoked_at IS NULL AND expires_at > now()
    RETURNING tokens.id AS token_id, users.id AS user_id, users.username, users.permissions,
              calls_limit, calls_limit - calls_used AS calls_remaining, expires_at
"""

_WHY_NOT = """
    SELECT calls_limit FROM tokens
    WHERE token_sha256 = %(token_sha256)s AND calls_used >= calls_limit AND revoked_at IS NULL AND expires_at > now()
"""


def take_call(app: App, secret: str) -> Caller:
    """Who holds this token; one of its calls is used up from now on, whatever the request comes to.

    Raises:
        TokenRefused: The token is unknown, expired, revoked, or its user is gone.
        BudgetUsedUp: It has made all its calls.
    """
    values = {"token_sha256": _sha256(secret)}
    row = app.db.count(_TAKE_CALL, values)
    if row is None:
        exhausted = app.db.count(_WHY_NOT, values)
        raise BudgetUsedUp(exhausted["calls_limit"]) if exhausted else TokenRefused
    return Caller(
        user_id=row["user_id"],
        username=row["username"],
        permissions=frozenset(Permission(name) for name in row["permissions"]),
        token_id=row["token_id"],
        calls_remaining=row["calls_remaining"],
        calls_limit=row["calls_limit"],
        expires_at=row["expires_at"],
    )


def authenticate(app: App, username: str, password: str, *, address: str) -> GivenToken:
    """A new token for a user who knows their password.

    Args:
        address: Where the request came from; failures are counted by account and by address.

    Raises:
        LoginRefused: Unknown name or wrong password; both take the same time.
        TooManyFailures: Too many failed logins lately, for this name or from this address.
    """
    throttle = Throttle(username, address, app.settings.login_attempts)
    with app.db.read() as tx:
        throttle.check(tx)
        user = tx.scalar(select(User).where(User.username_key == username.lower()))
    # An unknown user costs the same hash as a wrong password, so that time does not tell names.
    matches = bcrypt.checkpw(bcrypt_input(password), user.password_hash.encode() if user else _no_hash())
    if user is None or not matches:
        with app.db.write() as tx:
            throttle.count(tx)
            # Not the name that came, where nobody has it: people type their password into that field.
            record_refusal(tx, None, "sign in", f"user {user.username}" if user else "an unknown user")
        raise LoginRefused
    with app.db.write() as tx:
        throttle.forget(tx)
        given = _give_token(tx, user.id, app.settings)
        record_sign_in(tx, user.id, user.username)
        return given


def _give_token(tx: Session, user_id: UUID, settings: Settings) -> GivenToken:
    secret = secrets.token_urlsafe(32)
    token = Token(
        user_id=user_id,
        token_sha256=_sha256(secret),
        calls_limit=settings.token_calls,
        expires_at=func.now() + text(f"interval '{settings.token_days:d} days'"),
    )
    tx.add(token)
    try:
        tx.flush()
    except exc.IntegrityError:  # The user was deleted between the check and now.
        raise LoginRefused from None
    tx.refresh(token, ["expires_at"])
    return GivenToken(secret, settings.token_calls, token.expires_at)


def revoke_token(tx: Session, caller: Caller, token_id: UUID) -> None:
    """Ends one token at once, on every server.

    Raises:
        TokenNotFound: It is not there, or it is not the caller's.
    """
    where = [Token.id == token_id, Token.revoked_at.is_(None)]
    if not caller.is_admin:
        where.append(Token.user_id == caller.user_id)
    owner_id = tx.scalar(update(Token).where(*where).values(revoked_at=func.now()).returning(Token.user_id))
    if owner_id is None:
        raise TokenNotFound(token_id)
    owner = tx.scalar(select(User.username).where(User.id == owner_id))
    record(tx, caller, "revoke token", f"user {owner}", token_id=str(token_id))


def list_tokens(tx: Session, caller: Caller, user_id: UUID) -> Sequence[Token]:
    """A user's living tokens, newest first; the secrets are not kept.

    Raises:
        NotYourAccount: The caller is neither this user nor an admin.
        UserNotFound: There is no such user.
    """
    _require_self_or_admin(caller, user_id)
    find_user(tx, user_id)
    living = (Token.user_id == user_id, Token.revoked_at.is_(None), Token.expires_at > func.now())
    return tx.scalars(select(Token).where(*living).order_by(Token.id.desc()).limit(1000)).all()


def revoke_token_of(tx: Session, caller: Caller, user_id: UUID, token_id: UUID) -> None:
    """Ends one token of a user.

    Raises:
        NotYourAccount: The caller is neither this user nor an admin.
        TokenNotFound: This user has no such token.
    """
    _require_self_or_admin(caller, user_id)
    owner = tx.scalar(select(Token.user_id).where(Token.id == token_id))
    if owner != user_id:
        raise TokenNotFound(token_id)
    revoke_token(tx, caller, token_id)


def register_user(app: App, caller: Caller, username: str, password: str, permissions: Iterable[str]) -> User:
    """A new account.

    Raises:
        PermissionMissing: The caller is no admin.
        InvalidUsername, InvalidPassword, InvalidPermission: A field breaks a rule.
        UsernameTaken: Another account has this name.
    """
    caller.require(Permission.ADMIN)
    granted = parse_permissions(permissions)
    check_username(username)
    password_hash = _hash(check_password(password))
    with app.db.write() as tx:
        user = _new_user(username, password_hash, granted)
        tx.add(user)
        try:
            tx.flush()
        except exc.IntegrityError as error:
            if broken_constraint(error) == "uq_users_username_key":
                raise UsernameTaken(username) from error
            raise
        record(tx, caller, "register user", f"user {username}", permissions=sorted(granted))
        return user


def list_users(tx: Session, caller: Caller, *, cursor: UUID | None = None, limit: int = 50) -> Page[User]:
    """All users, oldest first.

    Raises:
        PermissionMissing: The caller is no admin.
    """
    caller.require(Permission.ADMIN)
    query = select(User).order_by(User.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(User.id > cursor)
    total = tx.scalar(select(func.count()).select_from(User)) or 0
    return page_of(tx.scalars(query).all(), limit, lambda user: str(user.id), total=total)


def find_user(tx: Session, user_id: UUID, *, lock: bool = False) -> User:
    """The user of this id.

    Args:
        lock: Keep them from being changed or deleted by others until the transaction ends.

    Raises:
        UserNotFound: There is none.
    """
    user = tx.get(User, user_id, with_for_update=True if lock else None)
    if user is None:
        raise UserNotFound(user_id)
    return user


def set_permissions(tx: Session, caller: Caller, user_id: UUID, permissions: Iterable[str]) -> User:
    """Replaces a user's permissions; they hold from the next request on, for tokens given out before too.

    Raises:
        PermissionMissing: The caller is no admin.
        InvalidPermission: A name is no permission.
        UserNotFound: There is no such user.
        DefaultAdminProtected: The default admin would lose `admin`.
    """
    caller.require(Permission.ADMIN)
    granted = parse_permissions(permissions)
    user = find_user(tx, user_id, lock=True)
    if user.is_default and Permission.ADMIN not in granted:
        raise DefaultAdminProtected
    user.permissions = _stored(granted)
    record(tx, caller, "set permissions", f"user {user.username}", permissions=sorted(granted))
    return user


def set_password(app: App, caller: Caller, user_id: UUID, password: str, current_password: str | None) -> None:
    """Replaces a user's password and revokes all of their tokens.

    Args:
        current_password: Must be right when users change their own; an admin changes another's without it.

    Raises:
        NotYourAccount: The caller is neither this user nor an admin.
        InvalidPassword: The new password breaks a rule.
        UserNotFound: There is no such user.
        LoginRefused: The current password is wrong.
    """
    _require_self_or_admin(caller, user_id)
    new_hash = _hash(check_password(password))
    with app.db.read() as tx:
        old_hash = find_user(tx, user_id).password_hash
    if user_id == caller.user_id and (
        current_password is None or not bcrypt.checkpw(bcrypt_input(current_password), old_hash.encode())
    ):
        raise CurrentPasswordWrong
    with app.db.write() as tx:
        user = find_user(tx, user_id, lock=True)
        user.password_hash = new_hash
        tx.execute(update(Token).where(Token.user_id == user_id).values(revoked_at=func.now()))
        record(tx, caller, "set password", f"user {user.username}")


class CurrentPasswordWrong(Denied):
    """The current password did not come with the request, or is wrong."""

    def __init__(self) -> None:
        super().__init__("Send your current password as current_password to change it; what came was not right.")


def delete_user(tx: Session, caller: Caller, user_id: UUID) -> User:
    """Removes an account and its tokens; its packages stay, without an uploader.

    Raises:
        NotYourAccount: The caller is neither this user nor an admin.
        UserNotFound: There is no such user.
        DefaultAdminProtected: It is the default admin.
    """
    _require_self_or_admin(caller, user_id)
    user = find_user(tx, user_id, lock=True)
    if user.is_default:
        raise DefaultAdminProtected
    tx.execute(delete(User).where(User.id == user_id))
    record(tx, caller, "delete user", f"user {user.username}")
    return user


def ensure_admin(app: App) -> None:
    """The default admin exists; a password that was set explicitly is theirs from now on.

    Raises:
        InvalidUsername, InvalidPassword: ADMIN_USERNAME or ADMIN_PASSWORD break a rule.
        DatabaseAway: The database does not answer.
    """
    given = app.settings.admin_password
    with app.db.read() as tx:
        user = tx.scalar(select(User).where(User.is_default))
    if user is not None and given is None:
        return
    password = check_password(given.get_secret_value() if given else DEFAULT_ADMIN_PASSWORD)
    if user is not None and bcrypt.checkpw(bcrypt_input(password), user.password_hash.encode()):
        return
    password_hash = _hash(password)
    with app.db.write() as tx:
        # Two servers may start on a new database at once; the lock lets one of them make the admin.
        tx.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
        user = tx.scalar(select(User).where(User.is_default))
        if user is None:
            name = check_username(app.settings.admin_username)
            tx.add(_new_user(name, password_hash, frozenset(Permission), is_default=True))
            record(tx, None, "register user", f"user {name}", permissions=sorted(Permission))
        elif given is not None:
            user.password_hash = password_hash
            tx.execute(update(Token).where(Token.user_id == user.id).values(revoked_at=func.now()))
            record(tx, None, "set password", f"user {user.username}")


def first_password_hash(settings: Settings) -> str:
    """The hash of the default admin's password at the first start."""
    given = settings.admin_password
    return _hash(given.get_secret_value() if given else DEFAULT_ADMIN_PASSWORD)


def _require_self_or_admin(caller: Caller, user_id: UUID) -> None:
    if caller.user_id != user_id and not caller.is_admin:
        raise NotYourAccount


def _new_user(
    username: str, password_hash: str, permissions: frozenset[Permission], *, is_default: bool = False
) -> User:
    return User(
        username=username,
        username_key=username.lower(),
        password_hash=password_hash,
        permissions=_stored(permissions),
        is_default=is_default,
    )


def _stored(permissions: frozenset[Permission]) -> list[str]:
    return [permission.value for permission in Permission if permission in permissions]


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _hash(password: str) -> str:
    return bcrypt.hashpw(bcrypt_input(password), bcrypt.gensalt(BCRYPT_COST)).decode()


def _no_hash() -> bytes:
    """A valid hash of the usual cost that no password has."""
    return b"$2b$%02d$" % BCRYPT_COST + b"." * 22 + b"." * 31
