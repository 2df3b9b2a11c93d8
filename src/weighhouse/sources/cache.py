"""Answers of a source that are kept, so that nothing is fetched twice: the protocol, and a folder of them that stays small."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

MAX_FOLDER_BYTES = 2 * 1024**3
MAX_AGE_SECONDS = 90 * 24 * 3600
"""Since an answer was last used."""

_HEAD_BYTES = 64 * 1024
_TOUCH_AFTER_SECONDS = 3600
_SWEEP_AFTER_SECONDS = 3600
# A run that writes more than this looks again how much there is.
_SWEEP_AFTER_BYTES = 256 * 1024**2
_SWEPT = "swept"
_FOLDER = re.compile(r"[0-9a-f]{2}")
# Answers, and what is left of one whose writer was killed. Other names are not ours.
_ANSWER = re.compile(r"[0-9a-f]{62}|answer-[A-Za-z0-9_]{8}")


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
    """Keeps each answer in a file of its own, for the command line; what was not used for the longest time makes room.

    Any number of processes may read, write and sweep one folder: a file is whole or not there.

    Args:
        folder: Made when first needed; readable by its owner only, for answers about private repositories are in it.
        max_bytes: How much is kept. For a moment it may be somewhat more.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_FOLDER_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._guard = threading.Lock()
        self._written_bytes: int | None = None
        """Since the last sweep of this process, `None` before the first."""

    def get(self, key: str) -> tuple[str | None, bytes] | None:
        path = self._path(key)
        try:
            head, _, value = path.read_bytes().partition(b"\n")
            stated = json.loads(head)
        except (OSError, ValueError):
            return None
        # The head holds the key, so that neither a truncated file nor another program's passes for an answer.
        if not isinstance(stated, dict) or stated.get("key") != key or stated.get("size") != len(value):
            return None
        # A folder that is only readable, or another process that swept: the answer is good all the same.
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _TOUCH_AFTER_SECONDS:
                # Not at every use: sweeping needs to know the hour only.
                os.utime(path)
        return stated.get("validator"), value

    def put(self, key: str, validator: str | None, value: bytes) -> None:
        head = json.dumps({"key": key, "validator": validator, "size": len(value)}).encode()
        if len(head) > _HEAD_BYTES:
            return
        # A full disk or a folder that cannot be written costs a second fetch and nothing else.
        with contextlib.suppress(OSError):
            self._write(self._path(key), head + b"\n" + value)
            if self._is_sweep_due(len(head) + len(value)):
                self.sweep()

    def sweep(self) -> None:
        """Removes what was not used for 90 days, and of the rest the oldest until what is left fits.

        Raises:
            OSError: The folder cannot be read.
        """
        (self._folder / _SWEPT).touch(mode=0o600)
        now, total = time.time(), 0
        for used_at, size_bytes, path in sorted(self._answers(), reverse=True):
            total += size_bytes
            if total > self._max_bytes or now - used_at > MAX_AGE_SECONDS:
                with contextlib.suppress(OSError):
                    # Another process may have been quicker; a reader that has it open reads it to its end.
                    path.unlink()

    def _answers(self) -> Iterator[tuple[float, int, Path]]:
        """When each answer was last used, its bytes and its file."""
        for folder in self._folder.iterdir():
            if not _FOLDER.fullmatch(folder.name):
                continue
            for path in folder.iterdir():
                with contextlib.suppress(OSError):
                    if _ANSWER.fullmatch(path.name):
                        found = path.stat()
                        yield found.st_mtime, found.st_size, path

    def _is_sweep_due(self, written_bytes: int) -> bool:
        """Whether this is the process's first answer after an hour without a sweep, or one of very many bytes since."""
        with self._guard:
            if self._written_bytes is None:
                self._written_bytes = written_bytes
                return not self._was_swept_lately()
            self._written_bytes += written_bytes
            if self._written_bytes <= min(_SWEEP_AFTER_BYTES, self._max_bytes):
                return False
            self._written_bytes = 0
            return True

    def _was_swept_lately(self) -> bool:
        try:
            return time.time() - (self._folder / _SWEPT).stat().st_mtime < _SWEEP_AFTER_SECONDS
        except OSError:
            return False

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()
        return self._folder / digest[:2] / digest[2:]

    def _write(self, path: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        # Two commands may write at once: a rename leaves one whole file, never parts of both.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="answer-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
