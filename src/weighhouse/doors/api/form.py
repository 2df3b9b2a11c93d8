"""The upload's form, read while it arrives: fields into memory within bounds, the file straight to where it is kept."""

from collections.abc import Callable

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from weighhouse.doors.problems import UnsupportedMedia
from weighhouse.registry.upload import UploadForm
from weighhouse.rules.errors import Malformed
from weighhouse.rules.strictjson import check_text

MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 1024
_MAX_PART_HEADER_BYTES = 8 * 1024
_MAX_BOUNDARY_BYTES = 200

_FIELDS = frozenset({"name", "version", "description", "model_url", "dataset_url", "code_url"})


class BadForm(Malformed):
    """The body is not the form that this address takes."""


def boundary_of(request: Request) -> bytes:
    """What separates the parts of the form.

    Raises:
        UnsupportedMedia: The body is of another kind.
        BadForm: The header names no usable boundary.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise UnsupportedMedia("Send the package as multipart/form-data, with the ZIP in the field 'file'.")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise BadForm(
            "The Content-Type header names no boundary, or a very long one. Let your HTTP client make the form."
        )
    return boundary


class FormReader:
    """Takes the body of an upload piece by piece.

    Args:
        take_file: Is given the bytes of the field `file` as they come.
    """

    def __init__(self, boundary: bytes, take_file: Callable[[memoryview], None]) -> None:
        self._take_file = take_file
        self._parts = 0
        self._has_file = False
        self._is_complete = False
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._value = bytearray()
        self._fields: dict[str, str] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_header_field": self._take_header_name,
                "on_header_value": self._take_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the body.

        Raises:
            BadForm: They do not continue a form with one file.
            And whatever `take_file` raises.
        """
        try:
            self._parser.write(data)
        except MultipartParseError:
            raise BadForm("The body is not a complete multipart form. Let your HTTP client make it.") from None

    def close(self) -> UploadForm:
        """The fields, when the whole body has come.

        Raises:
            BadForm: The body ended too early, or had no file.
            UnacceptableText: A field holds what no text may hold.
        """
        if not self._is_complete:
            raise BadForm("The body ended before the form did. Send it again.")
        if not self._has_file:
            raise BadForm("The form has no file. Send the ZIP in the field 'file'.")
        # A form sends what was left empty as an empty text.
        return UploadForm(**{name: check_text(value, name) for name, value in self._fields.items() if value})

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise BadForm(f"The form has more than {MAX_FIELDS} fields. Send only those that /docs names.")
        self._headers = {}
        self._value = bytearray()

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]
        self._check_header()

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._header_name) + len(self._header_value) > _MAX_PART_HEADER_BYTES:
            raise BadForm("A part of the form has a very long header. Let your HTTP client make the form.")

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise BadForm("A part of the form has no name. Let your HTTP client make the form.")
        self._field = options[b"name"].decode("utf-8", "replace")
        if b"filename" in options and self._field != "file":
            raise BadForm("The form has a file in another field than 'file'. Send one ZIP, in the field 'file'.")
        if self._field == "file":
            if self._has_file:
                raise BadForm("The form has two files. Send one ZIP, in the field 'file'.")
            self._has_file = True
        elif self._field in self._fields:
            raise BadForm(f"The form has the field '{self._field}' twice. Send it once.")

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self._take_file(memoryview(data)[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD_BYTES:
            raise BadForm(f"A field of the form has more than {MAX_FIELD_BYTES} bytes. Shorten it.")

    def _end_part(self) -> None:
        if self._field in _FIELDS:
            try:
                self._fields[self._field] = self._value.decode("utf-8")
            except UnicodeDecodeError:
                raise BadForm(f"The field '{self._field}' is not UTF-8 text.") from None
        self._field = None

    def _end(self) -> None:
        self._is_complete = True
