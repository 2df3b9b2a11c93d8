"""The data directory and its lock: one server at a time."""

import fcntl
import json
import os
import time
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from weighhouse.rules.errors import Away, Conflict

# A server that was just told to end needs a moment to let go.
_PATIENCE_SECONDS = 1.0


class DataDirInUse(Conflict):
    """Another server uses this data directory."""


class DataDirUnusable(Away):
    """The data directory cannot be used."""


@dataclass(frozen=True)
class Claim:
    """The lock on a data directory, held until it is released or this process ends."""

    _file: TextIOWrapper

    def announce(self, address: str) -> None:
        """Leaves word of where this server is reached, for whoever comes second.

        Raises:
            DataDirUnusable: The disk is full.
        """
        try:
            self._file.seek(0)
            self._file.truncate()
            json.dump({"pid": os.getpid(), "address": address}, self._file)
            self._file.flush()
        except OSError as error:
            raise DataDirUnusable(f"The data directory cannot be written to: {error.strerror}.") from error

    def release(self) -> None:
        """Lets go; the next server may start."""
        self._file.close()


def claim(data_dir: Path) -> Claim:
    """The lock on this data directory, which is made if need be. Child processes do not hold it.

    Raises:
        DataDirInUse: A running server has it; the detail says which.
        DataDirUnusable: The folder cannot be made or written to.
    """
    path = data_dir / "lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not emptied on opening: until the lock is ours the content is another server's.
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    except OSError as error:
        raise DataDirUnusable(
            f"The data directory {data_dir} cannot be used: {error.strerror}. Choose another with --data-dir."
        ) from error
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _locked(file):
        if time.monotonic() > deadline:
            holder = _holder(file)
            file.close()
            raise DataDirInUse(
                f"{holder} uses the data directory {data_dir}. Stop it, or choose another with --data-dir."
            )
        time.sleep(0.05)
    held = Claim(file)
    held.announce("still starting")
    return held


def _locked(file: TextIOWrapper) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: TextIOWrapper) -> str:
    try:
        word = json.loads(file.read())
        return f"Another server (process {word['pid']}, {word['address']})"
    except (ValueError, KeyError, TypeError):
        return "Another server"
