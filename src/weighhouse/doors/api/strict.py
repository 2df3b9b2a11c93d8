"""Routes whose JSON is read strictly, and only from who may send it."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from weighhouse.doors.caller import May, require_caller
from weighhouse.doors.problems import UnsupportedMedia
from weighhouse.rules import strictjson
from weighhouse.rules.errors import RegistryError


class StrictRequest(Request):
    """A request whose JSON body is read strictly."""

    async def json(self) -> Any:
        """The body.

        Raises:
            UnacceptableJson: It is not JSON that everybody reads alike.
        """
        if not hasattr(self, "_json"):
            self._json = strictjson.loads(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route that reads JSON strictly.

    FastAPI itself reads the body before it solves dependencies; here who may not send it is turned away first.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler."""
        handler = super().get_route_handler()
        takes_json = self.body_field is not None
        calls = set(_calls(self.dependant))

        async def handle(request: Request) -> Response:
            if takes_json:
                if require_caller in calls:
                    caller = await require_caller(request)
                    for check in calls:
                        if isinstance(check, May):
                            await check(caller)
                _require_json(request)
            try:
                return await handler(StrictRequest(request.scope, request.receive))
            except HTTPException as error:
                # FastAPI hides whatever reading the body raised behind a 400 of its own.
                if isinstance(error.__cause__, RegistryError | ClientDisconnect):
                    raise error.__cause__ from None
                raise

        return handle


def _calls(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    """Everything that a route depends on."""
    for inner in dependant.dependencies:
        if inner.call is not None:
            yield inner.call
        yield from _calls(inner)


def require_plain(request: Request) -> None:
    """Nothing, when the body comes as it is: what unpacks to any size is not unpacked here.

    Raises:
        UnsupportedMedia: It is said to be compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("Send the body as it is, without compressing it: leave Content-Encoding out.")


def _require_json(request: Request) -> None:
    """Nothing, when the body is said to be JSON, or there is none.

    Raises:
        UnsupportedMedia: It is said to be something else, or compressed.
    """
    require_plain(request)
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMedia("Send JSON, and say so: Content-Type: application/json.")
