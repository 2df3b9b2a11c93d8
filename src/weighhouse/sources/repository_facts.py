"""What one commit of a repository holds, read once from a clone and kept by the commit's id."""

import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from weighhouse.rules.code_files import MAX_PROGRAM_BYTES, programs_to_read
from weighhouse.rules.evidence import Change, CodeTree, Commit, Missing, Reason, Source
from weighhouse.sources import git_reading
from weighhouse.sources.git import Clone
from weighhouse.sources.git_reading import FirstParentCommit
from weighhouse.sources.package_code import code_tree, extras_to_read

KEPT_BYTES = 64 * 1024 * 1024
"""Facts that pack into no more are kept between evaluations; 10,000 commits and 400 programs take a tenth of it."""

PART_SECONDS = 15.0

_LAYOUT = 2
_LASTING = Reason.TOO_LARGE
"""What is so for good at one commit. What was too slow today may be quick enough tomorrow."""
_KINDS: Sequence[Literal["created", "changed", "renamed", "deleted"]] = ("created", "changed", "renamed", "deleted")

T = TypeVar("T")


@dataclass(frozen=True)
class RepositoryFacts:
    """A repository at one commit. What could not be read of it is `Missing`, and the rest is there.

    Args:
        head: The commit; `None` for a repository without one.
        sizes: Bytes of every file by path; all 0 when `lines_known` is false, as they were not fetched.
        texts: The texts of the files that metrics read, by path.
        tree_missing: Why `texts` are not there, and if `sizes` is empty, nor these.
        lines_known: Whether the lines of `changesets` were counted.
    """

    head: str | None
    commits: Sequence[Commit] | Missing = ()
    changesets: Sequence[FirstParentCommit] | Missing = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    tree_missing: Missing | None = None
    lines_known: bool = True

    def tree(self, source: Source, folder: str = "") -> CodeTree:
        """The code at this commit, with what lies in `folder` as its part.

        Raises:
            Missing: It could not be read.
        """
        if self.tree_missing:
            raise Missing(self.tree_missing.reason, self.tree_missing.advice)
        whole = _tree(source, self.sizes, self.texts)
        if not folder:
            return whole
        return replace(whole, part=_tree(source, _within(folder, self.sizes), _within(folder, self.texts)))


def read_facts(clone: Clone, folder: str = "") -> RepositoryFacts:
    """Everything that metrics ask of a repository, read from its clone.

    Args:
        folder: Its files are read as well where the whole repository has too many.

    Raises:
        Missing: The clone has no commit that git can read.
    """
    head = git_reading.head(clone)
    tree: Mapping[str, git_reading.Entry] = {}
    texts: Mapping[str, str] = {}
    tree_missing = None
    try:
        tree = git_reading.tree(_in_time(clone))
        texts = _texts(_in_time(clone), tree, folder)
    except Missing as missing:
        tree_missing = missing
    return RepositoryFacts(
        head=head,
        commits=_or_missing(lambda: git_reading.commits(_in_time(clone))),
        changesets=_or_missing(lambda: git_reading.changesets(_in_time(clone))),
        sizes={path: entry.size_bytes for path, entry in tree.items()},
        texts=texts,
        tree_missing=tree_missing,
        lines_known=not clone.is_blobless,
    )


def _in_time(clone: Clone) -> Clone:
    """The clone, with no more time for one part than leaves some for the others."""
    return replace(clone, deadline=min(clone.deadline, time.monotonic() + PART_SECONDS))


def pack(facts: RepositoryFacts) -> bytes | None:
    """The facts as bytes; `None` for those that are too large to keep, or that lack what another try might bring."""
    parts = (facts.commits, facts.changesets, facts.tree_missing)
    if any(isinstance(part, Missing) and part.reason is not _LASTING for part in parts):
        return None
    document = {
        "layout": _LAYOUT,
        "head": facts.head,
        "commits": _packed_or_missing(
            facts.commits,
            lambda one: [one.author, one.email, int(one.at.timestamp()), [_packed(change) for change in one.changes]],
        ),
        "changesets": _packed_or_missing(facts.changesets, lambda one: [one.sha, one.author, one.email, one.lines]),
        "tree_missing": _packed_missing(facts.tree_missing) if facts.tree_missing else None,
        "sizes": dict(facts.sizes),
        "texts": dict(facts.texts),
        "lines_known": facts.lines_known,
    }
    packed = zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 6)
    return packed if len(packed) <= KEPT_BYTES else None


def unpack(packed: bytes) -> RepositoryFacts | None:
    """The facts that `pack` made bytes of; `None` when another release did it."""
    try:
        document = json.loads(zlib.decompress(packed))
        if document["layout"] != _LAYOUT:
            return None
        return RepositoryFacts(
            head=document["head"],
            commits=_unpacked_or_missing(document["commits"], _unpacked_commit),
            changesets=_unpacked_or_missing(document["changesets"], lambda one: FirstParentCommit(*one)),
            tree_missing=_unpacked_missing(document["tree_missing"]) if document["tree_missing"] else None,
            sizes=document["sizes"],
            texts=document["texts"],
            lines_known=document["lines_known"],
        )
    except (ValueError, KeyError, TypeError, zlib.error):
        return None


def _tree(source: Source, sizes: Mapping[str, int], texts: Mapping[str, str]) -> CodeTree:
    programs = {path: texts[path] for path in programs_to_read(sizes) if path in texts}
    extras = {path: texts[path] for path in extras_to_read(sizes) if path in texts}
    return code_tree("repository", source, sizes, programs, extras)


def _texts(clone: Clone, tree: Mapping[str, git_reading.Entry], folder: str) -> dict[str, str]:
    sizes = {path: entry.size_bytes for path, entry in tree.items()}
    wanted = {*programs_to_read(sizes), *extras_to_read(sizes)}
    if folder:
        part = _within(folder, sizes)
        wanted |= {f"{folder}/{path}" for path in (*programs_to_read(part), *extras_to_read(part))}
    read = git_reading.contents(clone, [tree[path].id for path in sorted(wanted)], limit_bytes=MAX_PROGRAM_BYTES)
    texts: dict[str, str] = {}
    for path in sorted(wanted):
        try:
            texts[path] = read[tree[path].id].decode("utf-8").removeprefix("\ufeff")
        except (UnicodeDecodeError, KeyError):
            # Not UTF-8, so not a program that Python 3 runs as it stands; or larger than a blobless clone could tell.
            continue
    return texts


def _within(folder: str, by_path: Mapping[str, T]) -> dict[str, T]:
    return {path.removeprefix(f"{folder}/"): value for path, value in by_path.items() if path.startswith(f"{folder}/")}


def _or_missing(read: Callable[[], T]) -> T | Missing:
    try:
        return read()
    except Missing as missing:
        return missing


def unread(head: str, missing: Missing) -> RepositoryFacts:
    """The facts of a commit of which nothing could be read."""
    return RepositoryFacts(head, commits=missing, changesets=missing, tree_missing=missing)


def _packed_or_missing(part: Sequence[T] | Missing, pack_one: Callable[[T], list[Any]]) -> object:
    return _packed_missing(part) if isinstance(part, Missing) else [pack_one(one) for one in part]


def _unpacked_or_missing(packed: Any, unpack_one: Callable[[list[Any]], T]) -> Sequence[T] | Missing:
    return _unpacked_missing(packed) if isinstance(packed, dict) else [unpack_one(one) for one in packed]


def _packed_missing(missing: Missing) -> dict[str, str]:
    return {"reason": missing.reason, "advice": missing.advice}


def _unpacked_missing(packed: Mapping[str, str]) -> Missing:
    return Missing(Reason(packed["reason"]), packed["advice"])


def _unpacked_commit(packed: list[Any]) -> Commit:
    author, email, at, changes = packed
    return Commit(author, email, datetime.fromtimestamp(at, UTC), [_unpacked(change) for change in changes])


def _packed(change: Change) -> list[Any]:
    return [_KINDS.index(change.kind), change.path, *([change.old_path] if change.old_path else [])]


def _unpacked(change: list[Any]) -> Change:
    return Change(change[1], _KINDS[change[0]], change[2] if len(change) > 2 else "")
