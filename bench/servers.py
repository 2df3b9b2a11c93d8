"""The servers that are measured, each in processes of its own on the loopback interface, ended by their ids."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from weighhouse.store import embedded

PASSWORD = "bench only, on loopback"
_START_SECONDS = 120


@dataclass(frozen=True)
class Product:
    """A running Weighhouse."""

    url: str
    token: str
    data_dir: Path
    start_seconds: float
    _process: psutil.Process

    def api_memory_bytes(self) -> int:
        """Memory of its API processes, shared pages divided among those that share them (PSS)."""
        return sum(process.memory_full_info().pss for process in self._api())

    def worker_memory_bytes(self) -> int:
        """Memory of its evaluation workers (PSS)."""
        workers = [child for child in self._process.children() if "worker" in child.cmdline()]
        return sum(process.memory_full_info().pss for process in workers)

    def cpu_seconds(self) -> float:
        """Processor time of its API processes so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._api())

    def database_url(self) -> str:
        """Address of its database, for a client beside it."""
        return embedded.database_url(self.data_dir)

    def _api(self) -> Sequence[psutil.Process]:
        return [child for child in self._process.children() if "api" in child.cmdline()]


@contextmanager
def product(data_dir: Path, *, workers: int = 2, **more: str) -> Iterator[Product]:
    """A Weighhouse on a data directory, ready to answer; `more` are settings by name, without the prefix."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"WEIGHHOUSE_ADMIN_PASSWORD": PASSWORD, "WEIGHHOUSE_TOKEN_CALLS": "1000000000"}
    settings |= {f"WEIGHHOUSE_{name.upper()}": value for name, value in more.items()}
    command = [sys.executable, "-m", "weighhouse", "serve"]
    command += ["--port", str(port), "--data-dir", str(data_dir), "--workers", str(workers)]
    started = time.perf_counter()
    with _running(command, data_dir.parent / f"{data_dir.name}.log", settings) as process:
        _await(f"{url}/health", process)
        seconds = time.perf_counter() - started
        yield Product(url, _token(url), data_dir, seconds, psutil.Process(process.pid))


@contextmanager
def reference(database_url: str, folder: Path, *, workers: int = 2) -> Iterator[str]:
    """The bare Starlette application on a database; its address."""
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.reference:app", "--port", str(port), "--workers", str(workers)]
    command += ["--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning"]
    with _running(command, folder / "reference.log", {"BENCH_DATABASE_URL": database_url}) as process:
        _await(f"http://127.0.0.1:{port}/packages?name=nowhere", process)
        yield f"http://127.0.0.1:{port}"


def nginx(root: Path, folder: Path) -> AbstractContextManager[str]:
    """An nginx that sends the files below `root`; its address.

    Raises:
        FileNotFoundError: There is no nginx; install nginx-light.
    """
    probe = next(path for path in root.iterdir())
    return _nginx(folder, "sendfile on; tcp_nopush on;", f"root {root};", probe.name)


def balancer(folder: Path, urls: Sequence[str]) -> AbstractContextManager[str]:
    """An nginx that passes requests on to these servers in turn; its address.

    Raises:
        FileNotFoundError: There is no nginx; install nginx-light.
    """
    servers = " ".join(f"server {url.removeprefix('http://')};" for url in urls)
    passing = 'proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection "";'
    return _nginx(
        folder,
        f"upstream servers {{ {servers} keepalive 64; }}",
        f"location / {{ {passing} proxy_set_header Host $http_host; }}",
        "healthz",
    )


@contextmanager
def _nginx(folder: Path, http: str, server: str, probe: str) -> Iterator[str]:
    """An nginx with these lines in its blocks; it runs when `probe` answers."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise FileNotFoundError("Install nginx (apt-get install nginx-light) to measure with it.")
    port = _free_port()
    # Several may run beside each other.
    own = folder / f"nginx-{port}"
    own.mkdir()
    configuration = own / "nginx.conf"
    temporary = "".join(f"{kind}_temp_path {own}/{kind};" for kind in ("client_body", "proxy"))
    configuration.write_text(
        f"daemon off; worker_processes 2; pid {own}/pid; error_log {own}/error.log;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; {temporary} {http}\n"
        f"server {{ listen 127.0.0.1:{port}; {server} }} }}\n"
    )
    command = [program, "-e", str(own / "error.log"), "-c", str(configuration)]
    with _running(command, own / "log", {}) as process:
        _await(f"http://127.0.0.1:{port}/{probe}", process, method="HEAD")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: Sequence[str], log: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    project = Path(__file__).parent.parent
    path = os.pathsep.join([str(project / "src"), str(project), os.environ.get("PYTHONPATH", "")])
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | settings | {"PYTHONPATH": path}, stdout=output, stderr=output, cwd=log.parent
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes], method: str = "GET") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _token(url: str) -> str:
    body = json.dumps({"username": "admin", "password": PASSWORD}).encode()
    asked = urllib.request.Request(f"{url}/authenticate", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return str(json.load(answer)["token"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
