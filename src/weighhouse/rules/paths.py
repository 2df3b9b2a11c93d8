"""Paths of files in a package: which ones every system can hold, and which ones get in each other's way."""

import re
import unicodedata

from weighhouse.rules.errors import Malformed

PATH_BYTES = 1024
PART_BYTES = 255
PARTS = 32

_SHOWN = 100
# Device names of Windows, whatever follows the first dot; the superscript digits are devices there too.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?: *\..*)?", re.IGNORECASE)
# Marks that reorder what is shown (UAX #9), so that `gpj.exe` reads as `exe.jpg`, and the two Unicode line ends.
_HIDDEN = re.compile("[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class BadPath(Malformed):
    """A file has a path that a package cannot hold."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"The path {path} {reason}. Rename the file.")
        self.path = path


def shown(path: bytes | str) -> str:
    r"""`path` in quotes, safe in any message: escaped where it does not print, and cut.

    >>> shown(b"a\x00b\xff")
    "'a\\x00b\\xff'"
    """
    text = path.decode("utf-8", "backslashreplace") if isinstance(path, bytes) else path
    cut = text[:_SHOWN] + "…" if len(text) > _SHOWN else text
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut) + "'"


def member_path(raw: bytes) -> str:
    """The path that these bytes of a ZIP stand for, looked at before any library can cut or rewrite them.

    Args:
        raw: The name as it is in the archive, without the `/` that marks a directory.

    Raises:
        BadPath: It is not UTF-8, or `check_path` refuses it.
    """
    if len(raw) > PATH_BYTES:
        raise BadPath(shown(raw), f"is longer than {PATH_BYTES} bytes")
    try:
        path = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadPath(shown(raw), "is not valid UTF-8") from None
    check_path(path)
    return path


def check_path(path: str) -> None:
    """Accept a path that means the same file on every system.

    Raises:
        BadPath: It leaves the package, hides characters, is too long or too deep, or has no name on some system.

    >>> check_path("weights/model-00001-of-00002.safetensors")
    """
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        raise BadPath(shown(path), "has half a character (a lone surrogate)") from None
    parts = path.split("/")
    if len(raw) > PATH_BYTES:
        raise BadPath(shown(path), f"is longer than {PATH_BYTES} bytes")
    if len(parts) > PARTS:
        raise BadPath(shown(path), f"is deeper than {PARTS} levels")
    if reason := _hidden(path) or next(filter(None, map(_part, parts)), None):
        raise BadPath(shown(path), reason)


def _hidden(path: str) -> str | None:
    """What is wrong with the characters of `path`."""
    if any(unicodedata.category(c) == "Cc" for c in path):
        return "holds a control character"
    if _HIDDEN.search(path):
        return "holds a character that changes the order of the text around it"
    if "\\" in path:
        return "holds a backslash; folders are separated by /"
    if ":" in path:
        return "holds a colon, which names a drive or a stream on Windows"
    return None


def _part(part: str) -> str | None:
    """What is wrong with one part of a path."""
    if part in {"", ".", ".."}:
        return "has an empty part, or one that is . or .."
    if len(part.encode("utf-8")) > PART_BYTES:
        return f"has a part that is longer than {PART_BYTES} bytes"
    if part[-1] in ". ":
        return "has a part that ends in a dot or a space, which Windows drops"
    if part[0] == "-":
        return "has a part that starts with -, which commands take for an option"
    if _DEVICE.fullmatch(part):
        return "has a part that is the name of a device on Windows"
    return None


def path_key(path: str) -> str:
    r"""What two paths share when some system takes them for one: NFC and case folded.

    >>> path_key("CAFE\u0301.txt") == path_key("caf\u00e9.TXT")
    True
    """
    if path.isascii():
        return path.lower()
    # Folding can undo the composition, so compose again.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class PathSet:
    """The paths of one package, no two of which get in each other's way."""

    def __init__(self) -> None:
        self._is_dir: dict[str, bool] = {}

    def add(self, path: str, *, is_dir: bool = False) -> None:
        """Take one more path.

        Raises:
            BadPath: The set has it already, perhaps in another case or another form of the same characters.
        """
        # The separator sorts before every other character, so that what is below a file follows it at once.
        key = path_key(path).replace("/", "\0")
        if key in self._is_dir:
            raise BadPath(shown(path), "is there twice, or differs from another only in case or in form")
        self._is_dir[key] = is_dir

    def close(self) -> None:
        """Look at all paths together.

        Raises:
            BadPath: A file has the name of a folder that another file is in.
        """
        file = None
        for key in sorted(self._is_dir):
            if file is not None and key.startswith(file + "\0"):
                raise BadPath(shown(file.replace("\0", "/")), "is a file and also the folder of another file")
            if not self._is_dir[key]:
                file = key
