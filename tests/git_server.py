"""Git repositories made for tests, and a small HTTP server of them: the real protocol, by git's own `http-backend`."""

import os
import shutil
import subprocess
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

HAS_GIT = shutil.which("git") is not None
needs_git = pytest.mark.skipif(not HAS_GIT, reason="git is not installed: apt-get install git")

NOW = 1_790_000_000
"""When the newest commit is made unless it says otherwise, in seconds since 1970."""

_ENVIRONMENT = {
    "HOME": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": os.environ.get("PATH", ""),
}


@dataclass(frozen=True)
class Made:
    """A commit to make.

    Args:
        files: Content by path; `None` deletes. A path may be bytes that are no text.
        merge: Merges this branch, made of commits of the same list with `branch` of that name.
        links: Targets of symbolic links by path.
    """

    files: Mapping[str | bytes, str | bytes | None] = field(default_factory=dict)
    author: str = "Ann Lee"
    email: str = "ann@example.org"
    at: int = NOW
    branch: str = "main"
    merge: str | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    submodules: Mapping[str, str] = field(default_factory=dict)
    message: str = "change"


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """What git answers in a folder."""
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments], input=stdin, env=_ENVIRONMENT, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode(errors="replace")
    return run.stdout


def make_repository(folder: Path, commits: Sequence[Made], *, default_branch: str = "main") -> list[str]:
    """A bare repository with these commits, oldest first. Answers the id of each."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "--bare", f"--initial-branch={default_branch}")
    git(folder, "config", "http.receivepack", "false")
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    if not commits:
        return []
    stream = b"".join(_commit(mark, one, commits[: mark - 1]) for mark, one in enumerate(commits, 1))
    marks = folder / "marks"
    git(folder, "-c", "core.ignoreCase=false", "fast-import", "--quiet", f"--export-marks={marks}", stdin=stream)
    ids = dict(line.split() for line in marks.read_text().splitlines())
    return [ids[f":{mark}"] for mark in range(1, len(commits) + 1)]


def _commit(mark: int, one: Made, before: Sequence[Made]) -> bytes:
    who = f"{one.author} <{one.email}> {one.at} +0000"
    message = one.message.encode()
    lines = [
        f"commit refs/heads/{one.branch}\nmark :{mark}\nauthor {who}\ncommitter {who}\ndata {len(message)}\n".encode()
    ]
    lines.append(message + b"\n")
    made = [number for number, other in enumerate(before, 1) if other.branch == one.branch]
    if not made and before:
        lines.append(f"from :{len(before)}\n".encode())
    if one.merge:
        tip = max(number for number, other in enumerate(before, 1) if other.branch == one.merge)
        lines.append(f"merge :{tip}\n".encode())
    for path, content in one.files.items():
        raw = path if isinstance(path, bytes) else path.encode()
        if content is None:
            lines.append(b"D " + _quoted(raw) + b"\n")
            continue
        data = content if isinstance(content, bytes) else content.encode()
        lines.append(b"M 100644 inline " + _quoted(raw) + b"\ndata %d\n" % len(data) + data + b"\n")
    for path, target in one.links.items():
        lines.append(f"M 120000 inline {path}\ndata {len(target)}\n{target}\n".encode())
    for path, sha in one.submodules.items():
        lines.append(f"M 160000 {sha} {path}\n".encode())
    return b"".join(lines) + b"\n"


def _quoted(path: bytes) -> bytes:
    return (
        b'"' + b"".join(b"\\%03o" % byte if byte in b'"\\\n' or byte > 126 else bytes([byte]) for byte in path) + b'"'
    )


@cache
def _backend() -> str:
    return str(Path(git(Path("/"), "--exec-path").decode().strip()) / "git-http-backend")


def ask_git(
    root: Path, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that `git http-backend` answers for the repositories below `root`.

    Args:
        headers: Names in lower case.
    """
    environment = _ENVIRONMENT | {
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": headers.get("git-protocol", ""),
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
        "REMOTE_ADDR": "127.0.0.1",
    }
    run = subprocess.run([_backend()], input=body, env=environment, capture_output=True, check=False)
    head, _, content = run.stdout.partition(b"\r\n\r\n")
    answered = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    return int(answered.pop("Status", "200").split()[0]), answered, content


class GitServer(ThreadingHTTPServer):
    """Serves the repositories below `root`: `<root>/acme/tiny.git` at `/acme/tiny.git`.

    `asked` holds every request's method, path and headers. `answers` holds what is answered instead, by the beginning of a
    path: a status, or an address to be sent to. While `pack_is_endless`, every pack is one that never ends; with `pack_breaks`
    as well the connection is cut within it.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answers: dict[str, int | str] = {}
        self.pack_is_endless = False
        self.pack_breaks = False
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.server_port


class _Handler(BaseHTTPRequestHandler):
    server: GitServer

    def _answer(self) -> None:
        served = self.server
        served.asked.append((self.command, self.path, dict(self.headers.items())))
        answer = next((answer for start, answer in served.answers.items() if self.path.startswith(start)), None)
        if answer is None:
            self._ask_git()
        elif isinstance(answer, int):
            self.send_response(answer)
            self.end_headers()
        else:
            self.send_response(302)
            self.send_header("Location", answer + self.path)
            self.end_headers()

    do_GET = do_POST = _answer

    def _ask_git(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if self.server.pack_is_endless and b"command=fetch" in body:
            self._never_ends()
            return
        status, answered, content = ask_git(self.server.root, self.command, parts.path, parts.query, headers, body)
        self.send_response(status)
        for name, value in (answered | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _never_ends(self) -> None:
        """A pack (gitformat-pack) of more objects than are ever sent, each of one megabyte that does not compress."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-result")
        self.end_headers()
        self._packet(b"packfile\n")
        self._packet(b"\x01PACK" + (2).to_bytes(4, "big") + (5_000_000).to_bytes(4, "big"))
        size = 1 << 20
        header = bytes([0xB0 | (size & 15), 0x80 | (size >> 4 & 127), 0x80 | (size >> 11 & 127), size >> 18])
        data = header + zlib.compress(os.urandom(size), 0)
        while not self.server.stopped.is_set():
            for start in range(0, len(data), 65_000):
                self._packet(b"\x01" + data[start : start + 65_000])
            if self.server.pack_breaks:
                return

    def _packet(self, content: bytes) -> None:
        self.wfile.write(b"%04x" % (len(content) + 4) + content)

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            # The client was stopped, as the test wants.
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: a test's output is the runner's."""


@contextmanager
def serving(root: Path) -> Iterator[GitServer]:
    """A running server, gone at the end."""
    with GitServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()
