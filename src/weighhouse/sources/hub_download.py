"""The bytes of a hub's files, as they come: resumed where the connection broke, proved by the hub's own digests."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources.hub_answers import HubFile
from weighhouse.sources.outbound import AGAIN, LONGEST_PAUSE_SECONDS, Broken, Outbound, retry_after

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 60.0
TRIES_WITHOUT_PROGRESS = 5
_FIRST_PAUSE_SECONDS = 0.2


class Damaged(Exception):
    """What came is not what the hub said of the file."""


@dataclass(frozen=True)
class HubFiles:
    """The files of one commit.

    Args:
        out: The way to the hub.
        model_id: The repository.
        sha: The commit.
    """

    out: Outbound
    model_id: str
    sha: str

    def read(self, file: HubFile) -> Iterator[bytes]:
        """The content of a file. It is proved only when the last piece has been taken.

        Raises:
            Missing: It could not be had.
            Damaged: It is not the content that the hub listed.
        """
        proof = _Proof(file)
        tries = 0
        while True:
            before = proof.size_bytes
            try:
                for piece in self._from(file, before):
                    proof.take(piece)
                    yield piece
                if not file.is_sized or proof.size_bytes >= file.size_bytes:
                    proof.check()
                    return
                cause = Missing(Reason.UNREACHABLE, f"The hub ends {file.path[-80:]} too early; try again later")
            except Broken:
                cause = Missing(Reason.UNREACHABLE, f"The connection broke within {file.path[-80:]}; try again later")
            except _Later as later:
                cause = later.missing
                if later.seconds > LONGEST_PAUSE_SECONDS:
                    raise cause from None
                time.sleep(later.seconds)
            except Missing as missing:
                if missing.reason is not Reason.UNREACHABLE:
                    raise
                cause = missing
            tries = 1 if proof.size_bytes > before else tries + 1
            if tries > TRIES_WITHOUT_PROGRESS:
                raise cause
            time.sleep(_FIRST_PAUSE_SECONDS * 2**tries if tries > 1 else 0)

    def _from(self, file: HubFile, start: int) -> Iterator[bytes]:
        """The content from a byte on.

        Raises:
            Broken: The connection broke.
            Missing, _Later: There is no answer, or a refusal.
        """
        url = f"{self.out.base_url}/{quote(self.model_id)}/resolve/{self.sha}/{quote(file.path)}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self.out.open(url, headers, connect_seconds=CONNECT_SECONDS, read_seconds=SILENT_SECONDS) as response:
            skip = _to_skip(response, start, file)
            for piece in self.out.pieces(response):
                if skip:
                    skipped = min(skip, len(piece))
                    skip -= skipped
                    piece = piece[skipped:]
                if piece:
                    yield piece


class _Later(Exception):
    """The hub asks for patience."""

    def __init__(self, seconds: float, missing: Missing) -> None:
        super().__init__(missing.advice)
        self.seconds = seconds
        self.missing = missing


def _to_skip(response: httpx.Response, start: int, file: HubFile) -> int:
    """Bytes at the beginning of an answer that are here already: a server may send all, whatever it was asked for."""
    status, path = response.status_code, file.path[-80:]
    if status == 200:
        return start
    if status == 206:
        if not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
            raise Missing(Reason.MALFORMED, f"The hub sends another part of {path} than was asked for")
        return 0
    if status in AGAIN:
        seconds = retry_after(response.headers, 0.0)
        reason = Reason.RATE_LIMITED if status == 429 else Reason.UNREACHABLE
        raise _Later(seconds, Missing(reason, f"The hub answered {status} for {path}; try again later"))
    if status in {401, 403}:
        raise Missing(Reason.FORBIDDEN, f"The hub does not let this server read {path}; let its operator set HF_TOKEN")
    raise Missing(Reason.MALFORMED, f"The hub lists {path} and answered {status} when asked for it")


class _Proof:
    """Size and digest of what has come, against what the hub listed."""

    def __init__(self, file: HubFile) -> None:
        self._file = file
        self.size_bytes = 0
        self._digest: Any = None
        if file.sha256:
            self._digest, self._wanted = hashlib.sha256(), file.sha256
        elif file.git_sha1 and file.is_sized:
            # Not for secrecy: it is how git names a blob.
            self._digest, self._wanted = hashlib.sha1(usedforsecurity=False), file.git_sha1
            self._digest.update(b"blob %d\0" % file.size_bytes)

    def take(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        if self._file.is_sized and self.size_bytes > self._file.size_bytes:
            raise Damaged(f"{self._file.path[-80:]} is longer than the hub says")
        if self._digest is not None:
            self._digest.update(piece)

    def check(self) -> None:
        if self._digest is not None and self._digest.hexdigest() != self._wanted:
            raise Damaged(f"{self._file.path[-80:]} does not have the digest that the hub lists for it")
