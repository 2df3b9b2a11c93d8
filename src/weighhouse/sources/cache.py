"""Answers of a source that are kept, so that nothing is fetched twice: the protocol, and a folder of them."""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Protocol

_HEAD_BYTES = 64 * 1024


class Cache(Protocol):
    """Answers by key. What was put may be gone at any time; a cache that fails is one that holds nothing."""

    def get(self, key: str) -> tuple[str | None, bytes] | None:
        """The validator and value last put under `key`.

        The validator is what a conditional question names (an ETag or a commit), `None` where the key itself is immutable.
        """

    def put(self, key: str, validator: str | None, value: bytes) -> None:
        """Keeps a value in place of the one before."""


class NoCache:
    """Keeps nothing."""

    def get(self, key: str) -> tuple[str | None, bytes] | None:
        return None

    def put(self, key: str, validator: str | None, value: bytes) -> None:
        return None


class FolderCache:
    """Keeps each answer in a file of its own, for the command line.

    Args:
        folder: Made when first needed; readable by its owner only, for answers about private repositories are in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> tuple[str | None, bytes] | None:
        try:
            head, _, value = self._path(key).read_bytes().partition(b"\n")
            stated = json.loads(head)
        except (OSError, ValueError):
            return None
        # The head holds the key, so that neither a truncated file nor another program's passes for an answer.
        is_whole = isinstance(stated, dict) and stated.get("key") == key and stated.get("size") == len(value)
        return (stated.get("validator"), value) if is_whole else None

    def put(self, key: str, validator: str | None, value: bytes) -> None:
        head = json.dumps({"key": key, "validator": validator, "size": len(value)}).encode()
        if len(head) > _HEAD_BYTES:
            return
        # A full disk or a folder that cannot be written costs a second fetch and nothing else.
        with contextlib.suppress(OSError):
            self._write(self._path(key), head + b"\n" + value)

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()
        return self._folder / digest[:2] / digest[2:]

    def _write(self, path: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        # Two commands may write at once: a rename leaves one whole file, never parts of both.
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
