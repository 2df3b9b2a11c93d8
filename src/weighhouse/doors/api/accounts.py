"""Authenticate, users, permissions, tokens."""

from typing import TYPE_CHECKING, Annotated, Any

import anyio
from anyio import CapacityLimiter
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from weighhouse.doors.api.answers import Cursor, Listing, answer, problems
from weighhouse.doors.api.schemas import accounts as schemas
from weighhouse.doors.api.schemas.shape import Id, Message
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Admin, AnyCaller, Registry
from weighhouse.registry import accounts
from weighhouse.rules.errors import Exhausted

if TYPE_CHECKING:
    from weighhouse.store.tables import Token, User

router = APIRouter(tags=["Accounts"], route_class=StrictRoute)

# bcrypt is slow on purpose: two at a time keep the other requests fast, and a queue that grows is turned away.
_HASHERS = CapacityLimiter(2)
_WAITING = 64

Limit = Annotated[int, Query(ge=1, le=100, description="Rows on a page.")]


class TooManyLogins(Exhausted):
    """Too many logins at once."""

    def __init__(self) -> None:
        super().__init__("Too many logins are waiting. Try again in a few seconds.", retry_after_seconds=5)


async def _hash_in_turn(work: Any, *given: Any) -> Any:
    """The result of work that hashes a password, done in a thread when it is its turn.

    Raises:
        TooManyLogins: The queue is full.
    """
    if _HASHERS.statistics().tasks_waiting >= _WAITING:
        raise TooManyLogins
    return await anyio.to_thread.run_sync(work, *given, limiter=_HASHERS)


@router.post(
    "/authenticate",
    response_model=schemas.GivenToken,
    responses=problems(400, 401, 413, 415, 422, 429, 503),
    summary="Sign in",
)
async def post_authenticate(registry: Registry, request: Request, body: schemas.Credentials) -> Response:
    """A token for a user who knows their password. Send it as `X-Authorization` with every other request."""
    address = request.client.host if request.client else "unknown"

    def work() -> accounts.GivenToken:
        return accounts.authenticate(registry, body.username, body.password, address=address)

    given: accounts.GivenToken = await _hash_in_turn(work)
    return answer({"token": given.secret, "calls_remaining": given.calls_remaining, "expires_at": given.expires_at})


@router.delete("/authenticate", response_model=Message, responses=problems(401, 404, 429, 503), summary="Sign out")
def delete_authenticate(registry: Registry, caller: AnyCaller) -> Response:
    """Revokes the token that the request is made with."""
    with registry.db.write() as tx:
        accounts.revoke_token(tx, caller, caller.token_id)
    return answer({"message": "The token is revoked"})


@router.get("/user/me", response_model=schemas.Myself, responses=problems(401, 429, 503), summary="Who am I?")
def get_me(caller: AnyCaller) -> Response:
    """The account behind the token, and what the token is still good for."""
    return answer(
        {
            "user_id": caller.user_id,
            "username": caller.username,
            "permissions": sorted(caller.permissions),
            "calls_remaining": caller.calls_remaining,
            "expires_at": caller.expires_at,
        }
    )


@router.get("/users", response_model=schemas.Users, responses=problems(401, 403, 422, 429, 503), summary="List users")
def get_users(
    registry: Registry, request: Request, caller: Admin, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """All accounts, oldest first. Admins only."""
    listing = Listing(registry, request, caller)
    with registry.db.read(snapshot=True) as tx:
        page = accounts.list_users(tx, caller, cursor=listing.last_seen_id(cursor), limit=limit)
    users = [_user(user) | {"created_at": user.created_at} for user in page.rows]
    return listing.answer({"users": users, "total": page.total}, page.next_cursor)


@router.post(
    "/user/register",
    status_code=201,
    response_model=schemas.UserShown,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
    summary="Register a user",
)
async def post_user_register(registry: Registry, caller: Admin, body: schemas.NewUser) -> Response:
    """Makes an account. Admins only."""
    user = await _hash_in_turn(accounts.register_user, registry, caller, body.username, body.password, body.permissions)
    return answer(_user(user), 201)


@router.put(
    "/user/{user_id}/permissions",
    response_model=schemas.UserShown,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    summary="Set a user's permissions",
)
def put_user_permissions(registry: Registry, caller: Admin, user_id: Id, body: schemas.Permissions) -> Response:
    """Replaces a user's permissions; they hold from the next request on. Admins only."""
    with registry.db.write() as tx:
        return answer(_user(accounts.set_permissions(tx, caller, user_id, body.permissions)))


@router.put(
    "/user/{user_id}/password",
    response_model=schemas.UserMessage,
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    summary="Set a password",
)
async def put_user_password(registry: Registry, caller: AnyCaller, user_id: Id, body: schemas.NewPassword) -> Response:
    """Replaces a password and revokes that user's tokens. Users change their own, admins anybody's."""
    await _hash_in_turn(accounts.set_password, registry, caller, user_id, body.password, body.current_password)
    return answer({"message": "The password is set, and the user's tokens are revoked", "user_id": user_id})


@router.delete(
    "/user/{user_id}",
    response_model=schemas.UserMessage,
    responses=problems(401, 403, 404, 409, 422, 429, 503),
    summary="Delete a user",
)
def delete_user(registry: Registry, caller: AnyCaller, user_id: Id) -> Response:
    """Removes an account and its tokens; its packages stay. Users delete themselves, admins anybody."""
    with registry.db.write() as tx:
        user = accounts.delete_user(tx, caller, user_id)
    return answer({"message": f"User {user.username} is deleted", "user_id": user_id})


@router.get(
    "/user/{user_id}/tokens",
    response_model=schemas.Tokens,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="List a user's tokens",
)
def get_user_tokens(registry: Registry, caller: AnyCaller, user_id: Id) -> Response:
    """A user's living tokens, newest first; never their secrets."""
    with registry.db.read() as tx:
        tokens = accounts.list_tokens(tx, caller, user_id)
    return answer({"tokens": [_token(token) for token in tokens]})


@router.delete(
    "/user/{user_id}/tokens/{token_id}",
    response_model=Message,
    responses=problems(401, 403, 404, 422, 429, 503),
    summary="Revoke a token",
)
def delete_user_token(registry: Registry, caller: AnyCaller, user_id: Id, token_id: Id) -> Response:
    """Ends one token of a user, on every server at once."""
    with registry.db.write() as tx:
        accounts.revoke_token_of(tx, caller, user_id, token_id)
    return answer({"message": "The token is revoked"})


def _user(user: "User") -> dict[str, Any]:
    return {"user_id": user.id, "username": user.username, "permissions": user.permissions}


def _token(token: "Token") -> dict[str, Any]:
    return {
        "token_id": token.id,
        "name": token.name,
        "created_at": token.created_at,
        "last_used_at": token.last_used_at,
        "calls_remaining": token.calls_limit - token.calls_used,
        "expires_at": token.expires_at,
    }
