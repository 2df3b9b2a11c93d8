"""Health, logs, metrics, reset; what a problem's type means; the API's own pages."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import FileResponse, Response

from weighhouse.doors.api.answers import answer, problems
from weighhouse.doors.api.schemas import system as schemas
from weighhouse.doors.api.schemas.shape import Message
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Admin, Registry, require_caller
from weighhouse.doors.problems import explain
from weighhouse.registry import monitor, reset
from weighhouse.rules.errors import NotFound
from weighhouse.rules.histogram import class_bound_ms
from weighhouse.rules.permissions import Permission

STATIC = Path(__file__).parent / "static"

router = APIRouter(tags=["System"], route_class=StrictRoute)
pages = APIRouter(include_in_schema=False)

_PROXY_HEADERS = frozenset({"forwarded", "via", "x-real-ip"})
_BOUNDS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 120_000)


class ProblemUnknown(NotFound):
    """There is no such problem type."""

    def __init__(self) -> None:
        super().__init__("There is no such problem type. The type of a problem document names one.")


@router.get(
    "/health",
    response_model=schemas.HealthShown,
    responses={503: {"model": schemas.HealthShown, "description": "The database does not answer."}, **problems(422)},
    summary="Is the registry well?",
)
def get_health(
    registry: Registry, detailed: Annotated[bool, Query(description="Add the figures of all server processes.")] = False
) -> Response:
    """Whether database and store answer; figures are at most 5 seconds behind."""
    health = monitor.check_health(registry, detailed=detailed)
    status = "unhealthy" if not health.is_database_up else "healthy" if health.is_store_up else "degraded"
    body: dict[str, Any] = {
        "status": status,
        "timestamp": datetime.now(UTC),
        "components": {"database": _word(health.is_database_up), "s3": _word(health.is_store_up)},
    }
    if health.figures is not None:
        body |= _figures(health.figures)
    return answer(body, 200 if health.is_database_up else 503)


@router.get(
    "/logs", response_model=schemas.Logs, responses=problems(401, 403, 422, 429, 503), summary="Read the request log"
)
def get_logs(
    registry: Registry,
    caller: Admin,
    level: Annotated[schemas.LevelName | None, Query(description="Exactly this level.")] = None,
    start_time: Annotated[datetime | None, Query(description="The earliest; without a zone it is UTC.")] = None,
    end_time: Annotated[datetime | None, Query(description="The latest; without a zone it is UTC.")] = None,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Requests as they were answered, newest first: 5xx are ERROR, 4xx WARNING, all others INFO. Admins only."""
    page = monitor.list_logs(registry, caller, level=level, start=start_time, end=end_time, offset=offset, limit=limit)
    logs = [
        {
            "timestamp": row.logged_at,
            "level": row.level,
            "endpoint": row.endpoint,
            "method": row.method,
            "status_code": row.status_code,
            "error": row.error,
            "request_id": row.request_id,
            "username": row.username,
            "duration_ms": round(row.duration_ms, 3),
        }
        for row in page.logs
    ]
    note = f"The newest {monitor.KEPT_LOGS:,} requests are kept, at most 5 seconds behind."
    return answer({"logs": logs, "total": page.total, "offset": offset, "limit": limit, "note": note})


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text.", "content": {"text/plain": {}}}, **problems(401, 403, 429, 503)},
    summary="Figures for Prometheus",
)
async def get_metrics(registry: Registry, request: Request) -> Response:
    """Requests and durations over all server processes. Without a token from this machine only, else for admins."""
    if registry.settings.is_behind_proxy or not _is_this_machine(request):
        (await require_caller(request)).require(Permission.ADMIN)
    figures = await run_in_threadpool(monitor.read_figures, registry)
    collectors = CollectorRegistry(auto_describe=False)
    collectors.register(_Collector(figures))
    return Response(generate_latest(collectors), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.delete("/reset", response_model=Message, responses=problems(401, 403, 429, 503), summary="Reset the registry")
def delete_reset(registry: Registry, caller: Admin) -> Response:
    """Removes all packages and all users but the default admin; the caller's token stays valid. Admins only."""
    reset.reset_registry(registry, caller)
    return answer({"message": "The registry is as at its first start"})


@router.get(
    "/problems/{kind}",
    response_model=schemas.ProblemKind,
    responses=problems(400, 404, 422),
    summary="What a problem's type means",
)
def get_problem(kind: str) -> Response:
    """The status and meaning of a kind of problem."""
    found = explain(kind)
    if found is None:
        raise ProblemUnknown
    status, title = found
    return answer({"type": f"/problems/{kind}", "title": title, "status": status})


@pages.get("/docs")
def get_docs() -> Response:
    """The API to try out."""
    return FileResponse(STATIC / "swagger.html")


@pages.get("/redoc")
def get_redoc() -> Response:
    """The API to read."""
    return FileResponse(STATIC / "redoc.html")


def _word(is_up: bool) -> str:
    return "healthy" if is_up else "unhealthy"


def _is_this_machine(request: Request) -> bool:
    """Whether both ends of the connection are on this machine, and no proxy says that it stands between."""
    ends = (request.client.host if request.client else "", (request.scope.get("server") or ("",))[0])
    if any(name in _PROXY_HEADERS or name.startswith("x-forwarded-") for name in request.headers):
        return False
    try:
        return all(ipaddress.ip_address(end).is_loopback for end in ends)
    except ValueError:
        return False


def _figures(figures: monitor.Figures) -> dict[str, Any]:
    total, failed = figures.total_requests, figures.failed_requests
    return {
        "metrics": {
            "total_requests": total,
            "successful_requests": total - failed,
            "failed_requests": failed,
            "error_rate_percent": round(100 * failed / total, 2) if total else 0.0,
            "avg_response_time_ms": round(figures.avg_response_time_ms, 3),
            "p95_response_time_ms": round(figures.p95_response_time_ms, 3),
            "p99_response_time_ms": round(figures.p99_response_time_ms, 3),
            "cpu_percent": round(figures.cpu_percent, 1),
            "memory_percent": round(figures.memory_percent, 1),
            "disk_percent": round(figures.disk_percent, 1),
        },
        "top_endpoints": [
            {
                "endpoint": endpoint.endpoint,
                "count": endpoint.count,
                "errors": endpoint.errors,
                "avg_response_ms": round(endpoint.avg_response_ms, 3),
            }
            for endpoint in figures.endpoints[: monitor.TOP_ENDPOINTS]
        ],
    }


class _Collector(Collector):
    """The figures as Prometheus wants them."""

    def __init__(self, figures: monitor.Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """All series."""
        requests = CounterMetricFamily("weighhouse_requests", "Requests answered.", labels=["endpoint", "outcome"])
        durations = HistogramMetricFamily("weighhouse_request_seconds", "Time to answer.", labels=["endpoint"])
        for endpoint in self._figures.endpoints:
            requests.add_metric([endpoint.endpoint, "ok"], endpoint.count - endpoint.errors)
            requests.add_metric([endpoint.endpoint, "error"], endpoint.errors)
            durations.add_metric([endpoint.endpoint], _buckets(endpoint), endpoint.duration_ms / 1000)
        yield requests
        yield durations
        for name in ("cpu", "memory", "disk"):
            value = getattr(self._figures, f"{name}_percent")
            yield GaugeMetricFamily(f"weighhouse_{name}_percent", f"Use of {name}.", value=value)


def _buckets(endpoint: monitor.EndpointFigures) -> list[tuple[str, float]]:
    """Cumulative counts up to each bound, in seconds."""
    counted = [
        (
            str(bound / 1000),
            sum(count for index, count in endpoint.classes.items() if class_bound_ms(index) <= bound * 1.05),
        )
        for bound in _BOUNDS_MS
    ]
    return [*counted, ("+Inf", endpoint.count)]
