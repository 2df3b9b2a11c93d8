"""If the key people left, would anyone still know this project? (metrics specification, section 4)

Truck factor by degree of authorship: *A Novel Approach for Estimating Truck Factors*.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from weighhouse.rules.evidence import Evidence, Missing, Reason, Source
from weighhouse.rules.metrics.result import Result, ok

NAME = "bus_factor"
METRIC_VERSION = "bus_factor/1"

AUTHOR_DOA = 3.293
AUTHOR_SHARE = 0.75
ACTIVE_DAYS = 365
ACTIVE_COMMITS = 2
FALLBACK_CAP = 3

_BOT = re.compile(r"\[bot\]|\bdependabot\b|\brenovate\b|\bgithub-actions\b", re.IGNORECASE)
_NOREPLY = re.compile(r"(?:\d+\+)?([^@+]+)@users\.noreply\.")
_SOURCE_FILE = re.compile(
    r"\.(?:py|ipynb|cc?|cpp|cu|h|hpp|java|js|ts|go|rs|rb|sh|jl|r|cs|kt|swift|scala|lua|sql)$", re.IGNORECASE
)
_VENDORED = frozenset(["vendor", "third_party", "node_modules", "dist", "build"])


@dataclass(frozen=True)
class Change:
    """What a commit did to one file. `renamed` moves it unchanged from `old_path`."""

    path: str
    kind: Literal["created", "changed", "renamed", "deleted"]
    old_path: str = ""


@dataclass(frozen=True)
class Commit:
    """A commit that is no merge."""

    author: str
    email: str
    at: datetime
    changes: Sequence[Change] = ()


@dataclass(frozen=True)
class History:
    """Commits of the default branch, oldest first, and the paths at its head."""

    source: Source
    commits: Sequence[Commit]
    paths: Collection[str]


@dataclass
class _File:
    creator: str | None = None
    commits: Counter[str] = field(default_factory=Counter)


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """Inconclusive: this server reads no histories yet; `judge` scores one.

    Raises:
        Missing: Always.
    """
    if not evidence.code_url and not evidence.model_url:
        raise Missing(Reason.NO_CODE_REPO, "Neither a code_url nor a model_url was given; publish with one of them")
    raise Missing(Reason.UNREACHABLE, "This server does not read the history of repositories yet")


def judge(history: History, as_of: datetime) -> Result:
    """The score of a history: how many people it takes to lose the code, and how many are active.

    Raises:
        Missing: It has no commit by a person.
    """
    people = _people(history.commits)
    if not people:
        raise Missing(Reason.NO_EVIDENCE, "The repository has no commit by a person")
    since = as_of - timedelta(days=ACTIVE_DAYS)
    recent = Counter(person for commit, person in people if since <= commit.at <= as_of)
    active = sum(count >= ACTIVE_COMMITS for count in recent.values())
    sources = [path for path in history.paths if is_source(path)]
    if sources:
        method, factor = "git-doa", truck_factor(_authors_by_file(people, sources))
        reason = f"{factor} people together wrote more than half of {len(sources)} source files"
    else:
        method, factor = "git-commits", absence_factor(Counter(person for _, person in people))
        reason = f"{factor} people together made half of {len(people)} commits; there are no source files"
    return ok(
        NAME,
        score(factor, active),
        [reason, f"{active} people made at least two commits in the last {ACTIVE_DAYS} days"],
        inputs={"truck_factor": factor, "active_people": active, "files": len(sources), "commits": len(people)},
        method=method,
        sources=(history.source,),
    )


def score(factor: int, active: int) -> float:
    """The score of a truck factor and a number of active people, not yet rounded.

    >>> round(score(2, 4), 6)
    0.765
    """
    return 0.7 * (1 - 2.0**-factor) + 0.3 * min(1.0, active / 5)


def degree_of_authorship(*, created: bool, commits: int, others: int) -> float:
    """How well a person knows a file.

    Args:
        commits: Of the person on the file, the creating one included.
        others: Commits of everybody else on it.

    >>> round(degree_of_authorship(created=False, commits=5, others=3), 3)
    3.668
    """
    return 3.293 + 1.098 * created + 0.164 * commits - 0.321 * math.log(1 + others)


def truck_factor(authors: Sequence[Collection[str]]) -> int:
    """How many people must leave until less than half of the files keep an author, those who author most first.

    Args:
        authors: The authors of each file.
    """
    files_of: dict[str, set[int]] = defaultdict(set)
    for number, names in enumerate(authors):
        for name in names:
            files_of[name].add(number)
    left = [len(set(names)) for names in authors]
    covered = sum(count > 0 for count in left)
    factor = 0
    # Nobody's share changes when another leaves, so one sorting serves every step.
    for name in sorted(files_of, key=lambda name: (-len(files_of[name]), name)):
        if 2 * covered < len(authors):
            break
        factor += 1
        for number in files_of[name]:
            left[number] -= 1
            covered -= left[number] == 0
    return factor


def absence_factor(commits: Mapping[str, int]) -> int:
    """The fewest people with at least half of the commits, at most 3 (CHAOSS Contributor Absence Factor)."""
    total = sum(commits.values())
    made = people = 0
    for count in sorted(commits.values(), reverse=True):
        if 2 * made >= total:
            break
        made += count
        people += 1
    return min(FALLBACK_CAP, people)


def file_authors(commits: Mapping[str, int], creator: str | None) -> frozenset[str]:
    """Who authors a file, from each person's commits on it and who created it."""
    total = sum(commits.values())
    degrees = {
        person: degree_of_authorship(created=person == creator, commits=count, others=total - count)
        for person, count in commits.items()
    }
    highest = max(degrees.values(), default=0.0)
    return frozenset(
        person for person, degree in degrees.items() if degree >= AUTHOR_DOA and degree > AUTHOR_SHARE * highest
    )


def is_source(path: str) -> bool:
    """Whether people write the file at `path`: a source file, and not a vendored one."""
    return _SOURCE_FILE.search(path) is not None and _VENDORED.isdisjoint(path.split("/")[:-1])


def _people(commits: Iterable[Commit]) -> list[tuple[Commit, str]]:
    """Each commit by a person with that person's identity: e-mails and full names that belong together are one."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    keyed: list[tuple[Commit, str]] = []
    for commit in commits:
        if _BOT.search(commit.author) or _BOT.search(commit.email):
            continue
        email = commit.email.strip().lower()
        noreply = _NOREPLY.match(email)
        key = noreply[1] if noreply else email or commit.author.strip().lower()
        name = " ".join(commit.author.lower().split())
        if " " in name:
            # The lesser string stands for both, so that identities do not depend on the order of commits.
            one, other = sorted((find(key), find(f"name {name}")))
            parent[other] = one
        keyed.append((commit, key))
    return [(commit, find(key)) for commit, key in keyed]


def _authors_by_file(people: Sequence[tuple[Commit, str]], paths: Sequence[str]) -> list[frozenset[str]]:
    files: dict[str, _File] = {}
    for commit, person in people:
        renamed = [
            (change.path, files.pop(change.old_path, _File())) for change in commit.changes if change.kind == "renamed"
        ]
        files.update(renamed)
        for change in commit.changes:
            if change.kind == "deleted":
                files.pop(change.path, None)
            elif change.kind == "created":
                files[change.path] = _File(person, Counter({person: 1}))
            elif change.kind == "changed":
                files.setdefault(change.path, _File()).commits[person] += 1
    known = [files.get(path, _File()) for path in paths]
    return [file_authors(file.commits, file.creator) for file in known]
