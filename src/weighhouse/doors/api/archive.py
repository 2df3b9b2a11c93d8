"""The response that sends a ZIP: its file spans by the kernel where the connection can, else in big pieces."""

import os
from collections.abc import Generator, Iterator, Mapping
from urllib.parse import quote

from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from weighhouse.doors.wire import ZERO_COPY
from weighhouse.registry.downloads import FileSpan

_PIECE_BYTES = 1024 * 1024


def attachment(filename: str) -> str:
    """A `Content-Disposition` that names the file to save as (RFC 6266).

    >>> attachment("bert-1.0.0-package.zip")
    'attachment; filename="bert-1.0.0-package.zip"'
    """
    plain = "".join(character if character.isalnum() or character in "._-+" else "_" for character in filename)
    if plain == filename and filename.isascii():
        return f'attachment; filename="{filename}"'
    plain = plain.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def has_already(if_none_match: str | None, etag: str) -> bool:
    """Whether a client says that it has what bears this tag (RFC 9110 §13.1.2: compared weakly).

    >>> has_already('"a", W/"b"', '"b"'), has_already("*", '"b"'), has_already(None, '"b"')
    (True, True, False)
    """
    given = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return not given.isdisjoint({"*", etag})


class ArchiveResponse(Response):
    """Sends parts of a ZIP whose length is known."""

    media_type = "application/zip"

    def __init__(
        self, parts: Iterator[bytes | FileSpan], length: int, *, status_code: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(None, status_code, dict(headers) | {"Content-Length": str(length)}, self.media_type)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends head and body."""
        try:
            # Before the head: where the store does not answer, this can still become a problem document.
            part = None if scope["state"].get("is_head") else await run_in_threadpool(next, self._parts, None)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_parts(part, scope, send)
        finally:
            if isinstance(self._parts, Generator):
                await run_in_threadpool(self._parts.close)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_parts(self, part: bytes | FileSpan | None, scope: Scope, send: Send) -> None:
        can_send_files = ZERO_COPY in scope.get("extensions", {})
        while part is not None:
            if isinstance(part, bytes):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            elif can_send_files:
                span = {"file": part.file.fileno(), "offset": part.start, "count": part.length}
                await send({"type": ZERO_COPY, **span})
            else:
                await _send_in_pieces(part, send)
            part = await run_in_threadpool(next, self._parts, None)


async def _send_in_pieces(span: FileSpan, send: Send) -> None:
    at, stop = span.start, span.start + span.length
    while at < stop:
        piece = await run_in_threadpool(os.pread, span.file.fileno(), min(_PIECE_BYTES, stop - at), at)
        if not piece:
            raise RuntimeError("The file ended before its span")
        at += len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
