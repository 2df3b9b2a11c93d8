"""The process that a server is started with: it brings up the others, watches over them and takes them down."""

import http.client
import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import click

from weighhouse.app import App
from weighhouse.doors.cli.children import Crew, Retries, drain, end, ending
from weighhouse.doors.cli.listening import listen, reachable_host, web_address
from weighhouse.doors.cli.stopping import StopRequest
from weighhouse.registry.accounts import ensure_admin
from weighhouse.rules.errors import Away, Denied
from weighhouse.settings import DEFAULT_ADMIN_PASSWORD, Settings
from weighhouse.store import embedded
from weighhouse.store.blobs import StoreRefused
from weighhouse.store.cluster import DatabaseFailed
from weighhouse.store.data_dir import claim
from weighhouse.store.database import migrate

_log = logging.getLogger(__name__)

_READY_SECONDS = 60.0
# The API process itself cuts what is still open after 30 s.
_API_END_SECONDS = 35.0
# The worker itself gives up its job after 25 s.
_WORKER_END_SECONDS = 30.0


class DefaultPasswordRefused(Denied):
    """The default password is for this machine only."""


class StartFailed(Away):
    """The server did not start."""


@dataclass
class Postgres:
    """The embedded PostgreSQL under watch; with a database of the operator's own there is nothing to watch."""

    settings: Settings
    stop_request: StopRequest
    _running: embedded.Embedded | None = None
    _retries: Retries = field(default_factory=Retries)

    def start(self) -> str:
        """URL of the database, which accepts connections.

        Raises:
            DatabaseFailed: The embedded PostgreSQL does not start.
        """
        if self.settings.database_url is not None:
            return self.settings.database_url
        self._running = embedded.start(self.settings.data_dir, cancelled=lambda: bool(self.stop_request))
        self._retries.begin()
        return self._running.url

    def tend(self) -> float:
        """Starts it again when it died and is due; the instant (monotonic) at which to look again."""
        if self.settings.database_url is not None:
            return float("inf")
        if self._running is not None:
            if (status := self._running.poll()) is None:
                return float("inf")
            self._running = None
            _log.error("PostgreSQL ended (%s); it starts again in %.1f s", ending(status), self._retries.fail())
        if time.monotonic() >= self._retries.due_at:
            try:
                self.start()
            except DatabaseFailed as error:
                _log.error("%s Tried again in %.1f s.", error.detail, self._retries.fail())
            else:
                _log.warning("PostgreSQL runs again")
                return float("inf")
        return self._retries.due_at

    def stop(self) -> None:
        """Ends it in order."""
        if self._running is not None:
            self._running.stop()
            self._running = None


def run_server(settings: Settings) -> None:
    """Runs a server until SIGTERM or SIGINT.

    Raises:
        RegistryError: The data directory, the address, the database or a setting cannot be used, the default password
            would be open to others, or the server does not answer.
    """
    _refuse_default_password(settings)
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    stop = StopRequest()
    with ExitStack() as undo:
        held = claim(settings.data_dir)
        undo.callback(held.release)
        listener = undo.enter_context(listen(settings.host, settings.port))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        held.announce(web_address(settings.host, settings.port))
        postgres = Postgres(settings, stop)
        undo.callback(postgres.stop)
        undo.callback(stop.started)
        try:
            _serve(settings, postgres, listener, stop)
        except DatabaseFailed:
            # Waiting for a long recovery was given up because that was asked for.
            if not stop:
                raise


def _serve(settings: Settings, postgres: Postgres, listener: socket.socket, stop: StopRequest) -> None:
    settings = settings.model_copy(update={"database_url": postgres.start()})
    assert settings.database_url is not None
    migrate(settings.database_url)
    app = App.open(settings)
    try:
        ensure_admin(app)
        _look_at_store(app)
    finally:
        app.close()
    if stop:
        return
    stop.started()
    crew = Crew.hire(settings.workers, _environment(settings), listener.fileno())
    try:
        _await_answer(settings, crew, stop)
        if not stop:
            click.echo(_greeting(settings))
        while not stop:
            due_at = min(postgres.tend(), crew.tend())
            stop.wait(min(60.0, due_at - time.monotonic()))
        drain(crew.api, settings.farewell_seconds, stop)
    finally:
        # Here too, or connections that nobody will answer would queue up while the API processes finish theirs.
        listener.close()
        end(crew.api, _API_END_SECONDS, stop)
        end(crew.workers, _WORKER_END_SECONDS, stop)


def _look_at_store(app: App) -> None:
    """Goes on while the store is away: what needs no files works, and the rest does as soon as it is back.

    Raises:
        StoreRefused: It does not let the registry in, which no waiting mends.
    """
    try:
        app.blobs.check()
    except StoreRefused:
        raise
    except Away as away:
        _log.warning("%s The server starts without it: nothing can be uploaded or downloaded meanwhile.", away.detail)


def _refuse_default_password(settings: Settings) -> None:
    if _has_default_password(settings) and not settings.is_private:
        raise DefaultPasswordRefused(
            "Others could reach this server, by its address or through a proxy, and sign in with the default password, "
            "which everybody knows. Set WEIGHHOUSE_ADMIN_PASSWORD to one of your own, or listen on 127.0.0.1 alone."
        )


def _has_default_password(settings: Settings) -> bool:
    password = settings.admin_password
    return password is None or password.get_secret_value() in {"", DEFAULT_ADMIN_PASSWORD}


def _environment(settings: Settings) -> Mapping[str, str]:
    """What the children read their settings from: ours, with what was decided here. Not the command line, which
    every user of the machine can read."""
    assert settings.database_url is not None
    return {
        **os.environ,
        "WEIGHHOUSE_DATABASE_URL": settings.database_url,
        "WEIGHHOUSE_DATA_DIR": str(settings.data_dir),
        "WEIGHHOUSE_HOST": settings.host,
        "WEIGHHOUSE_PORT": str(settings.port),
        "WEIGHHOUSE_WORKERS": str(settings.workers),
        "WEIGHHOUSE_BOOT_ID": str(uuid.uuid4()),
    }


def _await_answer(settings: Settings, crew: Crew, stop: StopRequest) -> None:
    """Starts the crew and returns when the server answers, or when it is asked to stop.

    Raises:
        StartFailed: A process ended before it could answer, or none answers in time.
    """
    crew.tend()
    deadline = time.monotonic() + _READY_SECONDS
    while not stop and not _healthy(settings):
        for child in crew.all:
            if child.process is not None and (status := child.process.poll()) is not None:
                raise StartFailed(
                    f"The {child.role} process ended at once ({ending(status)}); the lines above say why."
                )
        if time.monotonic() > deadline:
            raise StartFailed(f"The server does not answer {_READY_SECONDS:.0f} s after its start; see its log.")
        stop.wait(0.05)


def _healthy(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(reachable_host(settings.host), settings.port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _greeting(settings: Settings) -> str:
    address = web_address(settings.host, settings.port)
    line = f"Weighhouse is ready at {address} (API documentation: {address}/docs, data: {settings.data_dir})."
    if _has_default_password(settings):
        line += f" Sign in as {settings.admin_username} with {DEFAULT_ADMIN_PASSWORD} until you change that password."
    return line
