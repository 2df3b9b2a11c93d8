"""What a caller was refused goes into the audit trail, before they hear of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from weighhouse.doors.caller import registry_of
from weighhouse.doors.problems import problem_of, slug
from weighhouse.registry.audit import note_refusal
from weighhouse.rules.errors import Conflict, Denied, Invalid, Malformed, RegistryError, TooLarge
from weighhouse.rules.permissions import Caller

# As the entry calls it that is written when it is done.
_ACTIONS: Mapping[str, str] = {
    "delete_authenticate": "revoke token",
    "delete_package": "delete package",
    "delete_package_ingest": "cancel ingest",
    "delete_package_upload": "abort upload",
    "delete_reset": "reset registry",
    "delete_user": "delete user",
    "delete_user_token": "revoke token",
    "get_package": "download package",
    "post_package": "upload package",
    "post_package_begin": "upload package",
    "post_package_complete": "upload package",
    "post_package_evaluate": "evaluate package",
    "post_package_ingest": "ask for ingest",
    "post_package_release": "release package",
    "post_user_register": "register user",
    "put_package_rate": "rate package",
    "put_user_password": "set password",
    "put_user_permissions": "set permissions",
}
_UPLOADS = frozenset({"post_package", "post_package_begin", "post_package_complete", "post_package_ingest"})
_REFUSED_UPLOADS = (Conflict, Invalid, Malformed, TooLarge)


async def answer_refusal(request: Request, error: Exception) -> Response:
    """The problem document of a registry error; what the caller may not do is taken down first.

    Raises:
        Away: It could not be taken down.
    """
    assert isinstance(error, RegistryError)
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    route = getattr(request.scope.get("route"), "name", "")
    # Who gave no valid token can be anybody, as often as they like: the request log has them. Logins see to themselves.
    if caller is not None and _matters(route, error):
        await run_in_threadpool(_note, request, caller, route, error)
    return problem_of(request.scope, error)


def _matters(route: str, error: RegistryError) -> bool:
    return isinstance(error, Denied) or (route in _UPLOADS and isinstance(error, _REFUSED_UPLOADS))


def _note(request: Request, caller: Caller, route: str, error: RegistryError) -> None:
    path: Mapping[str, Any] = request.scope.get("path_params", {})
    template = getattr(request.scope.get("route"), "path", request.url.path)
    name, version = (getattr(error, member, None) for member in ("name", "version"))
    note_refusal(
        registry_of(request),
        caller,
        _ACTIONS.get(route, f"{request.method} {template}"),
        package_id=_id(path.get("package_id")),
        user_id=_id(path.get("user_id")),
        subject=" ".join(["package", name, *([version] if version else [])]) if name else "registry",
        problem=slug(type(error)),
        why=error.detail,
    )


def _id(text: Any) -> UUID | None:
    try:
        return UUID(str(text)) if text is not None else None
    except ValueError:
        return None
