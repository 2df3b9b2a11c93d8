"""Shapes of health, logs and problem types."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from weighhouse.doors.api.schemas.shape import Shape

LevelName = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class ProblemKind(Shape):
    """What a problem's type means."""

    type: str
    title: str
    status: int


class ComponentStates(Shape):
    """Whether the parts answer."""

    database: Literal["healthy", "unhealthy"]
    s3: Literal["healthy", "unhealthy"]


class RequestFigures(Shape):
    """Requests since the start, over all server processes."""

    total_requests: int
    successful_requests: int
    failed_requests: int
    error_rate_percent: float
    avg_response_time_ms: float
    p95_response_time_ms: float
    p99_response_time_ms: float
    cpu_percent: float
    memory_percent: float
    disk_percent: float


class EndpointShown(Shape):
    """What one endpoint answered."""

    endpoint: str
    count: int
    errors: int
    avg_response_ms: float


class HealthShown(Shape):
    """Whether the registry works."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: datetime
    components: ComponentStates
    metrics: RequestFigures | None = Field(None, description="Only with `detailed=true`.")
    top_endpoints: list[EndpointShown] | None = Field(None, description="Only with `detailed=true`.")


class LogShown(Shape):
    """A request as it was answered."""

    timestamp: datetime
    level: LevelName
    endpoint: str
    method: str
    status_code: int
    error: str | None
    request_id: str
    username: str | None
    duration_ms: float


class Logs(Shape):
    """Some requests, newest first."""

    logs: list[LogShown]
    total: int
    offset: int
    limit: int
    note: str


class Alive(Shape):
    """The process answers."""

    status: Literal["alive"]


class Ready(Shape):
    """Requests can be sent here."""

    status: Literal["ready"]
