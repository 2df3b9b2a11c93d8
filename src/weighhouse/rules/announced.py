"""A package's files as an uploader announces them, before a byte was sent: what they have to be to become a package."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weighhouse.rules.errors import Invalid
from weighhouse.rules.paths import BadPath, PathSet, check_path

MAX_FILES = 50_000
"""As many as a ZIP may hold."""

_SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class AnnouncedFile:
    """A file that is to be sent, unless its content is here.

    Args:
        sha256: Digest in lower-case hexadecimal.
        crc32: Spares the store a second look at what it compared itself.
    """

    path: str
    size_bytes: int
    sha256: str
    crc32: int | None = None


class ManifestInvalid(Invalid):
    """The announced files cannot become a package."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__(faults[0][1])
        self.errors: list[dict[str, Any]] = [{"field": field, "detail": detail} for field, detail in faults]


def check_announced(files: Sequence[AnnouncedFile]) -> None:
    """Accept files that can become a package: every path fit to be kept, and no content of two sizes.

    Raises:
        ManifestInvalid: They cannot; the first faults are listed, each with its field.
    """
    faults = []
    for fault in _faults(files):
        faults.append(fault)
        if len(faults) == _SHOWN_FAULTS:
            break
    if faults:
        raise ManifestInvalid(faults)


def _faults(files: Sequence[AnnouncedFile]) -> Iterator[tuple[str, str]]:
    if not files:
        yield "files", "A package has at least one file. Name it with its size and SHA-256."
    paths = PathSet()
    sizes: dict[str, int] = {}
    for number, file in enumerate(files):
        try:
            check_path(file.path)
            paths.add(file.path)
        except BadPath as bad:
            yield f"files.{number}.path", bad.detail
        if sizes.setdefault(file.sha256, file.size_bytes) != file.size_bytes:
            yield (
                f"files.{number}.size_bytes",
                "Another file has the same SHA-256 and another size. Measure both again.",
            )
    try:
        paths.close()
    except BadPath as bad:
        yield "files", bad.detail
