"""A small hub on this machine: repositories from folders, served as the real client of the Hub asks for them.

It speaks the reading half of the protocol (model and dataset facts, files with ranges, trees, commits, Croissant documents,
who am I) and fails on demand: with a status, slowly, in the middle of a file, with other bytes, without end.
"""

import hashlib
import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

from tests.hub_repos import Files, Kept, Repo, date, keep, sibling

PIECE_BYTES = 64 * 1024
TREE_PAGE = 1000
COMMITS_PAGE = 50
FIRST_COMMIT = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Message
    status: int


@dataclass
class Fault:
    """What goes wrong with requests whose path matches, so many times."""

    pattern: re.Pattern[str]
    times: int
    method: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0
    cut_after: int | None = None
    """Bytes of the body after which the connection is closed."""
    piece_seconds: float = 0
    """Pause after each piece of a body; the pieces are then single bytes."""
    flip: bool = False
    """Whether the first byte of the body is another one."""
    endless: bool = False
    body: bytes | None = None


class Hub:
    """A running hub. Leaving the `with` block ends it."""

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self.tokens: dict[str, str] = {}
        """Names of users by their token."""
        self.redirects_lfs_to: str | None = ""
        """Where large files are: at another path of this server, at another base address, or (`None`) right here."""
        self._folder = Path(tempfile.mkdtemp(prefix="hub-"))
        self._repos: dict[tuple[str, str], Repo] = {}
        self._faults: list[Fault] = []
        self._guard = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_model(self, repo_id: str, files: Files | Path, **facts: Any) -> str:
        """Commits these files as a model's whole content; returns the commit.

        Args:
            files: Content by path, or a folder.
            facts: `gated`, `open_card`, `private`, `readers`, or fields of the hub's answer such as `pipeline_tag`.
        """
        return self._commit("models", repo_id, files, facts)

    def add_dataset(self, repo_id: str, files: Files | Path, **facts: Any) -> str:
        """Commits these files as a dataset's whole content; returns the commit. `croissant` is its document."""
        return self._commit("datasets", repo_id, files, facts)

    def fail(self, pattern: str, *, times: int = 1_000_000, **fault: Any) -> None:
        """Makes requests whose path matches fail; see `Fault`."""
        with self._guard:
            self._faults.append(Fault(re.compile(pattern), times, **fault))

    def mend(self) -> None:
        """Forgets all faults."""
        with self._guard:
            self._faults.clear()

    def forget_requests(self) -> None:
        """Starts counting anew."""
        with self._guard:
            self.requests.clear()

    def asked(self, pattern: str = "") -> list[Asked]:
        """The requests so far whose path matches."""
        with self._guard:
            return [one for one in self.requests if re.search(pattern, one.path)]

    def repo(self, kind: str, repo_id: str) -> Repo | None:
        """The repository of this id."""
        return self._repos.get((kind, repo_id.lower()))

    def kept(self, sha: str, path: str) -> Kept | None:
        """A file of a commit of any repository."""
        trees = (repo.trees[sha] for repo in self._repos.values() if sha in repo.trees)
        return next((tree[path] for tree in trees if path in tree), None)

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets."""
        with self._guard:
            for fault in self._faults:
                if fault.times > 0 and fault.method in (None, method) and fault.pattern.search(path):
                    fault.times -= 1
                    return fault
        return None

    def take_down(self, asked: Asked) -> None:
        """Records a request."""
        with self._guard:
            self.requests.append(asked)

    def _commit(self, kind: str, repo_id: str, files: Files | Path, facts: dict[str, Any]) -> str:
        own = {
            name: facts.pop(name) for name in ("gated", "open_card", "private", "readers", "croissant") if name in facts
        }
        repo = self._repos.setdefault((kind, repo_id.lower()), Repo(repo_id, kind, {}))
        for name, value in own.items():
            setattr(repo, name, value)
        people = facts.pop("commits", None)
        repo.facts.update(facts)
        if isinstance(files, Path):
            files = {path.relative_to(files).as_posix(): path for path in sorted(files.rglob("*")) if path.is_file()}
        tree = {path: keep(self._folder, content, path) for path, content in files.items()}
        text = "".join(f"{path} {kept.etag}\n" for path, kept in sorted(tree.items()))
        sha = hashlib.sha1(f"{kind} {repo_id} {len(repo.commits)} {text}".encode()).hexdigest()
        repo.trees[sha] = tree
        repo.branches["main"] = sha
        at = FIRST_COMMIT + timedelta(days=len(repo.commits))
        for user, when in people or [("someone", at)]:
            listed = {"id": sha, "title": "Upload", "message": "", "date": date(when), "authors": [{"user": user}]}
            repo.commits.insert(0, listed)
        return sha


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: clients that hang up are what some tests are about."""


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.hub = hub
    return Handler


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer_one()

    def do_GET(self) -> None:
        self._answer_one()

    def _answer_one(self) -> None:
        parts = urlsplit(self.path)
        self._query = parse_qs(parts.query)
        self._path = parts.path
        self._fault = self.hub.take_fault(self.command, parts.path)
        try:
            if self._fault and self._fault.delay_seconds:
                time.sleep(self._fault.delay_seconds)
            if self._fault and self._fault.status is not None:
                self._send(self._fault.status, self._fault.body or b'{"error":"told to fail"}', self._fault.headers)
            elif self._fault and self._fault.endless:
                self._send_endless()
            else:
                self._route()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self) -> None:
        segments = [unquote(segment) for segment in self._path.strip("/").split("/")]
        if segments[:2] == ["api", "whoami-v2"]:
            self._whoami()
        elif segments[:1] == ["api"] and segments[1:2] in (["models"], ["datasets"]):
            self._api(segments[1], segments[2:])
        elif segments[:1] == ["cdn"]:
            self._cdn(segments[1], segments[2])
        elif "resolve" in segments:
            self._resolve(segments)
        else:
            self._error(404, "", "no such page")

    # Who may see what

    def _user(self) -> str | None:
        return self.hub.tokens.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))

    def _has_bad_token(self) -> bool:
        return bool(self.headers.get("Authorization")) and self._user() is None

    def _find(self, kind: str, repo_id: str) -> Repo | None:
        """The repository, when this caller may know of it; else the refusal has been sent."""
        if self._has_bad_token():
            self._error(401, "", "Invalid credentials in Authorization header")
            return None
        repo = self.hub.repo(kind, repo_id)
        user = self._user()
        if repo is None or (repo.private and user not in repo.readers):
            self._error(404 if user else 401, "RepoNotFound", "Repository not found")
            return None
        return repo

    def _may_read(self, repo: Repo) -> bool:
        return not repo.gated or self._user() in repo.readers

    # Facts

    def _whoami(self) -> None:
        user = self._user()
        if user is None:
            self._error(401, "", "Invalid credentials in Authorization header")
        else:
            token = {"displayName": "test", "role": "read", "createdAt": date(FIRST_COMMIT)}
            shown = {"name": user, "orgs": [], "type": "user", "fullname": user, "auth": {"type": "access_token"}}
            self._json({**shown, "auth": {"type": "access_token", "accessToken": token}})

    def _api(self, kind: str, segments: list[str]) -> None:
        verbs = {"revision", "tree", "commits", "croissant", "refs", "resolve"}
        at = next((place for place in (1, 2) if len(segments) > place and segments[place] in verbs), len(segments))
        repo = self._find(kind, "/".join(segments[:at]))
        if repo is None:
            return
        verb, rest = (segments[at], segments[at + 1 :]) if at < len(segments) else ("", [])
        sha = self._revision(repo, rest[0] if rest and verb != "croissant" else "main")
        if sha is None:
            self._error(404, "RevisionNotFound", "Invalid rev id")
        elif verb in ("", "revision"):
            self._json(self._info(repo, sha))
        elif verb == "tree":
            self._paged(list(self._tree(repo, sha)), TREE_PAGE)
        elif verb == "commits":
            self._paged(repo.commits, COMMITS_PAGE)
        elif verb == "croissant":
            self._croissant(repo)
        else:
            self._error(404, "", "no such address")

    def _revision(self, repo: Repo, name: str) -> str | None:
        sha = repo.branches.get(name, name)
        return sha if sha in repo.trees else None

    def _info(self, repo: Repo, sha: str) -> dict[str, Any]:
        tree = repo.trees[sha]
        card = tree.get("README.md")
        text = card.place.read_text("utf-8", "replace") if card else ""
        found = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        card_data = yaml.safe_load(found[1]) if found else None
        tags = [f"license:{card_data['license']}"] if isinstance(card_data, dict) and "license" in card_data else []
        known = {
            "sha": sha,
            "cardData": card_data,
            "pipeline_tag": (card_data or {}).get("pipeline_tag"),
            "library_name": (card_data or {}).get("library_name"),
            "tags": tags,
            "gated": "auto" if repo.gated else False,
            "private": repo.private,
            **repo.facts,
        }
        always = {"_id": "1", "id": repo.id}
        if expand := self._query.get("expand"):
            return {**always, **{name: known[name] for name in expand if known.get(name) is not None}}
        hidden = {"baseModels", "evalResults", "safetensors", "gguf", "widgetData"}
        with_blobs = self._query.get("blobs", ["false"])[0].lower() == "true"
        siblings = [sibling(path, kept, with_blobs) for path, kept in sorted(tree.items())]
        shown = {name: value for name, value in known.items() if name not in hidden and value is not None}
        return {**always, **shown, "disabled": False, "downloads": 5, "likes": 1, "siblings": siblings}

    def _tree(self, repo: Repo, sha: str) -> Iterator[dict[str, Any]]:
        for path, kept in sorted(repo.trees[sha].items()):
            lfs = {"lfs": {"oid": kept.sha256, "size": kept.size_bytes, "pointerSize": 130}} if kept.is_lfs else {}
            yield {"type": "file", "path": path, "size": kept.size_bytes, "oid": kept.git_sha1, **lfs}

    def _croissant(self, repo: Repo) -> None:
        if not self._may_read(repo):
            self._error(401, "GatedRepo", "Access to this dataset is restricted")
        elif repo.croissant is None:
            self._error(404, "", "The croissant format is not available for this dataset.")
        else:
            self._json(repo.croissant)

    def _paged(self, rows: Sequence[Any], size: int) -> None:
        start = int(self._query.get("cursor", ["0"])[0])
        headers = {}
        if start + size < len(rows):
            headers["Link"] = f'<{self.hub.url}{self._path}?cursor={start + size}>; rel="next"'
        self._json(rows[start : start + size], headers)

    # Files

    def _resolve(self, segments: list[str]) -> None:
        kind = "datasets" if segments[0] == "datasets" else "models"
        segments = segments[kind == "datasets" :]
        at = segments.index("resolve")
        repo = self._find(kind, "/".join(segments[:at]))
        if repo is None:
            return
        path = "/".join(segments[at + 2 :])
        if not self._may_read(repo) and not (path == "README.md" and repo.open_card):
            self._error(403 if self._user() else 401, "GatedRepo", "Access to this repository is restricted")
            return
        sha = self._revision(repo, segments[at + 1])
        if sha is None:
            self._error(404, "RevisionNotFound", "Invalid rev id")
            return
        kept = repo.trees[sha].get(path)
        if kept is None:
            self._error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": sha})
            return
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes", "ETag": f'"{kept.etag}"'}
        away = self.hub.redirects_lfs_to
        if kept.is_lfs and away is not None:
            linked = {"X-Linked-ETag": f'"{kept.sha256}"', "X-Linked-Size": str(kept.size_bytes)}
            place = f"{away or self.hub.url}/cdn/{sha}/{quote(path, safe='')}"
            self._send(302, b"", {**headers, **linked, "Location": place})
        else:
            self._send_file(kept.place, headers)

    def _cdn(self, sha: str, path: str) -> None:
        kept = self.hub.kept(sha, path)
        if kept is None:
            self._error(404, "", "no such file")
        else:
            # The client follows a HEAD on the same host to here and reads these.
            known = {"X-Repo-Commit": sha, "ETag": f'"{kept.sha256}"', "Accept-Ranges": "bytes"}
            self._send_file(kept.place, known)

    def _send_file(self, place: Path, headers: Mapping[str, str]) -> None:
        size = place.stat().st_size
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            self._stream(200, place, 0, size, headers)
            return
        start, stop = int(found[1]), min(int(found[2] or size - 1) + 1, size)
        if start >= size:
            self._send(416, b"", {"Content-Range": f"bytes */{size}"})
        else:
            self._stream(206, place, start, stop, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"})

    def _stream(self, status: int, place: Path, start: int, stop: int, headers: Mapping[str, str]) -> None:
        self._head(status, {**headers, "Content-Length": str(stop - start), "Content-Type": "application/octet-stream"})
        if self.command == "HEAD":
            return
        fault = self._fault
        left = stop - start
        if fault and fault.cut_after is not None:
            left = min(left, fault.cut_after)
            self.close_connection = True
        with place.open("rb") as file:
            file.seek(start)
            is_first = True
            while left:
                piece = file.read(min(left, 1 if fault and fault.piece_seconds else PIECE_BYTES))
                left -= len(piece)
                if fault and fault.flip and is_first:
                    piece = bytes([piece[0] ^ 1]) + piece[1:]
                is_first = False
                self.wfile.write(piece)
                if fault and fault.piece_seconds:
                    self.wfile.flush()
                    time.sleep(fault.piece_seconds)

    # Answers

    def _send_endless(self) -> None:
        self.close_connection = True
        self._head(200, {"Content-Type": "application/json", "Connection": "close"})
        while True:
            self.wfile.write(b" " * PIECE_BYTES)

    def _json(self, body: Any, headers: Mapping[str, str] | None = None) -> None:
        raw = json.dumps(body, default=str).encode()
        etag = f'W/"{hashlib.sha1(raw).hexdigest()}"'
        given = {"ETag": etag, "Content-Type": "application/json", **(headers or {})}
        if self.headers.get("If-None-Match") == etag:
            self._send(304, b"", given)
        else:
            self._send(200, raw, given)

    def _error(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        given = {"X-Error-Message": message, "Content-Type": "application/json", **(headers or {})}
        if code:
            given["X-Error-Code"] = code
        self._send(status, json.dumps({"error": message}).encode(), given)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.hub.take_down(Asked(self.command, self._path, self._query, self.headers, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
