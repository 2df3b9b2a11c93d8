"""The bytes of one signed address into a `.part` file, going on where an earlier run stopped.

Beside the `.part` file a small one remembers whose bytes they are: the package, its parts, the ETag and the length. Bytes
are only ever added to bytes of the same ETag (RFC 9110 §13.1.5 and §14); anything else starts over.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import httpx

from weighhouse.doors.cli.client import Interrupted, Refused, new_client, pause_seconds
from weighhouse.doors.cli.output import size
from weighhouse.doors.cli.progress import progress

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Expired(Exception):
    """The signed address is too old; a new one is needed."""


class Broken(Exception):
    """The bytes stopped coming; asking again may help."""

    def __init__(self, reason: str, pause_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


@dataclass(frozen=True)
class Mark:
    """Whose bytes a `.part` file holds.

    Args:
        identity: The package and the parts of it that were asked for.
        etag: The server's strong validator of these bytes, empty when it gave none.
        size_bytes: The whole length, -1 when it is not known.
    """

    identity: str
    etag: str = ""
    size_bytes: int = -1


class PartFile:
    """A download that may be unfinished.

    Args:
        path: Where the bytes are until all are there.
        identity: What is downloaded; bytes of anything else are not gone on with.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.mark = Mark(identity)
        self._mark_path = path.with_name(path.name + ".json")
        with contextlib.suppress(OSError, ValueError, TypeError):
            kept = Mark(**json.loads(self._mark_path.read_text("utf-8")))
            if kept.identity == identity and kept.etag and kept.size_bytes >= 0:
                self.mark = kept

    @property
    def done_bytes(self) -> int:
        """How many bytes are there to go on from."""
        return self.path.stat().st_size if self.mark.etag and self.path.exists() else 0

    @property
    def is_whole(self) -> bool:
        """Is the last byte there?"""
        return self.mark.size_bytes >= 0 and self.done_bytes == self.mark.size_bytes

    def start_over(self, etag: str, size_bytes: int) -> None:
        """Drop the bytes and note whose will come."""
        self.mark = Mark(self.mark.identity, etag, size_bytes)
        # Emptied, not removed: the lock of `held` is on this very file.
        self.path.open("wb").close()
        self._mark_path.write_text(json.dumps(asdict(self.mark)), "utf-8")

    def remove(self) -> None:
        """Leave nothing behind."""
        self.path.unlink(missing_ok=True)
        self._mark_path.unlink(missing_ok=True)

    def keep_as(self, target: Path) -> None:
        """Give the finished file its name in one step."""
        self.path.replace(target)
        self._mark_path.unlink(missing_ok=True)

    @property
    def prospect(self) -> str:
        """What the next run of the same command will do."""
        if not self.done_bytes:
            return "Run the same command again to start over."
        whole = f" of {size(self.mark.size_bytes)}" if self.mark.size_bytes >= 0 else ""
        return f"{size(self.done_bytes)}{whole} are kept in {self.path}; run the same command again to go on."

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second run of the same download out, and say what is kept when the user leaves.

        Raises:
            Refused: Another one is writing.
            Interrupted: The user pressed Ctrl-C.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(f"Another download is writing {self.path}. Wait for it, or choose another -o.") from None
            try:
                yield
            except KeyboardInterrupt:
                raise Interrupted(self.prospect) from None
            finally:
                if not self.done_bytes:
                    self.remove()


def fetch(renew: Callable[[], str], part: PartFile, label: str, *, patience: int = 5, pause: float = 0.5) -> None:
    """All bytes of an address in `part`.

    Args:
        renew: Gives a freshly signed address; called again when the last one has expired.
        part: Where the bytes go and what is there already.
        label: What the progress bar is called.
        patience: Failures in a row, none of which brought a byte, before giving up.
        pause: Seconds before the second attempt; doubled each time.

    Raises:
        Refused: The store said no, or was away for too long.
    """
    failures = 0
    url = ""
    if part.is_whole:
        return
    while True:
        before = part.done_bytes
        try:
            url = url or renew()
            with new_client(url) as client:
                _attempt(client, url, part, label)
            return
        except Expired:
            url, reason, wait = "", "the address expires at once", 0.0
        except Broken as broken:
            reason, wait = str(broken), broken.pause_seconds
        failures = 0 if part.done_bytes > before else failures + 1
        if failures > patience:
            raise Refused(f"The download does not get further: {reason}. {part.prospect}")
        time.sleep(max(wait, pause * 2**failures if failures else 0.0))


def _attempt(client: httpx.Client, url: str, part: PartFile, label: str) -> None:
    start = part.done_bytes
    # Compressed on the way, lengths and ranges would speak of other bytes.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": part.mark.etag}
    try:
        with client.stream("GET", url, headers=headers) as response:
            _prepare(response, part, start)
            _copy(response, part, label)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Refused(f"The server gave an address that is none ({error}). Tell its operator.") from error
    except httpx.TransportError as error:
        raise Broken(str(error) or type(error).__name__) from error


def _prepare(response: httpx.Response, part: PartFile, start: int) -> None:
    """Bring the part file to where this answer's bytes begin."""
    status = response.status_code
    if status == 200:
        etag = response.headers.get("ETag", "")
        # A weak validator does not promise equal bytes: the next attempt has to start over.
        part.start_over(etag if etag.startswith('"') else "", int(response.headers.get("Content-Length", -1)))
        return
    if status == 206:
        span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        same = response.headers.get("ETag", part.mark.etag) == part.mark.etag
        if same and span and int(span[1]) == start and int(span[3]) == part.mark.size_bytes:
            return
        part.start_over("", -1)
        raise Broken("the store sent another range than it was asked for")
    if status == 416:
        part.start_over("", -1)
        raise Broken("the store has fewer bytes than were kept")
    if status == 403:
        raise Expired
    response.read()
    if status in (429, 500, 502, 503, 504):
        raise Broken(f"the store answered {status}", min(pause_seconds(response, 0.0), 30.0))
    raise Refused(f"The store answered {status} {response.reason_phrase}{_detail(response)}.", status)


def _detail(response: httpx.Response) -> str:
    try:
        return f": {response.json()['detail']}".removesuffix(".")
    except (ValueError, KeyError, TypeError):
        return ""


def _copy(response: httpx.Response, part: PartFile, label: str) -> None:
    expected = part.mark.size_bytes
    start = part.path.stat().st_size
    free = shutil.disk_usage(part.path.parent).free
    if expected - start > free:
        raise Refused(f"{part.path.parent} has {size(free)} left; {size(expected - start)} are needed. Make room.")
    with (
        part.path.open("ab") as file,
        progress(label, expected if expected >= 0 else None, start) as moved,
    ):
        # As they come: pieces of a fixed size would be gathered first, and lost when the connection breaks.
        for piece in response.iter_raw():
            file.write(piece)
            moved(len(piece))
        _settle(file)
        got = file.tell()
    if expected >= 0 and got != expected:
        if got > expected:
            part.start_over("", -1)
        raise Broken(f"{size(got)} of {size(expected)} came")


def _settle(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
