"""The bytes of blobs one after the other, with the next ones on their way: for stores that are far from here."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from weighhouse.rules.zipview import BlobSpan, Literal
from weighhouse.store.blobs import BlobStore

PIECE_BYTES = 4 * 1024 * 1024
"""What is asked for at once. Each piece is a request of its own, so that several are under way."""

AHEAD = 4
"""How many pieces a reader has under way or in memory."""

# For all readers of the process; each waits for its own turn.
_threads = ThreadPoolExecutor(16, "read-ahead")


def read_ahead(blobs: BlobStore, parts: Iterable[Literal | BlobSpan]) -> Iterator[bytes]:
    """The bytes of parts, in order, in bounded memory. Nothing comes before the first bytes of a blob are here.

    So a store that does not answer is known before an answer to somebody else has begun.

    Raises:
        BlobMissing: A blob is gone from the store.
        StoreAway: The store does not answer.
    """
    coming: deque[Future[bytes] | bytes] = deque()
    pieces = _pieces(parts)
    is_known = False
    try:
        while True:
            while len(coming) < AHEAD and (piece := next(pieces, None)) is not None:
                coming.append(piece.data if isinstance(piece, Literal) else _threads.submit(_read, blobs, piece))
            if not coming:
                return
            if not is_known:
                is_known = _await_first(coming)
            first = coming.popleft()
            yield first if isinstance(first, bytes) else first.result()
    finally:
        for rest in coming:
            if isinstance(rest, Future):
                rest.cancel()


def _await_first(coming: Iterable[Future[bytes] | bytes]) -> bool:
    """Waits for the first bytes that the store is asked for; whether there are any.

    Raises:
        BlobMissing: The blob is gone from the store.
        StoreAway: The store does not answer.
    """
    asked = next((one for one in coming if isinstance(one, Future)), None)
    if asked is not None:
        asked.result()
    return asked is not None


def _pieces(parts: Iterable[Literal | BlobSpan]) -> Iterator[Literal | BlobSpan]:
    for part in parts:
        if isinstance(part, Literal):
            yield part
            continue
        for at in range(part.start, part.start + part.length, PIECE_BYTES):
            yield BlobSpan(part.sha256, at, min(PIECE_BYTES, part.start + part.length - at))


def _read(blobs: BlobStore, span: BlobSpan) -> bytes:
    return b"".join(blobs.read(span.sha256, span.start, span.length))
