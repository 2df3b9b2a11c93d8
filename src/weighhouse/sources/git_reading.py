"""What is read out of a bare clone: its commits, the lines its changesets add, its tree and the contents of files."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from weighhouse.rules.evidence import Change, Commit, Missing, Reason
from weighhouse.rules.metrics.reviewedness import is_counted
from weighhouse.sources.git import Clone
from weighhouse.sources.package_code import code_of_notebook

MAX_COMMITS = 10_000
MAX_CHANGESETS = 300
MAX_CHANGES = 1_000_000
MAX_PATHS = 200_000
MAX_NOTEBOOK_BYTES = 5_000_000

# `log` puts a line break before the first file of a commit.
_STATUS = re.compile(rb"\n?([A-Z])\d*")
_RAW = re.compile(rb"\n?:\d+ (\d+) ([0-9a-f]+) ([0-9a-f]+) ([A-Z])\d*")
_FILE_MODES = frozenset({b"100644", b"100664", b"100755"})
"""Not those of links and submodules."""
_NUMBERS = re.compile(rb"(\d+|-)\t(\d+|-)\t(.*)", re.DOTALL)
_ENTRY = re.compile(rb"(\d+) blob ([0-9a-f]+) +(\d+)\t(.*)", re.DOTALL)
_HEADER = b"@"
_KINDS = {b"A": "created", b"C": "created", b"D": "deleted", b"R": "renamed"}
_PLAIN = ("--no-textconv", "--no-ext-diff", "--no-color", "--no-notes", "--no-show-signature", "--no-mailmap")
_NO_OBJECT = re.compile(r"0+")


@dataclass(frozen=True)
class Entry:
    """A file of a tree: the id of its content, and its bytes."""

    id: str
    size_bytes: int


@dataclass(frozen=True)
class FirstParentCommit:
    """A commit on the first-parent chain, and the code lines it adds against its first parent."""

    sha: str
    author: str
    email: str
    lines: int


@dataclass
class _Touched:
    """One file of a changeset, in the making."""

    path: str
    old_id: str
    new_id: str
    lines: int = 0


def head(clone: Clone) -> str:
    """The commit at the clone's head.

    Raises:
        Missing: It has none.
    """
    return b"".join(clone.ask("rev-parse", "--verify", "HEAD^{commit}")).decode().strip()


def commits(clone: Clone) -> Sequence[Commit]:
    """The last 10,000 commits that are no merges, oldest first.

    Raises:
        Missing: They touch more than a million files, or git failed.
    """
    # Needs no contents, so it works on a blobless clone. Clocks differ: parents must come before their children all the same.
    options = ("--no-merges", "-M100%", "--name-status", f"--max-count={MAX_COMMITS}", "--date-order", "--reverse")
    output = clone.ask("log", "-z", *options, *_PLAIN, "--format=@%H%x00%an%x00%ae%x00%at", "HEAD", "--")
    tokens = _tokens(output)
    found: list[Commit] = []
    paths: dict[str, str] = {}
    changes: list[Change] = []
    total = 0
    for token in tokens:
        if token.startswith(_HEADER):
            changes = []
            author, email, at = (next(tokens, b"") for _ in range(3))
            found.append(Commit(_text(author), _text(email), _instant(at), changes))
        elif status := _STATUS.fullmatch(token):
            total += 1
            if total > MAX_CHANGES:
                raise Missing(Reason.TOO_LARGE, f"The history touches more than {MAX_CHANGES:,} files")
            # A path stands in many commits; one copy serves them all.
            one = [paths.setdefault(path, path) for path in _paths(status[1], tokens)]
            changes.append(Change(one[-1], _KINDS.get(status[1], "changed"), one[0] if status[1] == b"R" else ""))  # type: ignore[arg-type]  # a literal of the table
    return found


def changesets(clone: Clone) -> Sequence[FirstParentCommit]:
    """The last 300 first-parent commits, newest first, with the code lines they add; a blobless clone counts none.

    Raises:
        Missing: git failed.
    """
    counts = () if clone.is_blobless else ("-m", "--raw", "--numstat", "-M", "--abbrev=64")
    options = ("--first-parent", f"--max-count={MAX_CHANGESETS}", *counts)
    output = clone.ask("log", "-z", *options, *_PLAIN, "--format=@%H%x00%an%x00%ae", "HEAD", "--")
    tokens = _tokens(output)
    found: list[tuple[str, str, str, dict[str, _Touched]]] = []
    for token in tokens:
        if token.startswith(_HEADER):
            found.append((token[1:].decode(), _text(next(tokens, b"")), _text(next(tokens, b"")), {}))
        elif (raw := _RAW.fullmatch(token)) and found:
            path = _paths(raw[4], tokens)[-1]
            if is_counted(path) and raw[1] in _FILE_MODES:
                found[-1][3][path] = _Touched(path, raw[2].decode(), raw[3].decode())
        elif (numbers := _NUMBERS.fullmatch(token)) and found:
            # A rename leaves the path out and has two tokens follow.
            path = _text(numbers[3]) if numbers[3] else _paths(b"R", tokens)[-1]
            if path in found[-1][3]:
                found[-1][3][path].lines = 0 if numbers[1] == b"-" else int(numbers[1])
    _count_notebooks(clone, [one for *_, touched in found for one in touched.values()])
    return [
        FirstParentCommit(sha, author, email, sum(one.lines for one in touched.values()))
        for sha, author, email, touched in found
    ]


def tree(clone: Clone) -> Mapping[str, Entry]:
    """Every file at the head by path, without links and submodules.

    Raises:
        Missing: There are more than 200,000, or git failed.
    """
    # The sizes of a blobless clone are the contents it lacks.
    long = () if clone.is_blobless else ("--long",)
    found: dict[str, Entry] = {}
    for token in _tokens(clone.ask("ls-tree", "-r", "-z", *long, "--full-tree", "HEAD")):
        entry = _ENTRY.fullmatch(token if long else token.replace(b"\t", b" 0\t", 1))
        if entry is None or entry[1] not in _FILE_MODES:
            continue
        found[_text(entry[4])] = Entry(entry[2].decode(), int(entry[3]))
        if len(found) > MAX_PATHS:
            raise Missing(Reason.TOO_LARGE, f"The repository has more than {MAX_PATHS:,} files")
    return found


def contents(clone: Clone, ids: Iterable[str], *, limit_bytes: int) -> Mapping[str, bytes]:
    """The contents of files by id; those larger than the limit are left out.

    Raises:
        Missing: git failed.
    """
    wanted = list(dict.fromkeys(ids))
    if clone.is_blobless and wanted:
        clone.fetch_objects(wanted)
    sizes = _sizes(clone, wanted)
    small = [one for one in wanted if 0 <= sizes.get(one, -1) <= limit_bytes]
    found: dict[str, bytes] = {}
    if small:
        output = _Reader(clone.ask("cat-file", "--batch=%(objectname) %(objectsize)", stdin=_lines(small)))
        for _ in small:
            name, size = output.line().split(b" ")
            found[name.decode()] = output.exactly(int(size))
            output.exactly(1)
    return found


def _sizes(clone: Clone, ids: Sequence[str]) -> Mapping[str, int]:
    if not ids:
        return {}
    output = b"".join(clone.ask("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=_lines(ids)))
    pairs = (line.split(b" ") for line in output.splitlines())
    return {pair[0].decode(): int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _count_notebooks(clone: Clone, touched: Sequence[_Touched]) -> None:
    """Counts in notebooks the lines of code only: what git counts is mostly their outputs."""
    notebooks = [one for one in touched if one.path.lower().endswith(".ipynb")]
    ids = {which for one in notebooks for which in (one.old_id, one.new_id) if not _NO_OBJECT.fullmatch(which)}
    read = contents(clone, sorted(ids), limit_bytes=MAX_NOTEBOOK_BYTES) if ids else {}
    code = {
        which: Counter(filter(str.strip, code_of_notebook(_text(content)).splitlines()))
        for which, content in read.items()
    }
    for one in notebooks:
        one.lines = (code.get(one.new_id, Counter[str]()) - code.get(one.old_id, Counter[str]())).total()


def _lines(ids: Iterable[str]) -> bytes:
    return "".join(f"{one}\n" for one in ids).encode()


def _tokens(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of an output that NUL divides."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole
    if rest:
        yield rest


def _paths(status: bytes, tokens: Iterator[bytes]) -> list[str]:
    return [_text(next(tokens, b"")) for _ in range(2 if status in {b"R", b"C"} else 1)]


def _text(raw: bytes) -> str:
    """Bytes as text that can be shown and hashed, whatever they hold."""
    return raw.decode("utf-8", errors="backslashreplace")


def _instant(seconds: bytes) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        # A commit may claim any time at all; one outside the calendar is never recent.
        return datetime.fromtimestamp(0, UTC)


class _Reader:
    """Reads lines and exact counts of bytes from pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = bytearray()

    def line(self) -> bytes:
        while b"\n" not in self._rest:
            self._more()
        line, _, rest = self._rest.partition(b"\n")
        self._rest = bytearray(rest)
        return bytes(line)

    def exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._more()
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken

    def _more(self) -> None:
        piece = next(self._pieces, b"")
        if not piece:
            raise Missing(Reason.MALFORMED, "The code repository lacks the content of a file that it names")
        self._rest += piece
