"""A real S3 server: OpenStack Swift with its S3 interface, on loopback, one for all processes of a test run.

Whoever uses it holds a lock that the system lets go of when they end, however they end. A keeper waits for the last of
them and then takes the servers down. Run as a program, this file is the keeper.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

_PARTS = ("account", "container", "object", "proxy")
_START_SECONDS = 120

_SWIFT = """[swift-hash]
swift_hash_path_suffix = weighhouse
swift_hash_path_prefix = weighhouse
[storage-policy:0]
name = default
default = yes
"""

_PART = """[DEFAULT]
devices = {folder}/devices
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
user = {user}
disable_fallocate = true
log_level = WARNING
[pipeline:main]
pipeline = {part}-server
[app:{part}-server]
use = egg:swift#{part}
"""

# Without the limits of its own, Swift takes fewer parts than S3 does.
_PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
user = {user}
log_level = WARNING
[pipeline:main]
pipeline = catch_errors listing_formats bulk s3api tempauth copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
max_upload_part_num = 10000
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
user_lab_user = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
max_manifest_size = 33554432
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""


class Unusable(Exception):
    """This machine cannot run the server; the message says what it lacks."""


@dataclass(frozen=True)
class SwiftServer:
    """Where a server answers, and the keys to it."""

    endpoint: str
    access_key_id: str
    secret_access_key: str


@contextmanager
def shared(folder: Path) -> Iterator[SwiftServer]:
    """The server of a test run, started by the first who asks and stopped after the last who left.

    Args:
        folder: One that all processes of the run share.

    Raises:
        Unusable: This machine cannot run it.
    """
    _require_program()
    with contextlib.ExitStack() as stack:
        users = stack.enter_context((folder / "s3-users").open("a"))
        with _locked(folder / "s3-starting"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (folder / "s3-ready").exists():
                _start_keeper(folder)
            told = json.loads((folder / "s3-ready").read_text())
        yield SwiftServer(**told)


def _require_program() -> None:
    if shutil.which(_program("proxy-server"), path="/") is None and not Path(_program("proxy-server")).exists():
        raise Unusable("no OpenStack Swift here, which runs on Linux only. Install it with: ./run install test")


def _program(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / f"swift-{name}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start_keeper(folder: Path) -> None:
    # In a session of its own: Ctrl-C ends the tests, and then the keeper notices.
    with (folder / "s3-log").open("ab") as log:
        command = [sys.executable, str(Path(__file__).resolve()), str(folder)]
        keeper = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + _START_SECONDS
    while not (folder / "s3-ready").exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            keeper.kill()
            keeper.wait()
            raise Unusable(f"OpenStack Swift does not start: {(folder / 's3-log').read_text()[-600:]}")
        time.sleep(0.1)
    keeper.returncode = 0  # It outlives this process perhaps, and nobody waits for it.


def keep(folder: Path) -> None:
    """Runs the servers until nobody uses them any more."""
    data = Path(tempfile.mkdtemp(prefix="swift-", dir=_roomy()))
    running: list[subprocess.Popen[bytes]] = []
    try:
        server = _start(data, running)
        partial = folder / "s3-ready.partial"
        partial.write_text(json.dumps(asdict(server)))
        partial.rename(folder / "s3-ready")
        with (folder / "s3-users").open("a") as users:
            while not _is_left(folder, users.fileno()) and all(process.poll() is None for process in running):
                time.sleep(0.5)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()
        shutil.rmtree(data, ignore_errors=True)


def _is_left(folder: Path, users: int) -> bool:
    """Whether nobody uses the servers; from then on the next who asks starts others."""
    with _locked(folder / "s3-starting"):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        (folder / "s3-ready").unlink(missing_ok=True)
        return True


def _roomy() -> str:
    """A folder whose file system keeps the attributes that Swift needs; in memory, where there is one."""
    for place in ("/dev/shm", tempfile.gettempdir(), "/var/tmp"):
        with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=place) as file:
            os.setxattr(file.name, "user.swift.metadata", b"x" * 200)
            return place
    raise SystemExit("No folder here keeps extended attributes (user.*), which Swift needs.")


def _start(data: Path, running: list[subprocess.Popen[bytes]]) -> SwiftServer:
    ports = _free_ports()
    server = SwiftServer(f"http://127.0.0.1:{ports['proxy']}", "lab:user", os.urandom(12).hex())
    (data / "devices/d1").mkdir(parents=True)
    (data / "swift.conf").write_text(_SWIFT)
    user = _user()
    for part in _PARTS:
        text = (_PROXY if part == "proxy" else _PART).format(
            folder=data, port=ports[part], user=user, part=part, secret=server.secret_access_key
        )
        (data / f"{part}.conf").write_text(text)
        if part != "proxy":
            _make_ring(data / f"{part}.builder", f"r1z1-127.0.0.1:{ports[part]}/d1")
    for part in _PARTS:
        command = [_program(f"{part}-server"), str(data / f"{part}.conf")]
        running.append(subprocess.Popen(command, env=_environment(data), stdin=subprocess.DEVNULL))
    deadline = time.monotonic() + _START_SECONDS
    for part in _PARTS:
        while not _answers(ports[part]):
            if time.monotonic() > deadline or any(process.poll() is not None for process in running):
                raise SystemExit(f"The {part} server does not answer.")
            time.sleep(0.05)
    return server


def _environment(data: Path) -> Mapping[str, str]:
    # Not what the tests measure of their own processes, and no warnings of a library's age.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "COV_", "PYTHON"))}
    return ours | {"SWIFT_DIR": str(data), "PYTHONWARNINGS": "ignore"}


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _make_ring(builder: Path, device: str) -> None:
    for arguments in (["create", "4", "1", "1"], ["add", device, "1"], ["rebalance"]):
        command = [_program("ring-builder"), str(builder), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_environment(builder.parent))


def _free_ports() -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        sockets = {part: stack.enter_context(socket.socket()) for part in _PARTS}
        for listener in sockets.values():
            listener.bind(("127.0.0.1", 0))
        return {part: listener.getsockname()[1] for part, listener in sockets.items()}


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keep(Path(sys.argv[1]))
