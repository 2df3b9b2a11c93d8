"""The license of a repository on GitHub: what GitHub recognised, else what its files say (license specification, section 8)."""

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from weighhouse.rules.compatibility_rules import Confidence
from weighhouse.rules.evidence import Reason
from weighhouse.rules.licenses import NONE, normalise
from weighhouse.rules.project_license import (
    MAX_FILE_BYTES,
    METADATA_FILES,
    Stated,
    declared_license,
    license_paths,
    put_together,
    unnamed,
)
from weighhouse.rules.repositories import Repository
from weighhouse.sources.github import RAW, GitHub, GitHubMissing

ALL_SECONDS = 40.0

_LARGEST_BYTES = 1024 * 1024
_NOT_NAMED = frozenset({"", "noassertion", "none", "other"})


def project_license(github: GitHub, repository: Repository) -> Stated | None:
    """The license of a repository; `None` when there is no such repository, or it is not shown to this server.

    Raises:
        GitHubMissing: GitHub did not say, or not within 40 seconds.
    """
    asking = _Asking(github, repository, time.monotonic() + ALL_SECONDS)
    found = asking.json("/license")
    if found is None:
        return _without_file(asking)
    document = _object(found)
    spdx_id = _object(document.get("license") or {}).get("spdx_id")
    path = document.get("path")
    if isinstance(spdx_id, str) and spdx_id.lower() not in _NOT_NAMED:
        files = (path,) if isinstance(path, str) else ()
        return Stated(normalise(spdx_id), "github", files=files)
    return _from_files(asking, document)


@dataclass(frozen=True)
class _Asking:
    """Questions about one repository, within one time."""

    github: GitHub
    repository: Repository
    ends_at: float

    def json(self, path: str) -> Any | None:
        """The document at a path below the repository's."""
        self._require_time()
        return self.github.get_json(self.repository.path + path)

    def entries(self, folder: str) -> Sequence[Mapping[str, Any]]:
        """What GitHub lists of a folder; nothing of one that is not there."""
        found = self.json(f"/contents/{quote(folder)}")
        if found is None:
            return ()
        if not isinstance(found, list):
            raise _misshapen()
        return [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("name"), str)]

    def text(self, path: str, size: int) -> str:
        """The first 128 KiB of a file; nothing of one that is no text of that kind by its size."""
        if size > _LARGEST_BYTES:
            return ""
        self._require_time()
        return _decoded(self.github.get(f"{self.repository.path}/contents/{quote(path)}", accept=RAW) or b"")

    def _require_time(self) -> None:
        # Each of the many questions may be slow, and somebody waits for the answer to all.
        if time.monotonic() > self.ends_at:
            raise GitHubMissing(Reason.TIMEOUT, f"GitHub did not say within {ALL_SECONDS:g} seconds; try again later")


def _without_file(asking: _Asking) -> Stated | None:
    found = asking.json("")
    if found is None:
        return None
    spdx_id = _object(_object(found).get("license") or {}).get("spdx_id")
    named = normalise(spdx_id) if isinstance(spdx_id, str) else NONE
    return Stated(named, "github" if named.state == "named" else "none", Confidence.HIGH)


def _from_files(asking: _Asking, recognised: Mapping[str, Any]) -> Stated:
    """What the files say, where GitHub names no license: it knows one text at a time, and few."""
    root = asking.entries("")
    has_reuse = any(entry.get("type") == "dir" and entry["name"] == "LICENSES" for entry in root)
    reuse = _files(asking.entries("LICENSES")) if has_reuse else {}
    files = _files(root)
    sizes = files | {f"LICENSES/{name}": size for name, size in reuse.items()}
    known = _content_of(recognised)
    wanted = license_paths(list(files), list(reuse))
    texts = known | {path: asking.text(path, sizes[path]) for path in wanted if path not in known}
    metadata = [path for path in METADATA_FILES if path in files]
    declared = {path: declared_license(path, asking.text(path, files[path])) for path in metadata}
    stated = put_together(texts, declared)
    # GitHub saw a license file, so there is one, whatever can be made of it.
    return stated if stated.license.state != "none" else unnamed(tuple(texts))


def _files(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {entry["name"]: _size(entry) for entry in entries if entry.get("type") == "file"}


def _size(entry: Mapping[str, Any]) -> int:
    size = entry.get("size")
    return size if isinstance(size, int) else 0


def _content_of(document: Mapping[str, Any]) -> dict[str, str]:
    """The file that the license endpoint sends along, by path; empty when it sends none."""
    path, content = document.get("path"), document.get("content")
    if not isinstance(path, str) or not isinstance(content, str) or document.get("encoding") != "base64":
        return {}
    try:
        return {path: _decoded(base64.b64decode(content))}
    except (binascii.Error, ValueError):
        return {}


def _decoded(content: bytes) -> str:
    return content[:MAX_FILE_BYTES].decode("utf-8", errors="replace").removeprefix("\ufeff")


def _object(found: object) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise _misshapen()
    return found


def _misshapen() -> GitHubMissing:
    return GitHubMissing(Reason.MALFORMED, "GitHub's answer has an unknown shape; check GITHUB_API_URL")
