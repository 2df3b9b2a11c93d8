"""Reading ahead: the right bytes in order, several requests under way, little memory, and errors where they belong."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from tests.conftest import Place, eventually
from weighhouse.rules.zipview import BlobSpan, Literal
from weighhouse.store.blobs import BlobDamaged, BlobMissing, BlobStore, StoreAway
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.read_ahead import AHEAD, PIECE_BYTES, read_ahead

MIB = 1024 * 1024


@pytest.fixture
def blobs(place: Place) -> Iterator[S3Blobs]:
    with closing(S3Blobs(place.open())) as blobs:
        yield blobs


def keep(blobs: BlobStore, content: bytes) -> str:
    with blobs.stage() as staging:
        staging.write(content)
        staged = staging.finish()
    blobs.adopt(staged)
    blobs.discard(staged)
    return staged.sha256


class Far:
    """A store of which a test says when it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.lock = threading.Lock()
        self.may_answer = threading.Event()
        self.fails_at: int | None = None

    def read(self, sha256: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        assert length is not None
        with self.lock:
            self.asked.append((start, length))
        assert self.may_answer.wait(20)
        if self.fails_at is not None and start >= self.fails_at:
            raise StoreAway("It is away.")
        yield start.to_bytes(8, "big") * (length // 8)


def far_pieces(far: Far, count: int) -> Iterator[bytes]:
    parts: list[Literal | BlobSpan] = [Literal(b"head"), BlobSpan("ab" * 32, 0, count * PIECE_BYTES), Literal(b"tail")]
    return read_ahead(cast(BlobStore, far), parts)


def test_the_bytes_are_those_of_the_blobs_in_order(blobs: S3Blobs) -> None:
    content, other = os.urandom(2 * PIECE_BYTES + 77), b"other"
    first, second = keep(blobs, content), keep(blobs, other)
    parts: list[Literal | BlobSpan] = [
        Literal(b"a"),
        BlobSpan(first, 0, len(content)),
        Literal(b"b"),
        Literal(b"c"),
        BlobSpan(second, 1, 3),
        BlobSpan(first, PIECE_BYTES - 1, 2),
        Literal(b"d"),
    ]
    expected = b"a" + content + b"bc" + other[1:4] + content[PIECE_BYTES - 1 : PIECE_BYTES + 1] + b"d"
    got = b"".join(read_ahead(blobs, parts))
    assert hashlib.sha256(got).digest() == hashlib.sha256(expected).digest()
    assert list(read_ahead(blobs, [])) == []
    assert list(read_ahead(blobs, [Literal(b"x"), BlobSpan(first, 5, 0)])) == [b"x"]


def test_so_many_pieces_are_under_way_and_no_more() -> None:
    far = Far()
    pieces = far_pieces(far, 20)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(next(pieces) for _ in range(2)))
    reader.start()
    # The first literal is among those that are at hand.
    eventually(lambda: len(far.asked) == AHEAD - 1)
    time.sleep(0.2)
    assert len(far.asked) == AHEAD - 1
    far.may_answer.set()
    reader.join()
    assert got[0] == b"head"
    time.sleep(0.2)
    assert len(far.asked) <= AHEAD + 1
    rest = list(pieces)
    assert [piece[:8] for piece in [got[1], *rest[:-1]]] == [(n * PIECE_BYTES).to_bytes(8, "big") for n in range(20)]
    assert rest[-1] == b"tail"


def test_nothing_comes_from_a_store_that_does_not_answer_or_lacks_the_blob(blobs: S3Blobs) -> None:
    far = Far()
    far.fails_at = 0
    far.may_answer.set()
    with pytest.raises(StoreAway):
        next(far_pieces(far, 3))
    with pytest.raises(BlobMissing):
        next(read_ahead(blobs, [Literal(b"head"), BlobSpan("ab" * 32, 0, 10)]))


def test_what_comes_before_an_error_is_right_and_then_it_is_told() -> None:
    far = Far()
    far.fails_at = 5 * PIECE_BYTES
    far.may_answer.set()
    got: list[bytes] = []
    pieces = far_pieces(far, 20)
    with pytest.raises(StoreAway):
        got.extend(pieces)
    assert [len(piece) for piece in got] == [4, *([PIECE_BYTES] * 5)]
    assert list(pieces) == []


def test_who_leaves_early_has_nothing_more_asked_for(blobs: S3Blobs) -> None:
    far = Far()
    far.may_answer.set()
    pieces: Any = far_pieces(far, 1000)
    for _ in range(3):
        next(pieces)
    pieces.close()
    time.sleep(0.1)
    asked = len(far.asked)
    time.sleep(0.2)
    assert len(far.asked) == asked <= AHEAD + 3


def test_a_blob_that_ends_too_early_is_told(blobs: S3Blobs) -> None:
    sha256 = keep(blobs, b"x" * 100)
    with pytest.raises(BlobDamaged):
        list(read_ahead(blobs, [BlobSpan(sha256, 50, 51)]))
