"""Where the contents of an announced package go: small ones to the registry, large ones past it into a store that takes them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import LargeBinary, Text

from weighhouse.app import App
from weighhouse.store.blobs import DirectStore, ObjectChanged, PartRequest
from weighhouse.store.tables import DirectUploadFile

REQUEST_SECONDS = 3600
"""How long a request that the store takes is good; then a new one is asked for."""

# Each waits for the store nearly all the time.
_THREADS = 8
# These hash what they read.
_READERS = 4

_NOTE_TICKETS = text(
    "UPDATE direct_upload_files AS file SET ticket = begun.ticket "
    "FROM unnest(:digests, :tickets) AS begun (sha256, ticket) "
    "WHERE upload_id = :upload_id AND file.sha256 = begun.sha256 AND file.ticket IS NULL AND crc32 IS NULL"
).bindparams(bindparam("digests", type_=ARRAY(LargeBinary)), bindparam("tickets", type_=ARRAY(Text)))


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that an upload lacks, however many of its files have them.

    Args:
        crc32: As announced.
        ticket: The store's own, once it was told to expect them.
        requests: What sends them to the store; `None` where the registry takes them.
    """

    sha256: str
    size_bytes: int
    crc32: int | None = None
    ticket: str | None = None
    requests: Sequence[PartRequest] | None = None


def lacking(tx: Session, upload_id: UUID) -> Sequence[Content]:
    """The contents of an upload that are not here, by SHA-256."""
    rows = (
        select(
            DirectUploadFile.sha256,
            DirectUploadFile.size_bytes,
            func.max(DirectUploadFile.announced_crc32),
            func.max(DirectUploadFile.ticket),
        )
        .where(DirectUploadFile.upload_id == upload_id, DirectUploadFile.crc32.is_(None))
        .group_by(DirectUploadFile.sha256, DirectUploadFile.size_bytes)
        .order_by(DirectUploadFile.sha256)
    )
    return [Content(sha256.hex(), size_bytes, crc32, ticket) for sha256, size_bytes, crc32, ticket in tx.execute(rows)]


def routed(app: App, upload_id: UUID, contents: Sequence[Content]) -> Sequence[Content]:
    """The same with the requests that send them; without those that have arrived at the store whole.

    Raises:
        Away: The database or the store does not answer.
    """
    store = app.blobs.direct
    if store is None or not any(content.size_bytes >= store.min_bytes for content in contents):
        return contents
    with ThreadPoolExecutor(_THREADS) as pool:

        def begin(content: Content) -> Content:
            if content.ticket or content.size_bytes < store.min_bytes:
                return content
            return replace(content, ticket=store.begin(content.sha256, content.size_bytes, content.crc32))

        begun = list(pool.map(begin, contents))
        fresh = {one.sha256 for one, before in zip(begun, contents, strict=True) if one.ticket != before.ticket}
        kept = _noted(app, upload_id, [one for one in begun if one.sha256 in fresh]) if fresh else {}

        def ask(content: Content) -> Content:
            ticket = kept.get(content.sha256, content.ticket)
            if not ticket:
                return content
            is_new = content.sha256 in fresh and ticket == content.ticket
            return _with_requests(store, replace(content, ticket=ticket), is_new)

        asked = list(pool.map(ask, begun))
    given_up = [one for one in asked if one.ticket and one.requests is None]
    if given_up:
        # The store swept them; the registry takes them meanwhile, and the next question finds new tickets.
        with app.db.write() as tx:
            _forget_tickets(tx, upload_id, [one.sha256 for one in given_up])
    return [one for one in asked if one.requests is None or one.requests]


def _with_requests(store: DirectStore, content: Content, is_new: bool) -> Content:
    assert content.ticket is not None
    try:
        return replace(content, requests=store.lacking(content.ticket, REQUEST_SECONDS, is_new=is_new))
    except ObjectChanged:
        return content


def _noted(app: App, upload_id: UUID, begun: Sequence[Content]) -> dict[str, str]:
    """Takes the tickets down; returns those that count, which may be of a call at the same time."""
    digests = [bytes.fromhex(one.sha256) for one in begun]
    values = {"upload_id": upload_id, "digests": digests, "tickets": [one.ticket for one in begun]}
    with app.db.write() as tx:
        tx.execute(_NOTE_TICKETS, values)
        counting = select(DirectUploadFile.sha256, DirectUploadFile.ticket).where(
            DirectUploadFile.upload_id == upload_id, DirectUploadFile.sha256 == func.any(digests)
        )
        return {sha256.hex(): ticket for sha256, ticket in tx.execute(counting) if ticket}


def settle(app: App, upload_id: UUID) -> None:
    """Makes blobs of what clients sent to the store, each noted when it is verified; what is wrong is asked for again.

    Raises:
        Away: The database or the store does not answer; what was noted need not be done again.
    """
    store = app.blobs.direct
    if store is None:
        return
    with app.db.read() as tx:
        sent = [content for content in lacking(tx, upload_id) if content.ticket]

    def finish(content: Content) -> None:
        assert content.ticket is not None
        crc32 = store.finish(content.ticket)
        of_content = (
            DirectUploadFile.upload_id == upload_id,
            DirectUploadFile.sha256 == bytes.fromhex(content.sha256),
            DirectUploadFile.ticket == content.ticket,
        )
        if crc32 is None and not _is_arriving(store, content.ticket):
            values: dict[str, object] = {"ticket": None}
        elif crc32 is None:
            return
        else:
            values = {"crc32": crc32}
        with app.db.write() as tx:
            tx.execute(update(DirectUploadFile).where(*of_content).values(values))

    with _readers() as pool:
        for _ in pool.map(finish, sent):
            pass


def _is_arriving(store: DirectStore, ticket: str) -> bool:
    """Whether parts are only missing; else they were wrong, and are gone."""
    try:
        return bool(store.lacking(ticket, REQUEST_SECONDS))
    except ObjectChanged:
        return False


@contextmanager
def _readers() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(_READERS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def give_up(app: App, tickets: Sequence[str]) -> None:
    """Has the store throw away what arrived.

    Raises:
        StoreAway: It does not answer; its sweep throws them away later.
    """
    store = app.blobs.direct
    if store is None or not tickets:
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(store.abort, tickets):
            pass


def _forget_tickets(tx: Session, upload_id: UUID, sha256s: Sequence[str]) -> None:
    of_contents = DirectUploadFile.sha256 == func.any([bytes.fromhex(sha256) for sha256 in sha256s])
    tx.execute(update(DirectUploadFile).where(DirectUploadFile.upload_id == upload_id, of_contents).values(ticket=None))
