"""Pages of a listing. A cursor names the last row seen, so that a page costs the same at any depth."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from weighhouse.rules.errors import Invalid

T = TypeVar("T")


class InvalidCursor(Invalid):
    """The cursor was not made for this listing."""

    def __init__(self) -> None:
        super().__init__(
            "The cursor does not belong to this listing. Leave it out to start at the first page.", field="cursor"
        )


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a listing, and the cursor of those that follow, `None` at the end."""

    rows: Sequence[T]
    next_cursor: str | None
    total: int | None = None


def page_of(rows: Sequence[T], limit: int, cursor_of: Callable[[T], str], *, total: int | None = None) -> Page[T]:
    """The first `limit` of `rows`, which were asked for with one more to see whether others follow."""
    shown = rows[:limit]
    return Page(shown, cursor_of(shown[-1]) if len(rows) > limit else None, total)


def seal_cursor(key: bytes, listing: str, position: Sequence[Any]) -> str:
    """A cursor that is good for this listing only.

    Args:
        key: The registry's signing key.
        listing: What tells listings apart: the query and its order.
        position: JSON values of the last row seen.
    """
    body = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_tag(key, listing, body) + body).decode().rstrip("=")


def open_cursor(key: bytes, listing: str, cursor: str) -> list[Any]:
    """The position that a cursor of this listing names.

    Raises:
        InvalidCursor: It was changed, or made for another listing.
    """
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise InvalidCursor from None
    tag, body = sealed[:8], sealed[8:]
    if not hmac.compare_digest(tag, _tag(key, listing, body)):
        raise InvalidCursor
    position = json.loads(body)
    return position if isinstance(position, list) else [position]


def _tag(key: bytes, listing: str, body: bytes) -> bytes:
    return hmac.digest(key, b"cursor\0" + listing.encode() + b"\0" + body, hashlib.sha256)[:8]
