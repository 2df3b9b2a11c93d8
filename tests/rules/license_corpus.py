"""License texts that lie on every machine that runs the tests: those of installed packages. None is kept here."""

from functools import cache
from importlib import metadata

_FILES = {
    "MIT": ("rich", "LICENSE"),
    "Apache-2.0": ("python-multipart", "LICENSE.txt"),
    "BSD-3-Clause": ("click", "LICENSE.txt"),
    "BSD-2-Clause": ("pygments", "LICENSE"),
    "MPL-2.0": ("pathspec", "LICENSE"),
    "LGPL-3.0-only": ("psycopg", "LICENSE.txt"),
}
IDS = tuple(_FILES)


@cache
def text_of(license_id: str) -> str:
    """The text of a license, as a package ships it."""
    package, name = _FILES[license_id]
    files = metadata.files(package) or []
    found = next(file for file in files if file.name == name)
    return found.read_text("utf-8")
