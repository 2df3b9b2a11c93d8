"""A small GitHub over real HTTP: repositories, their files and licenses, ETags, rate limits, and faults on demand.

Shapes are those of the documented REST API, cut to the members that a client may rely on. Other kinds of answers are added as
routes: `GitHub.serve(pattern, answer)`.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Asked:
    """A request as it came; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Any, status: int = 200, **headers: str) -> "Answer":
        """A JSON document; underscores in the names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(document).encode(), {"Content-Type": JSON, **named})


@dataclass(frozen=True)
class Fault:
    """What goes wrong instead of an answer.

    Args:
        status: Sent with `headers` and `body`, unless it is 0.
        seconds: Wait so long first.
        drip: Send the body one byte in so many seconds.
        drops: Hang up without a word.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"message": "Server Error"}'
    seconds: float = 0
    drip: float = 0
    drops: bool = False


@dataclass
class Repository:
    """A repository. `license` is what the server recognises: an SPDX id, `NOASSERTION`, or `None` for no license file."""

    owner: str
    name: str
    files: Mapping[str, str | bytes]
    license: str | None
    license_path: str
    is_private: bool = False

    def content(self, path: str) -> bytes | None:
        """Bytes of a file; `None` when there is none."""
        found = self.files.get(path)
        return found.encode() if isinstance(found, str) else found


Route = Callable[[Asked, re.Match[str]], Answer | None]


class GitHub:
    """A GitHub of the test's own, on a port of loopback. Use as a context manager.

    Args:
        token: When set, requests with another token are refused, and private repositories are shown to this one only.
    """

    def __init__(self, *, token: str | None = None) -> None:
        self.token = token
        self.requests: list[Asked] = []
        self.repositories: dict[str, Repository] = {}
        self.moved: dict[str, str] = {}
        self._faults: list[Fault] = []
        self._guard = threading.Lock()
        self._routes: list[tuple[re.Pattern[str], Route]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.serve(r"/repos/([^/]+)/([^/]+)", self._repository)
        self.serve(r"/repos/([^/]+)/([^/]+)/license", self._license)
        self.serve(r"/repos/([^/]+)/([^/]+)/contents/?(.*)", self._contents)

    def __enter__(self) -> "GitHub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The REST address, as a client is told it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def add_repository(
        self,
        owner: str,
        name: str,
        files: Mapping[str, str | bytes] | None = None,
        license: str | None = None,  # noqa: A002 - GitHub's own word
        *,
        license_path: str = "LICENSE",
        is_private: bool = False,
    ) -> Repository:
        """A repository with these files."""
        repository = Repository(owner, name, files or {}, license, license_path, is_private)
        self.repositories[f"{owner}/{name}".lower()] = repository
        return repository

    def rename(self, old: str, new: str) -> None:
        """Answers for `old` (`owner/name`) with a redirect to `new`."""
        self.moved[old.lower()] = new

    def fail(self, *faults: Fault) -> None:
        """The next requests end so, one each."""
        with self._guard:
            self._faults += faults

    def serve(self, pattern: str, answer: Route) -> None:
        """Has paths that match the whole pattern answered; a later route goes before an earlier one."""
        self._routes.insert(0, (re.compile(pattern), answer))

    def take_fault(self) -> Fault | None:
        """The fault that the request at hand ends in."""
        with self._guard:
            return self._faults.pop(0) if self._faults else None

    def answer(self, asked: Asked) -> Answer:
        """The answer to a request, before ETags."""
        given = asked.headers.get("authorization", "").removeprefix("Bearer ")
        # What clones authenticates as git does, and is judged by the route.
        if self.token is not None and given and given != self.token and not given.startswith("Basic "):
            return Answer.of({"message": "Bad credentials"}, 401)
        for pattern, route in self._routes:
            match = pattern.fullmatch(asked.path)
            if match and (answer := route(asked, match)):
                return answer
        return Answer.of({"message": "Not Found", "status": "404"}, 404)

    def _find(self, asked: Asked, match: re.Match[str]) -> Repository | None:
        repository = self.repositories.get(f"{match[1]}/{match[2]}".lower())
        if repository is None or not repository.is_private:
            return repository
        return repository if self.token and asked.headers.get("authorization") == f"Bearer {self.token}" else None

    def _repository(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        if moved := self._moved(asked, match):
            return moved
        repository = self._find(asked, match)
        if repository is None:
            return None
        named = repository.license and _license_of(repository.license)
        full_name = f"{repository.owner}/{repository.name}"
        return Answer.of(
            {
                "id": 1,
                "name": repository.name,
                "full_name": full_name,
                "private": repository.is_private,
                "owner": {"login": repository.owner, "type": "User"},
                "html_url": f"https://github.com/{full_name}",
                "default_branch": "main",
                "license": named or None,
            }
        )

    def _license(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        if moved := self._moved(asked, match):
            return moved
        repository = self._find(asked, match)
        if repository is None or repository.license is None:
            return None
        content = repository.content(repository.license_path) or b""
        return Answer.of(_file(repository.license_path, content) | {"license": _license_of(repository.license)})

    def _contents(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        if moved := self._moved(asked, match):
            return moved
        repository = self._find(asked, match)
        if repository is None:
            return None
        path = unquote(match[3]).strip("/")
        content = repository.content(path)
        if content is not None:
            if "raw" in asked.headers.get("accept", ""):
                return Answer(200, content, {"Content-Type": "application/vnd.github.raw+json; charset=utf-8"})
            return Answer.of(_file(path, content))
        listed = _listing(repository, f"{path}/" if path else "")
        return Answer.of(listed) if listed or not path else None

    def _moved(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        target = self.moved.get(f"{match[1]}/{match[2]}".lower())
        if target is None:
            return None
        rest = asked.path.split("/", 4)[4:]
        location = "/".join([f"{self.url}/repos/{target}", *rest])
        return Answer.of({"message": "Moved Permanently", "url": location}, 301, Location=location)


def _license_of(spdx_id: str) -> dict[str, Any]:
    if spdx_id == "NOASSERTION":
        return {"key": "other", "name": "Other", "spdx_id": "NOASSERTION", "url": None, "node_id": "x"}
    key = spdx_id.lower()
    url = f"https://api.github.com/licenses/{key}"
    return {"key": key, "name": spdx_id, "spdx_id": spdx_id, "url": url, "node_id": "x"}


def _file(path: str, content: bytes) -> dict[str, Any]:
    return {
        "name": path.rpartition("/")[2],
        "path": path,
        "sha": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        "size": len(content),
        "type": "file",
        "html_url": f"https://github.com/x/y/blob/main/{path}",
        "content": base64.encodebytes(content).decode(),
        "encoding": "base64",
    }


def _listing(repository: Repository, folder: str) -> list[dict[str, Any]]:
    """The entries directly below a folder, files and folders."""
    entries: dict[str, dict[str, Any]] = {}
    for path in sorted(repository.files):
        if not path.startswith(folder):
            continue
        name, slash, _ = path.removeprefix(folder).partition("/")
        content = repository.content(path) or b""
        kind, size = ("dir", 0) if slash else ("file", len(content))
        entries[name] = {"name": name, "path": folder + name, "type": kind, "size": size}
    return list(entries.values())


def _handler(github: GitHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            """Tests say themselves what went wrong."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, parts.query, headers, body)
            github.requests.append(asked)
            fault = github.take_fault()
            if fault and fault.seconds:
                time.sleep(fault.seconds)
            if fault and fault.drops:
                self.close_connection = True
            elif fault and fault.status:
                self._send(Answer(fault.status, fault.body, {"Content-Type": JSON, **fault.headers}), drip=fault.drip)
            else:
                self._send(_with_etag(asked, github.answer(asked)))

        def _send(self, answer: Answer, *, drip: float = 0) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answer.headers and answer.status != 304:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            try:
                for start in range(len(answer.body)) if drip else ():
                    self.wfile.write(answer.body[start : start + 1])
                    time.sleep(drip)
                if not drip:
                    self.wfile.write(answer.body)
            except OSError:
                # The client hung up, which is what some tests want of it.
                self.close_connection = True

    return Handler


def _with_etag(asked: Asked, answer: Answer) -> Answer:
    if answer.status != 200 or asked.method != "GET":
        return answer
    digest = hashlib.sha256(answer.body + asked.headers.get("accept", "").encode()).hexdigest()
    etag = f'W/"{digest}"'
    headers = {**answer.headers, "ETag": etag}
    if asked.headers.get("if-none-match") == etag:
        return Answer(304, b"", headers)
    return Answer(200, answer.body, headers)
