"""A downloaded ZIP against the registry's list of its files: every path, size, CRC-32 and SHA-256, nothing beside them."""

import contextlib
import hashlib
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from weighhouse.doors.cli.client import Refused
from weighhouse.doors.cli.output import Row
from weighhouse.rules.paths import BadPath, check_path

_PIECE_BYTES = 1024 * 1024


class Mismatch(Refused):
    """The bytes are not those that the registry recorded."""


@dataclass(frozen=True)
class Listed:
    """What the registry says of one file."""

    size_bytes: int
    sha256: str


def listed_files(rows: Iterable[Row], included: Iterable[str] | None) -> dict[str, Listed]:
    """The files that a download holds, by path.

    Args:
        rows: The registry's list of all files of the package.
        included: The components in the download, `None` for all of them; `other` is in every one.

    Raises:
        Mismatch: A path of the list would leave the folder it is unpacked in.
    """
    wanted = None if included is None else {*included, "other"}
    listed = {
        str(row["path"]): Listed(int(row["size_bytes"]), str(row["sha256"]).lower())
        for row in rows
        if wanted is None or row.get("component") in wanted
    }
    try:
        for path in listed:
            check_path(path)
    except BadPath as error:
        raise Mismatch(
            f"The server lists a file that is not safe to unpack: {error.detail} Nothing was kept."
        ) from error
    return listed


def verify(path: Path, listed: Mapping[str, Listed], moved: Callable[[int], None]) -> None:
    """Read the whole ZIP and compare it with the list.

    Raises:
        Mismatch: They differ; the message names the first file that does.
    """
    _read_all(path, listed, moved, None)


def unpack(path: Path, folder: Path, listed: Mapping[str, Listed], moved: Callable[[int], None]) -> None:
    """Write the listed files below `folder`, which appears when all of them are right, and not before.

    Raises:
        Mismatch: The ZIP and the list differ; nothing is left behind.
        Refused: The folder is there already and not empty.
    """
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.parent / f".{folder.name}.{secrets.token_hex(8)}"
    fresh.mkdir()
    try:
        _read_all(path, listed, moved, fresh)
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def check_free(folder: Path) -> None:
    """Make sure that unpacking to `folder` overwrites nothing.

    Raises:
        Refused: Something is there.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise Refused(f"{folder} is there already and not empty. Name a new folder for --unpack.")


def _read_all(path: Path, listed: Mapping[str, Listed], moved: Callable[[int], None], folder: Path | None) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # As it stands in the file: `filename` is cut at a NUL and has its separators changed.
            names = [member.orig_filename for member in members]
            if len(set(names)) != len(names):
                raise Mismatch("The ZIP holds two files of one name. It was removed.")
            lacking, foreign = listed.keys() - set(names), set(names) - listed.keys()
            if lacking or foreign:
                what = f"lacks {min(lacking)!r}" if lacking else f"holds {min(foreign)!r}, which is not listed"
                raise Mismatch(f"The ZIP {what}. It was removed; download again, and tell the server's operator.")
            for member in members:
                with archive.open(member) as source:
                    _read_one(source, member.orig_filename, listed[member.orig_filename], moved, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Mismatch(f"The ZIP is damaged: {error}. It was removed; download again.") from error


def _read_one(source: IO[bytes], name: str, listed: Listed, moved: Callable[[int], None], folder: Path | None) -> None:
    digest = hashlib.sha256()
    length = 0
    with _sink(folder, name) as write:
        while piece := source.read(_PIECE_BYTES):
            length += len(piece)
            if length > listed.size_bytes:
                break
            digest.update(piece)
            write(piece)
            moved(len(piece))
    if length != listed.size_bytes or digest.hexdigest() != listed.sha256:
        raise Mismatch(
            f"{name} is not what the registry recorded (SHA-256 {digest.hexdigest()[:12]}… instead of "
            f"{listed.sha256[:12]}…). The download was removed; tell the server's operator."
        )


@contextlib.contextmanager
def _sink(folder: Path | None, name: str) -> Iterator[Callable[[bytes], object]]:
    if folder is None:
        yield lambda piece: None
        return
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    # O_EXCL and O_NOFOLLOW: two paths that fall together on this file system (case, Unicode forms) are an error.
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    with os.fdopen(handle, "wb") as file:
        yield file.write
