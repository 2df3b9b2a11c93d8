"""Who is at the door: finds the token, takes one call from it, and turns away who may not pass."""

from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader, HTTPBearer

from weighhouse.app import App
from weighhouse.registry.accounts import TokenRefused, take_call
from weighhouse.rules.permissions import Caller, Permission

MAX_TOKEN_CHARACTERS = 512

# Only for the API's description; `token_of` reads the headers itself, so that all refusals are alike.
_KEY = APIKeyHeader(name="X-Authorization", scheme_name="Token", auto_error=False, description="The token, as it came.")
_BEARER = HTTPBearer(scheme_name="Bearer", auto_error=False, description="The same token as `Authorization: Bearer …`.")


def registry_of(request: Request) -> App:
    """The registry that this server is a door to."""
    return cast(App, request.app.state.registry)


Registry = Annotated[App, Depends(registry_of)]


def token_of(request: Request) -> str:
    """The token that came with a request.

    Raises:
        TokenRefused: None came, more than one, or something that cannot be one.
    """
    given = request.headers.getlist("x-authorization") + [
        value for value in request.headers.getlist("authorization") if value[:7].lower() == "bearer "
    ]
    tokens = {value[7:].strip() if value[:7].lower() == "bearer " else value.strip() for value in given}
    if len(tokens) != 1:
        raise TokenRefused
    token = tokens.pop()
    if not token or len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
        raise TokenRefused
    return token


async def require_caller(
    request: Request,
    _key: Annotated[object, Security(_KEY)] = None,
    _bearer: Annotated[object, Security(_BEARER)] = None,
) -> Caller:
    """The caller, after one call was taken from their token.

    Raises:
        TokenRefused: No valid token came.
        BudgetUsedUp: The token has made all its calls.
    """
    caller = await run_in_threadpool(take_call, registry_of(request), token_of(request))
    request.state.caller = caller
    return caller


class May:
    """A dependency that lets pass who has a permission, before any of the body is read."""

    def __init__(self, permission: Permission) -> None:
        self._permission = permission

    async def __call__(self, caller: "AnyCaller") -> Caller:
        """The caller.

        Raises:
            PermissionMissing: They lack the permission.
        """
        caller.require(self._permission)
        return caller


AnyCaller = Annotated[Caller, Depends(require_caller)]
Searcher = Annotated[Caller, Depends(May(Permission.SEARCH))]
Downloader = Annotated[Caller, Depends(May(Permission.DOWNLOAD))]
Uploader = Annotated[Caller, Depends(May(Permission.UPLOAD))]
Admin = Annotated[Caller, Depends(May(Permission.ADMIN))]
