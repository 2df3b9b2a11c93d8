"""Factories: what a test needs and does not care about."""

import io
import zipfile
from collections.abc import Mapping


def zip_of(
    files: Mapping[str, str | bytes],
    *,
    method: int = zipfile.ZIP_DEFLATED,
    is_stream: bool = False,
    comment: bytes = b"",
) -> bytes:
    """A ZIP with these files, made by the standard library.

    Args:
        files: Content by path; a path that ends in `/` is a directory.
        method: `zipfile.ZIP_STORED` or `zipfile.ZIP_DEFLATED`.
        is_stream: Write as to a pipe: sizes and checksums follow each member in a data descriptor.
        comment: Comment of the archive.
    """
    target = _Pipe() if is_stream else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.comment = comment
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content, method)
    return target.getvalue()


class _Pipe(io.BytesIO):
    """A target that cannot go back."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError("not seekable")

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise OSError("not seekable")
