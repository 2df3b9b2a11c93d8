"""Shapes of packages that are sent file by file."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from weighhouse.doors.api.schemas.shape import Shape, Text, WholeNumber
from weighhouse.rules.announced import MAX_FILES

_MAX_FIELD_CHARACTERS = 64 * 1024

_Field = Annotated[Text | None, Field(max_length=_MAX_FIELD_CHARACTERS)]


class AnnouncedFile(Shape):
    """A file that is to be sent."""

    path: Text = Field(examples=["weights/model.safetensors"])
    size_bytes: WholeNumber = Field(ge=0, le=2**53)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="In lower-case hexadecimal.")
    crc32: WholeNumber | None = Field(
        None, ge=0, lt=2**32, description="Of the whole file: completing is quicker with it."
    )


class Announcement(Shape):
    """A package that is to be sent file by file."""

    name: Text = Field(examples=["my-model"], max_length=_MAX_FIELD_CHARACTERS)
    version: _Field = Field(None, description="May be left out when the card's front matter or config.json has one.")
    description: _Field = None
    model_url: _Field = None
    dataset_url: _Field = None
    code_url: _Field = None
    files: list[AnnouncedFile] = Field(max_length=MAX_FILES)


class MissingPart(Shape):
    """Bytes of a content, and the request that sends them."""

    offset_bytes: int = Field(description="Where in the content they begin.")
    size_bytes: int
    method: Literal["PUT"]
    url: str = Field(description="Signed: it takes these bytes and no others, without a token, until the upload ends.")
    headers: dict[str, str] = Field(description="What the request must carry.")


class MissingFile(Shape):
    """A content that is to be sent, in one part or several, in any order."""

    sha256: str
    size_bytes: int
    parts: list[MissingPart] = Field(description="Those that have not arrived.")


class UploadState(Shape):
    """How far an upload is that is sent file by file."""

    upload_id: UUID
    expires_at: datetime = Field(description="When it is given up.")
    files_total: int
    bytes_total: int
    missing: list[MissingFile] = Field(description="Each content once, however many files have it.")
    package_id: UUID | None = Field(description="The package, once the upload is complete.")
