"""Starts and stops the embedded PostgreSQL: one cluster under the data directory, reached by a private Unix socket."""

import hashlib
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from weighhouse.store.cluster import (
    OWNER,
    DatabaseFailed,
    binary,
    environment,
    make_cluster,
    password_file,
    renew_password,
    unprivileged,
)

# struct sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
_SOCKET_PATH_BYTES = 103
_SOCKET_NAME = ".s.PGSQL.5432"

# Recovery after a crash replays at most max_wal_size; a slow disk needs minutes for that.
_START_SECONDS = 600
_FAST_STOP_SECONDS = 30
_IMMEDIATE_STOP_SECONDS = 10

# Given on the command line, where no file of the cluster can override them: the first three are the promise that what
# was acknowledged survives a crash.
_SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "maintenance_work_mem": "128MB",
    "work_mem": "16MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "track_io_timing": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_lock_waits": "on",
    "logging_collector": "on",
    # One file a weekday, each begun anew a week later: rotation that needs no clean-up.
    "log_filename": "postgres-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
}


@dataclass(frozen=True)
class Embedded:
    """A running PostgreSQL.

    Args:
        url: SQLAlchemy URL of the database, password included.
    """

    url: str
    _process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return self._process.pid

    def poll(self) -> int | None:
        """Exit status of the postmaster, or `None` while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ends it in order: open transactions are rolled back, the data is checkpointed. Does nothing the second time."""
        _end(self._process)


def start(data_dir: Path, *, cancelled: Callable[[], bool] = lambda: False) -> Embedded:
    """The PostgreSQL of this data directory, accepting connections; made first where there is none.

    The caller holds the data directory's lock: a postmaster that still runs here is taken for one that a killed
    server left behind, and is ended.

    Args:
        data_dir: Made if need be.
        cancelled: Asked now and then during a long recovery; true gives up waiting.

    Raises:
        RootNotPossible: Called by root where the kernel allows no user namespace.
        DatabaseFailed: It does not start; the detail ends with PostgreSQL's own last words.
    """
    data_dir = data_dir.resolve()
    cluster, log_dir = data_dir / "postgres", data_dir / "log"
    try:
        for folder in (data_dir, log_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        prefix = unprivileged()
        _check_owner(cluster)
        _end_leftovers(cluster)
        if not cluster.exists():
            make_cluster(data_dir, prefix)
        if not password_file(data_dir).exists():
            renew_password(data_dir, prefix)
        return _launch(data_dir, prefix, cancelled)
    except OSError as error:
        raise DatabaseFailed(f"The embedded PostgreSQL cannot be started in {data_dir}: {error}.") from error


def database_url(data_dir: Path) -> str:
    """SQLAlchemy URL of the embedded database of a data directory, whether it runs or not.

    Raises:
        DatabaseFailed: There is no embedded database, or this user may not read its password.
    """
    data_dir = data_dir.resolve()
    try:
        password = password_file(data_dir).read_text().strip()
    except OSError as error:
        raise DatabaseFailed(f"{data_dir} holds no embedded database that this user may use: {error}.") from error
    # Percent signs only: SQLAlchemy writes a space as +, which libpq takes for a plus.
    return f"postgresql+psycopg://{OWNER}:{password}@/{OWNER}?host={quote(str(_socket_dir(data_dir)), safe='')}"


def running_url(data_dir: Path) -> str:
    """SQLAlchemy URL of the embedded database of a running server.

    Raises:
        DatabaseFailed: No server runs on this data directory, or this user may not use its database.
    """
    url = database_url(data_dir)
    try:
        psycopg.connect(_libpq(url), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        raise DatabaseFailed(
            f"No server runs on the data directory {data_dir}. Start it with ./run serve, or set WEIGHHOUSE_DATABASE_URL."
        ) from error
    return url


def _libpq(url: str) -> str:
    return url.replace("+psycopg", "", 1)


def _check_owner(cluster: Path) -> None:
    if cluster.exists() and (owner := cluster.stat().st_uid) != os.geteuid():
        raise DatabaseFailed(
            f"{cluster} belongs to user id {owner}, this is user id {os.geteuid()}. Start the server as its owner, or "
            "give the whole data directory to this user."
        )


def _socket_dir(data_dir: Path) -> Path:
    """Where the socket lies: in the data directory, or in a folder of the system's when that path is too long."""
    key = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    name = f"weighhouse-{os.geteuid()}-{key}"
    candidates = (data_dir / "postgres-socket", Path(tempfile.gettempdir(), name), Path("/tmp", name))  # noqa: S108 - checked by _private
    for folder in candidates:
        # libpq reads a comma in a host as the end of the first of several hosts.
        if len(os.fsencode(folder / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES and "," not in str(folder):
            return folder
    raise DatabaseFailed(
        f"No folder has a path short enough for PostgreSQL's socket; set TMPDIR to a short one, not {candidates[1]}."
    )


def _private(folder: Path) -> Path:
    """The folder, made if need be; nobody else owns it or may enter it.

    Raises:
        DatabaseFailed: Somebody else made it first.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise DatabaseFailed(f"{folder} belongs to another user; remove it, or set TMPDIR to a folder of your own.")
    folder.chmod(0o700)
    return folder


def _launch(data_dir: Path, prefix: Sequence[str], cancelled: Callable[[], bool]) -> Embedded:
    cluster, log_dir = data_dir / "postgres", data_dir / "log"
    socket_dir = _private(_socket_dir(data_dir))
    for stale in socket_dir.glob(f"{_SOCKET_NAME}*"):
        stale.unlink()
    quoted = str(socket_dir).replace('"', '""')
    settings = {**_SETTINGS, "unix_socket_directories": f'"{quoted}"', "log_directory": str(log_dir)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (log_dir / "postgres-start.log").open("wb") as log:
        process = subprocess.Popen(
            [*prefix, binary("postgres"), "-D", str(cluster), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
            start_new_session=True,
        )
    try:
        _await_ready(process, cluster, cancelled)
        url = database_url(data_dir)
        _check_promises(url)
    except BaseException:
        _end(process)
        raise
    return Embedded(url, process)


def _await_ready(process: subprocess.Popen[bytes], cluster: Path, cancelled: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline and not cancelled():
        # The eighth line is the postmaster's own word on its state; the first tells an old file from a new one.
        lines = _pid_file(cluster)
        if len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready":
            return
        time.sleep(0.02)
    log_dir = cluster.parent / "log"
    raise DatabaseFailed(
        f"The embedded PostgreSQL did not start; its logs are in {log_dir}, and its last words were:\n{_last_words(log_dir)}"
    )


def _check_promises(url: str) -> None:
    """Makes sure that what is acknowledged survives a crash and that damage is noticed.

    Raises:
        DatabaseFailed: The cluster was changed so that it does not, or it does not let us in.
    """
    promises = ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"]
    try:
        with psycopg.connect(_libpq(url), autocommit=True) as connection:
            broken = connection.execute(
                "SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting = 'off' ORDER BY name", [promises]
            ).fetchall()
    except psycopg.OperationalError as error:
        raise DatabaseFailed(f"The embedded PostgreSQL started but does not let the server in: {error}") from error
    if broken:
        names = ", ".join(name for (name,) in broken)
        raise DatabaseFailed(f"The embedded PostgreSQL has {names} off, so data could be lost. Turn it on again.")


def _pid_file(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _last_words(log_dir: Path) -> str:
    logs = sorted(log_dir.glob("postgres-*.log"), key=lambda log: log.stat().st_mtime)[-2:]
    words = [line for log in logs for line in log.read_text(errors="replace").splitlines()[-8:]]
    return "\n".join(words) or "(nothing)"


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGINT, _FAST_STOP_SECONDS), (signal.SIGQUIT, _IMMEDIATE_STOP_SECONDS)):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
    if process.poll() is None:
        process.kill()
        process.wait()


def _end_leftovers(cluster: Path) -> None:
    """Ends what a killed server left running in this cluster, backends of a dead postmaster included."""
    lines = _pid_file(cluster)
    if not lines:
        return
    processes = _processes_of(cluster)
    postmaster = [process for process in processes if str(process.pid) == lines[0].strip()]
    for number, seconds in ((signal.SIGINT, _FAST_STOP_SECONDS), (signal.SIGQUIT, _IMMEDIATE_STOP_SECONDS)):
        _signal(postmaster, number)
        _, postmaster = psutil.wait_procs(postmaster, timeout=seconds)
    orphans = _processes_of(cluster)
    _signal(orphans, signal.SIGKILL)
    _, alive = psutil.wait_procs(orphans, timeout=_IMMEDIATE_STOP_SECONDS)
    if alive:
        pids = ", ".join(str(process.pid) for process in alive)
        raise DatabaseFailed(f"An earlier PostgreSQL still runs in {cluster} and cannot be ended: processes {pids}.")
    # PostgreSQL takes any living process with the recorded number for another postmaster. After a restart of the
    # machine that number may be anybody's; that it is none of this cluster's was found out above.
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _processes_of(cluster: Path) -> list[psutil.Process]:
    # Every process of a cluster has it as its working directory.
    found = psutil.process_iter(["name", "cwd"])
    return [one for one in found if one.info["name"] == "postgres" and one.info["cwd"] == str(cluster)]


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
