"""Who is at the door: finds the token, takes one call from it, and turns away who may not pass."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, request_response
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.responses import Response

from weighhouse.app import App
from weighhouse.registry.accounts import TokenRefused, take_call
from weighhouse.rules.permissions import Caller, Permission

MAX_TOKEN_CHARACTERS = 512
# A body of this size comes with the head: nothing is gained by turning somebody away before it is read.
_SMALL_BODY_BYTES = 16 * 1024

# Only for the API's description; `token_of` reads the headers itself, so that all refusals are alike.
_KEY = APIKeyHeader(name="X-Authorization", scheme_name="Token", auto_error=False, description="The token, as it came.")
_BEARER = HTTPBearer(scheme_name="Bearer", auto_error=False, description="The same token as `Authorization: Bearer …`.")


def registry_of(request: Request) -> App:
    """The registry that this server is a door to."""
    return cast(App, request.app.state.registry)


async def require_registry(request: Request) -> App:
    """The registry, for an endpoint that asks for it. Not a plain function: FastAPI runs those in a thread."""
    return registry_of(request)


Registry = Annotated[App, Depends(require_registry)]


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
    return await run_in_threadpool(identify, request)


def identify(request: Request) -> Caller:
    """The caller of `require_caller`, for code that is in a thread already.

    Raises:
        TokenRefused: No valid token came.
        BudgetUsedUp: The token has made all its calls.
    """
    state = request.scope.setdefault("state", {})
    known: Caller | None = state.get("caller")
    if known is not None:  # A request takes one call, however often it is asked who makes it.
        return known
    state["is_token_read"] = True
    caller = state["caller"] = take_call(registry_of(request), token_of(request))
    return caller


class May:
    """A dependency that lets pass who has a permission, before any of the body is read."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, caller: "AnyCaller") -> Caller:
        """The caller.

        Raises:
            PermissionMissing: They lack the permission.
        """
        caller.require(self.permission)
        return caller


AnyCaller = Annotated[Caller, Depends(require_caller)]
Searcher = Annotated[Caller, Depends(May(Permission.SEARCH))]
Downloader = Annotated[Caller, Depends(May(Permission.DOWNLOAD))]
Uploader = Annotated[Caller, Depends(May(Permission.UPLOAD))]
Admin = Annotated[Caller, Depends(May(Permission.ADMIN))]


def share_visit(route: APIRoute) -> None:
    """Has the token and a plain endpoint looked after in one visit to a thread, where the route allows it.

    FastAPI solves each dependency apart and takes a thread for the endpoint after them; that costs more than the search
    of a small registry. What is described and what is answered stay the same: whoever may not pass is turned away
    before anything else is said, and a large body is only read from who may send it.
    """
    admission = _Admission.of(route.dependant)
    if admission is None:
        return
    full, route.dependant = route.dependant, admission.endpoint()
    handler = route.get_route_handler()
    route.dependant = full
    takes_body = route.body_field is not None

    async def handle(request: Request) -> Response:
        if takes_body and not _is_small(request):
            await run_in_threadpool(admission.admit, request)
        try:
            return await handler(request)
        except Exception:
            # A fault in what was sent is found before the visit; who sent it still comes first.
            if "is_token_read" not in request.scope["state"]:
                await run_in_threadpool(admission.admit, request)
            raise

    route.app = request_response(handle)


@dataclass(frozen=True)
class _Admission:
    """What a plain endpoint is given by name, and who may pass: all that stands between a request and it."""

    dependant: Dependant
    registry_name: str | None
    caller_name: str
    permission: Permission | None

    @classmethod
    def of(cls, dependant: Dependant) -> "_Admission | None":
        """That of an endpoint; `None` where FastAPI has to solve what it depends on."""
        registry_name = caller_name = permission = None
        for needed in dependant.dependencies:
            if needed.call is require_registry:
                registry_name = needed.name
            elif caller_name is None and (needed.call is require_caller or isinstance(needed.call, May)):
                caller_name = needed.name
                permission = needed.call.permission if isinstance(needed.call, May) else None
            else:
                return None
        if caller_name is None or dependant.call is None or iscoroutinefunction(dependant.call):
            return None
        return cls(dependant, registry_name, caller_name, permission)

    def endpoint(self) -> Dependant:
        """The endpoint as one that depends on nothing but its request."""
        name = self.dependant.request_param_name or "_request"

        async def visit(**values: Any) -> Response:
            return await run_in_threadpool(self._enter, values, name)

        return replace(self.dependant, dependencies=[], call=visit, request_param_name=name)

    def admit(self, request: Request) -> Caller:
        """The caller, who may pass; takes no second call from a token.

        Raises:
            TokenRefused, BudgetUsedUp, PermissionMissing: They may not.
        """
        caller = identify(request)
        if self.permission is not None:
            caller.require(self.permission)
        return caller

    def _enter(self, values: Mapping[str, Any], request_name: str) -> Response:
        request: Request = values[request_name]
        given = dict(values)
        if self.dependant.request_param_name is None:
            del given[request_name]
        given[self.caller_name] = self.admit(request)
        if self.registry_name is not None:
            given[self.registry_name] = registry_of(request)
        assert self.dependant.call is not None
        return cast(Response, self.dependant.call(**given))


def _is_small(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    return length.isdecimal() and int(length[:9]) <= _SMALL_BODY_BYTES
