"""What all shapes have in common. Unknown keys that come in are ignored; every text is checked for what no text may hold."""

import re
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from weighhouse.rules.errors import Invalid
from weighhouse.rules.strictjson import check_text

EXAMPLE_ID = "01926f3e-7c1a-7d3b-9a55-3f1f4c2f6a10"
_CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _text(value: str) -> str:
    try:
        return check_text(value, "value")
    except Invalid as invalid:
        raise ValueError(invalid.detail) from invalid


def _no_text(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("must be a whole number")
    return value


def _canonical(value: object) -> object:
    if not isinstance(value, str) or _CANONICAL.fullmatch(value) is None:
        raise ValueError(f"must be an id as the registry writes it, such as {EXAMPLE_ID}")
    return value


Text = Annotated[str, AfterValidator(_text)]
Id = Annotated[UUID, BeforeValidator(_canonical)]
"""The id of something, in its one spelling: nothing has two addresses."""
WholeNumber = Annotated[int, BeforeValidator(_no_text)]
Score = Annotated[float, Field(ge=0, le=1)]
StatusName = Literal["evaluating", "evaluated", "failed"]
VerdictName = Literal["safe", "suspicious", "unsafe", "unscanned"]


class Shape(BaseModel):
    """A JSON object."""

    model_config = ConfigDict(extra="ignore")


class Message(Shape):
    """What was done."""

    message: str


class Problem(Shape):
    """What went wrong, and what to do about it (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "/problems/version-exists",
                "title": "A published version never changes; publish a new one",
                "status": 409,
                "detail": "bert-base already has a version 1.0.0. Choose the next one.",
                "request_id": "3b241101e2bb4255",
            }
        },
    )

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None
