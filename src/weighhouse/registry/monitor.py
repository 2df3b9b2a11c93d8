"""Requests, logs, health: recorded in batches beside the requests, read over all server processes."""

import logging
import shutil
import socket
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import psutil
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from weighhouse.app import App
from weighhouse.rules.errors import Away
from weighhouse.rules.histogram import duration_class, merged, percentile_ms
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.store.database import check_schema
from weighhouse.store.tables import Boot, RequestLog, SystemMetric, new_id

FLUSH_SECONDS = 2.0
KEPT_LOGS = 100_000
TOP_ENDPOINTS = 5
# A server that was not heard of for this long is not running.
LIVING_SECONDS = 15
_PENDING_LOGS = 20_000
_ERROR_CHARACTERS = 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One request as it was answered."""

    endpoint: str
    """Method and route: `GET /package/{package_id}`; the same for every package."""
    method: str
    path: str
    status_code: int
    duration_ms: float
    error: str | None
    request_id: str
    username: str | None
    answered_at: datetime

    @property
    def level(self) -> str:
        """ERROR for 5xx, WARNING for 4xx, else INFO."""
        return "ERROR" if self.status_code >= 500 else "WARNING" if self.status_code >= 400 else "INFO"


@dataclass
class _Sum:
    requests: int = 0
    duration_ms: float = 0.0


@dataclass
class _Pending:
    sums: dict[tuple[str, bool, int], _Sum] = field(default_factory=dict)
    logs: deque[Request] = field(default_factory=lambda: deque(maxlen=_PENDING_LOGS))


class Recorder:
    """Takes requests from the event loop without waiting, and writes them to the database every two seconds.

    Args:
        boot_id: The server run that this process belongs to; its processes add to the same sums.
    """

    def __init__(self, app: App, boot_id: UUID | None = None) -> None:
        self._app = app
        self._boot_id = boot_id or new_id()
        self._pending = _Pending()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def stop(self) -> None:
        """Writes what is left and ends."""
        self._stop.set()
        self._thread.join(timeout=10)

    def take(self, request: Request) -> None:
        """Remembers a request; never waits for the database."""
        is_error = request.status_code >= 400
        key = (request.endpoint, is_error, duration_class(request.duration_ms))
        with self._lock:
            total = self._pending.sums.setdefault(key, _Sum())
            total.requests += 1
            total.duration_ms += request.duration_ms
            self._pending.logs.append(request)

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, _Pending()
        try:
            self._write(pending)
        except Away:
            self._put_back(pending)
        except Exception:
            # Figures must never end the thread that carries them: say it, and go on with the next batch.
            _log.exception("request figures could not be written")

    def _put_back(self, pending: _Pending) -> None:
        with self._lock:
            for key, total in pending.sums.items():
                newer = self._pending.sums.setdefault(key, _Sum())
                newer.requests += total.requests
                newer.duration_ms += total.duration_ms
            self._pending.logs.extendleft(reversed(pending.logs))

    def _write(self, pending: _Pending) -> None:
        usage = _machine(self._app)
        seen = insert(Boot).values(id=self._boot_id, host=socket.gethostname(), **usage)
        sums = [
            {
                "boot_id": self._boot_id,
                "endpoint": endpoint,
                "is_error": is_error,
                "duration_class": index,
                "requests": total.requests,
                "duration_ms": total.duration_ms,
            }
            for (endpoint, is_error, index), total in sorted(pending.sums.items())
        ]
        with self._app.db.write() as tx:
            tx.execute(text("SET LOCAL synchronous_commit = off"))
            tx.execute(seen.on_conflict_do_update(index_elements=[Boot.id], set_={**usage, "seen_at": func.now()}))
            if sums:
                add = insert(SystemMetric)
                tx.execute(
                    add.on_conflict_do_update(
                        index_elements=["boot_id", "endpoint", "is_error", "duration_class"],
                        set_={
                            "requests": SystemMetric.requests + add.excluded.requests,
                            "duration_ms": SystemMetric.duration_ms + add.excluded.duration_ms,
                        },
                    ),
                    sums,
                )
            if pending.logs:
                tx.execute(insert(RequestLog), [_log_row(request) for request in pending.logs])
                newest = select(func.max(RequestLog.id)).scalar_subquery()
                tx.execute(delete(RequestLog).where(RequestLog.id <= newest - KEPT_LOGS))


def _log_row(request: Request) -> dict[str, object]:
    return {
        "logged_at": request.answered_at,
        "level": request.level,
        "method": request.method,
        "endpoint": f"{request.method} {request.path}"[:_ERROR_CHARACTERS],
        "status_code": request.status_code,
        "error": request.error[:_ERROR_CHARACTERS] if request.error else None,
        "request_id": request.request_id,
        "username": request.username,
        "duration_ms": request.duration_ms,
    }


def _machine(app: App) -> dict[str, float]:
    folder = app.settings.data_dir if app.settings.data_dir.exists() else "."
    disk = shutil.disk_usage(folder)
    return {
        "cpu_percent": psutil.cpu_percent(),
        "memory_percent": psutil.virtual_memory().percent,
        "disk_percent": round(100 * disk.used / disk.total, 1),
    }


@dataclass(frozen=True)
class EndpointFigures:
    """What one endpoint answered."""

    endpoint: str
    count: int
    errors: int
    avg_response_ms: float
    classes: Mapping[int, int]
    duration_ms: float


@dataclass(frozen=True)
class Figures:
    """Requests since the start, over all processes of all servers that are running."""

    total_requests: int
    failed_requests: int
    avg_response_time_ms: float
    p95_response_time_ms: float
    p99_response_time_ms: float
    cpu_percent: float
    memory_percent: float
    disk_percent: float
    endpoints: Sequence[EndpointFigures]


@dataclass(frozen=True)
class Health:
    """Whether the parts answer."""

    is_database_up: bool
    is_store_up: bool
    figures: Figures | None = None


def check_health(app: App, *, detailed: bool = False) -> Health:
    """Whether database and store answer; with `detailed`, the figures too."""
    is_store_up = True
    try:
        app.blobs.check()
    except Away:
        is_store_up = False
    try:
        with app.db.read() as tx:
            tx.execute(text("SELECT 1"))
        figures = read_figures(app) if detailed else None
    except Away:
        return Health(False, is_store_up)
    return Health(True, is_store_up, figures)


def check_readiness(app: App) -> None:
    """Nothing, when this process can serve requests.

    Raises:
        DatabaseAway: The database does not answer.
        SchemaOutdated: Its schema is older than this release needs.
        StoreAway: The store of files does not take any.
    """
    with app.db.read() as tx:
        check_schema(tx)
    app.blobs.check()


def read_figures(app: App) -> Figures:
    """Requests of all running servers.

    Raises:
        DatabaseAway: The database does not answer.
    """
    living = Boot.seen_at > func.now() - text(f"interval '{LIVING_SECONDS} seconds'")
    sums = (
        select(
            SystemMetric.endpoint,
            SystemMetric.is_error,
            SystemMetric.duration_class,
            func.sum(SystemMetric.requests),
            func.sum(SystemMetric.duration_ms),
        )
        .join(Boot, Boot.id == SystemMetric.boot_id)
        .where(living)
        .group_by(SystemMetric.endpoint, SystemMetric.is_error, SystemMetric.duration_class)
    )
    machine = select(
        func.coalesce(func.avg(Boot.cpu_percent), 0.0),
        func.coalesce(func.avg(Boot.memory_percent), 0.0),
        func.coalesce(func.max(Boot.disk_percent), 0.0),
    ).where(living)
    with app.db.read() as tx:
        rows = tx.execute(sums).all()
        cpu, memory, disk = tx.execute(machine).one()
    endpoints = _by_endpoint([(row[0], row[1], row[2], int(row[3]), float(row[4])) for row in rows])
    total = sum(figures.count for figures in endpoints)
    duration = sum(figures.duration_ms for figures in endpoints)
    classes = merged(figures.classes for figures in endpoints)
    return Figures(
        total_requests=total,
        failed_requests=sum(figures.errors for figures in endpoints),
        avg_response_time_ms=duration / total if total else 0.0,
        p95_response_time_ms=percentile_ms(classes, 0.95),
        p99_response_time_ms=percentile_ms(classes, 0.99),
        cpu_percent=cpu,
        memory_percent=memory,
        disk_percent=disk,
        endpoints=endpoints,
    )


def _by_endpoint(rows: Sequence[tuple[str, bool, int, int, float]]) -> Sequence[EndpointFigures]:
    """Sums by endpoint, the busiest first."""
    grouped: dict[str, list[tuple[bool, int, int, float]]] = {}
    for endpoint, *rest in rows:
        grouped.setdefault(endpoint, []).append((rest[0], rest[1], rest[2], rest[3]))  # type: ignore[arg-type]
    found = []
    for endpoint, parts in grouped.items():
        count = sum(requests for _, _, requests, _ in parts)
        duration = sum(duration_ms for *_, duration_ms in parts)
        found.append(
            EndpointFigures(
                endpoint=endpoint,
                count=count,
                errors=sum(requests for is_error, _, requests, _ in parts if is_error),
                avg_response_ms=duration / count,
                classes=merged({index: requests} for _, index, requests, _ in parts),
                duration_ms=duration,
            )
        )
    return sorted(found, key=lambda figures: (-figures.count, figures.endpoint))


@dataclass(frozen=True)
class LogPage:
    """Some log entries, and how many match in all."""

    logs: Sequence[RequestLog]
    total: int


def list_logs(
    app: App,
    caller: Caller,
    *,
    level: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    offset: int = 0,
    limit: int = 100,
) -> LogPage:
    """Requests as they were answered, newest first.

    Args:
        level: Exactly this level.
        start: The earliest instant; without a zone it is UTC.
        end: The latest instant.

    Raises:
        PermissionMissing: The caller is no admin.
    """
    caller.require(Permission.ADMIN)
    where = []
    if level is not None:
        where.append(RequestLog.level == level)
    if start is not None:
        where.append(RequestLog.logged_at >= in_utc(start))
    if end is not None:
        where.append(RequestLog.logged_at <= in_utc(end))
    with app.db.read() as tx:
        total = tx.scalar(select(func.count()).select_from(RequestLog).where(*where)) or 0
        query = select(RequestLog).where(*where).order_by(RequestLog.id.desc()).offset(offset).limit(limit)
        return LogPage(tx.scalars(query).all(), total)


def in_utc(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
