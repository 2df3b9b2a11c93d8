"""What commands that need no server share: documents and folders of this machine, compared with what was signed."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import orjson

from weighhouse.doors.cli.asking import RemoteCommand
from weighhouse.doors.cli.client import Refused
from weighhouse.doors.cli.output import clean

LONGEST_DOCUMENT_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024


class OfflineCommand(RemoteCommand):
    """A command with the manners of the remote ones, that asks no server."""


def read_document(path: Path) -> object:
    """The JSON in a file.

    Raises:
        Refused: It is too long, or no JSON.
    """
    with path.open("rb") as file:
        content = file.read(LONGEST_DOCUMENT_BYTES + 1)
    if len(content) > LONGEST_DOCUMENT_BYTES:
        raise Refused(f"{path} is longer than any signed document: {LONGEST_DOCUMENT_BYTES // 1024**2} MiB.")
    try:
        return orjson.loads(content)
    except ValueError as error:
        raise Refused(f"{path} is not JSON. Was it cut off, or is it another file?") from error


def compare_folder(folder: Path, expected: Mapping[str, str], *, may_lack: bool = False) -> None:
    """Read the files below `folder` and compare them with what was signed.

    Args:
        expected: SHA-256 of each file by path.
        may_lack: Files may be missing, but none may be changed or more.

    Raises:
        click.ClickException: They differ; the message names the first file that does.
    """
    found = set()
    for path, source in all_files(folder):
        found.add(path)
        if path not in expected:
            raise Refused(f"{clean(path)} is in the folder, and nothing was signed about it.")
        if sha256_of(source) != expected[path]:
            raise Refused(f"{clean(path)} is not the file that was signed: its SHA-256 is another.")
    lacking = min(expected.keys() - found, default=None)
    if lacking is not None and not may_lack:
        raise Refused(f"{clean(lacking)} was signed and is not in the folder.")
    if not found:
        raise Refused(f"{folder} holds no files.")


def sha256_of(path: Path, moved: Callable[[int], None] = lambda count: None) -> str:
    """SHA-256 of a file, which is never whole in memory.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            moved(len(piece))
    return digest.hexdigest()


def all_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Path and place of every file below a folder, hidden ones too: what is left out could be what somebody added.

    Raises:
        Refused: It holds a link to a folder.
    """

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders.sort()
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        if links:
            raise Refused(f"{Path(place) / links[0]} is a link to a folder, which no package holds.")
        for name in sorted(names):
            source = Path(place) / name
            yield source.relative_to(folder).as_posix(), source
