"""What load balancers and container runtimes ask: does the process live, and may requests be sent to it."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighhouse.doors.api.answers import answer, problems
from weighhouse.doors.api.schemas import system as schemas
from weighhouse.doors.caller import Registry
from weighhouse.registry import monitor
from weighhouse.rules.errors import Away

router = APIRouter(tags=["System"])

PATHS = frozenset({"/healthz", "/readyz"})


class Draining(Away):
    """The server is about to stop."""

    def __init__(self) -> None:
        super().__init__("This server is about to stop. Send requests to another one, or try again in a few seconds.")


@router.get("/healthz", response_model=schemas.Alive, summary="Does the process live?")
async def get_healthz() -> Response:
    """Always 200, without a look at database or store: a process that answers needs no new start."""
    return answer({"status": "alive"})


@router.get("/readyz", response_model=schemas.Ready, responses=problems(503), summary="May requests be sent here?")
def get_readyz(registry: Registry, request: Request) -> Response:
    """Whether database, schema and store are as this release needs them, and the server is not about to stop."""
    if request.app.state.is_draining:
        raise Draining
    monitor.check_readiness(registry)
    return answer({"status": "ready"})
