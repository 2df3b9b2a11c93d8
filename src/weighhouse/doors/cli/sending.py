"""A package sent file by file: announced by its digests, then what the registry lacks, over several connections.

The same announcement finds the upload that it began, so an interrupted command goes on where it stopped.
"""

import hashlib
import html
import itertools
import random
import re
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

import httpx

from weighhouse.doors.cli.client import Interrupted, Refused, Server, new_client, pause_seconds
from weighhouse.doors.cli.output import Row, clean, note, size
from weighhouse.doors.cli.packing import PIECE_BYTES, Member
from weighhouse.doors.cli.progress import Moved, progress

# A server looks at all that it got before it answers.
_ANSWER_SECONDS = 3600.0
# Without a part that arrived meanwhile, so often the server is asked what is missing.
_ROUNDS = 3
# So often it is waited for anew while it looks at what came, which may take longer than a proxy waits.
_WAITS = 60
_ATTEMPTS = 6
_LONGEST_PAUSE_SECONDS = 30.0
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class _Expired(Exception):
    """The address is too old, or its upload has ended, as far as can be told; new ones will show it.

    Args:
        reason: Why, where that may be something else than age.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class _Broken(Exception):
    """The bytes did not arrive; sending them again may help."""

    def __init__(self, reason: str, pause_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


class _Stopped(Exception):
    """Another connection failed for good, or the user pressed Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A file as it was when it was read.

    Args:
        changed_at: Its time of change then, in nanoseconds: what has another one now may have other bytes.
    """

    member: Member
    sha256: str
    crc32: int
    changed_at: int


def measure(members: Sequence[Member], parallel: int) -> Sequence[Measured]:
    """The files' digests, each file read once.

    Raises:
        Refused: A file changed since it was listed.
    """
    total_bytes = sum(member.size_bytes for member in members)
    stop = threading.Event()
    with progress("Reading", total_bytes) as moved, ThreadPoolExecutor(parallel) as pool:
        pending = [pool.submit(_measure, member, moved, stop) for member in members]
        try:
            return [one.result() for one in pending]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _measure(member: Member, moved: Moved, stop: threading.Event) -> Measured:
    digest, crc32, read_bytes = hashlib.sha256(), 0, 0
    with member.source.open("rb", buffering=0) as file:
        changed_at = member.source.stat().st_mtime_ns
        while piece := file.read(4 * PIECE_BYTES):
            if stop.is_set():
                raise _Stopped
            digest.update(piece)
            crc32 = zlib.crc32(piece, crc32)
            read_bytes += len(piece)
            moved(len(piece))
    if read_bytes != member.size_bytes:
        raise _changed(member)
    return Measured(member, digest.hexdigest(), crc32, changed_at)


def _changed(member: Member) -> Refused:
    return Refused(f"{member.path} changed while it was read. Run the command again when nothing writes to it.")


def send_files(
    server: Server,
    files: Sequence[Measured],
    form: Mapping[str, str],
    *,
    label: str,
    parallel: int,
    respond_async: bool,
) -> httpx.Response | None:
    """The answer to an upload, as `POST /package` has it; `None` where the server takes ZIPs only.

    Memory does not grow with the files.

    Args:
        label: What the progress bar is called.
        parallel: Connections at a time.
        respond_async: Whether to answer before the package is weighed.

    Raises:
        Refused: The server said no, or was away for too long, or a file changed meanwhile.
        Interrupted: The user pressed Ctrl-C; what arrived stays.
    """
    state = _begin(server, files, form)
    if state is None:
        return None
    path = f"/package/uploads/{state['upload_id']}"
    _tell(state, len(files))
    # In parts and not in files: a large file may outlast its addresses more often than that.
    fewest, idle_rounds, waits = _lacking_bytes(state), 0, 0
    sender = _Sender(files, label, parallel)
    headers = {"Prefer": "respond-async"} if respond_async else {}
    refusal = sender.send(state)
    while True:
        try:
            return server.ask(
                "POST",
                f"/package/{state['upload_id']}/complete",
                headers=headers,
                repeatable=True,
                read_seconds=_ANSWER_SECONDS,
            )
        except Refused as refused:
            # A proxy that gave up waiting for an answer; what the server has looked at by then it need not look at again.
            if refused.status in (502, 504) and waits < _WAITS:
                waits += 1
                continue
            if refused.status != 409 or not str(refused.members.get("type")).endswith("/upload-incomplete"):
                raise
        state = server.read(path)
        lacking_bytes = _lacking_bytes(state)
        idle_rounds = idle_rounds + 1 if lacking_bytes >= fewest else 0
        fewest = min(fewest, lacking_bytes)
        if idle_rounds == _ROUNDS:
            raise Refused(refusal or "The server does not take the files that it asks for. Tell its operator.")
        refusal = sender.send(state)


def _begin(server: Server, files: Sequence[Measured], form: Mapping[str, str]) -> Row | None:
    announced = [
        {"path": one.member.path, "size_bytes": one.member.size_bytes, "sha256": one.sha256, "crc32": one.crc32}
        for one in files
    ]
    try:
        body = {**form, "files": announced}
        return server.document(server.ask("POST", "/package/begin", body=body, repeatable=True))
    except Refused as refused:
        if refused.status in (404, 405):
            return None
        raise


def _lacking_bytes(state: Row) -> int:
    """What is still to be sent; a file that is there in part counts by the rest."""
    return sum(int(part["size_bytes"]) for content in state["missing"] for part in content["parts"])


def _tell(state: Row, files_count: int) -> None:
    """Says how much was there already."""
    missing = state["missing"]
    missing_bytes = sum(int(content["size_bytes"]) for content in missing)
    note(
        f"{len(missing)} of {files_count} files are sent, {size(missing_bytes)} of {size(int(state['bytes_total']))}; "
        "the rest is there."
        if len(missing) < files_count
        else f"{files_count} files are sent, {size(missing_bytes)}."
    )


class _Sender:
    """Sends the files that a server asks for."""

    def __init__(self, files: Sequence[Measured], label: str, parallel: int) -> None:
        self._files = {one.sha256: one for one in files}
        self._label = label
        self._parallel = parallel
        self._stop = threading.Event()
        # No other part is begun in this round; those under way go on.
        self._is_over = threading.Event()
        self._refusal = ""

    def send(self, state: Row) -> str:
        """Returns when all that is missing was sent, or its addresses have ended: all of them are about as old.

        Returns:
            Why an address was refused, where that may be something else than its age; else nothing.

        Raises:
            Refused: A file changed, or the store refuses it or was away for too long.
            Interrupted: The user pressed Ctrl-C.
        """
        parts = [(str(content["sha256"]), part) for content in state["missing"] for part in content["parts"]]
        if not parts:
            return ""
        self._is_over.clear()
        self._refusal = ""
        lacking_bytes = _lacking_bytes(state)
        total_bytes = max(int(state["bytes_total"]), lacking_bytes)
        limits = httpx.Limits(max_connections=self._parallel, max_keepalive_connections=self._parallel)
        with (
            progress(self._label, total_bytes, total_bytes - lacking_bytes) as moved,
            new_client(str(parts[0][1]["url"]), limits=limits) as client,
            ThreadPoolExecutor(self._parallel) as pool,
        ):
            pending = [pool.submit(self._send_part, client, sha256, part, moved) for sha256, part in parts]
            try:
                done, _ = wait(pending, return_when=FIRST_EXCEPTION)
                for one in done:
                    one.result()
            except KeyboardInterrupt:
                raise Interrupted(
                    "Interrupted. What has arrived stays for a day: the same command goes on where this one stopped."
                ) from None
            finally:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                self._stop.clear()
        return self._refusal

    def _send_part(self, client: httpx.Client, sha256: str, part: Row, moved: Moved) -> None:
        if self._is_over.is_set():
            return
        try:
            self._send_or_give_up(client, sha256, part, moved)
        except _Expired as expired:
            # The next round has new addresses for what is still missing.
            self._refusal = self._refusal or expired.reason
            self._is_over.set()
        except Refused:
            self._is_over.set()
            raise

    def _send_or_give_up(self, client: httpx.Client, sha256: str, part: Row, moved: Moved) -> None:
        file = self._files.get(sha256)
        if file is None:
            raise Refused("The server asks for a file that was not announced. Tell its operator.")
        for attempt in itertools.count(1):
            try:
                self._attempt(client, file, part, moved)
                return
            except _Broken as broken:
                if attempt == _ATTEMPTS:
                    raise Refused(
                        f"{file.member.path} could not be sent: {broken}. What has arrived stays for a day: run the same "
                        "command again to go on."
                    ) from None
                pause = max(broken.pause_seconds, 0.25 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                self._pause(min(pause, _LONGEST_PAUSE_SECONDS))

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _attempt(self, client: httpx.Client, file: Measured, part: Row, moved: Moved) -> None:
        body = _Body(file, int(part["offset_bytes"]), int(part["size_bytes"]), moved, self._stop)
        try:
            answer = client.request(
                str(part["method"]), str(part["url"]), headers=dict(part["headers"]), content=iter(body)
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Refused(f"The server gave an address that is none ({error}). Tell its operator.") from error
        except httpx.TransportError as error:
            moved(-body.moved_bytes)
            raise _Broken(str(error) or type(error).__name__) from error
        if answer.is_success:
            return
        moved(-body.moved_bytes)
        said = _said(answer)
        if _is_expiry(answer):
            raise _Expired
        if answer.status_code == 403 and _error_of_store(answer)[0] in ("", "AccessDenied"):
            # Not every store says so when an address is too old.
            raise _Expired(f"{file.member.path} was refused: {said}")
        if answer.status_code in _BUSY:
            raise _Broken(said, pause_seconds(answer, 0.0))
        if answer.status_code == 422 and body.is_stale():
            raise _changed(file.member)
        raise Refused(f"{file.member.path} was refused: {said}", answer.status_code)


class _Body:
    """The bytes of a part of a file, a piece at a time."""

    def __init__(self, file: Measured, start: int, size_bytes: int, moved: Moved, stop: threading.Event) -> None:
        self._file = file
        self._start = start
        self._size_bytes = size_bytes
        self._moved = moved
        self._stop = stop
        self.moved_bytes = 0

    def is_stale(self) -> bool:
        """Whether the file is not what was announced."""
        status = self._file.member.source.stat()
        return (status.st_size, status.st_mtime_ns) != (self._file.member.size_bytes, self._file.changed_at)

    def __iter__(self) -> Iterator[bytes]:
        if self.is_stale():
            raise _changed(self._file.member)
        with self._file.member.source.open("rb", buffering=0) as source:
            source.seek(self._start)
            left = self._size_bytes
            while left:
                if self._stop.is_set():
                    raise _Stopped
                piece = source.read(min(PIECE_BYTES, left))
                if not piece:
                    raise _changed(self._file.member)
                yield piece
                left -= len(piece)
                self.moved_bytes += len(piece)
                self._moved(len(piece))


def _is_expiry(answer: httpx.Response) -> bool:
    """Whether an address is too old, or its upload has ended.

    >>> _is_expiry(httpx.Response(403, text="<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"))
    True
    >>> _is_expiry(httpx.Response(403, text="<Error><Code>SignatureDoesNotMatch</Code></Error>"))
    False
    """
    code, message = _error_of_store(answer)
    if answer.status_code == 404:
        return True
    if answer.status_code == 403 and not code:
        return _detail(answer) is not None
    # The credentials that an address was signed with may end before it does.
    return code in ("ExpiredToken", "RequestExpired") or (code == "AccessDenied" and "expired" in message.lower())


def _said(answer: httpx.Response) -> str:
    """Why the server or its store said no."""
    detail = _detail(answer)
    if detail is not None:
        return detail
    words = ": ".join(word for word in _error_of_store(answer) if word)
    if words:
        return f"the store says {words}"
    return clean(f"it answered {answer.status_code} {answer.reason_phrase}")


def _detail(answer: httpx.Response) -> str | None:
    """What the registry's own problem document says, `None` where the answer is none."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return None


def _error_of_store(answer: httpx.Response) -> tuple[str, str]:
    """The code and the message of an error of S3; empty where it says none.

    >>> _error_of_store(httpx.Response(403, text="<Error><Code>QuotaExceeded</Code><Message>5 &gt; 4</Message></Error>"))
    ('QuotaExceeded', '5 > 4')
    """

    def read(name: str) -> str:
        found = re.search(rf"<{name}>([^<]{{1,500}})</{name}>", answer.text)
        return clean(html.unescape(found[1]).strip()) if found else ""

    return read("Code"), read("Message")
