"""The nginx of the deployment guide, in front of servers under test."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import eventually

EXAMPLE = Path(__file__).parents[1] / "deploy" / "nginx" / "weighhouse.conf"
PROGRAM = shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
needs_nginx = pytest.mark.skipif(
    PROGRAM is None or shutil.which("openssl") is None,
    reason="nginx or openssl is not installed: apt-get install nginx-light openssl",
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(folder: Path, port: int, servers: Sequence[str]) -> Iterator[str]:
    """The example's nginx; the address where it passes requests on.

    Args:
        folder: Where its files go.
        port: Where it listens, with TLS and a certificate that nobody knows.
        servers: `host:port` of each server.
    """
    assert PROGRAM is not None
    folder.mkdir(parents=True, exist_ok=True)
    _certify(folder)
    configuration = folder / "nginx.conf"
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{ worker_connections 512; }}\nhttp {{ access_log off; {paths}\n{_example(folder, port, servers)}\n}}\n"
    )
    process = subprocess.Popen([PROGRAM, "-e", str(folder / "error.log"), "-c", str(configuration)])
    try:
        eventually(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield f"https://localhost:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def _example(folder: Path, port: int, servers: Sequence[str]) -> str:
    """The example with what every site has to change: addresses, names, and where its certificate is."""
    text = EXAMPLE.read_text()
    options = re.findall(r"^ *server [\d.]+:\d+ (.*);$", text, re.MULTILINE)[0]
    lines = "\n".join(f"    server {server} {options};" for server in servers)
    text = re.sub(r"(^ *server [\d.]+:\d+ .*;\n)+", lines + "\n", text, count=1, flags=re.MULTILINE)
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;").replace("models.example.org", "localhost")
    return text.replace("/etc/ssl/weighhouse", str(folder))


def _certify(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-days", "1"]
    command += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(command, check=True, capture_output=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
