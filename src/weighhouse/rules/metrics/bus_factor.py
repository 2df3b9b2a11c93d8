"""If the key people left, would anyone still know this project? (metrics specification, section 4)

Truck factor by degree of authorship: *A Novel Approach for Estimating Truck Factors*.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from weighhouse.rules.code_files import is_source
from weighhouse.rules.evidence import Commit, Contributors, Evidence, History, Missing, Reason
from weighhouse.rules.metrics.result import Result, counted, ok, reason

NAME = "bus_factor"
METRIC_VERSION = "bus_factor/1"

AUTHOR_DOA = 3.293
AUTHOR_SHARE = 0.75
ACTIVE_DAYS = 365
ACTIVE_COMMITS = 2
FALLBACK_CAP = 3

_BOT = re.compile(r"\[bot\]|\bdependabot\b|\brenovate\b|\bgithub-actions\b", re.IGNORECASE)
_NOREPLY = re.compile(r"(?:\d+\+)?([^@+]+)@users\.noreply\.")


@dataclass
class _File:
    creator: str | None = None
    commits: Counter[str] = field(default_factory=Counter)


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """The score of the code's history, else of the forge's list of contributors, else of the commits on the hub.

    Raises:
        Missing: There is neither a code repository nor one on the hub (`no_code_repo`), or none of the three could be had.
    """
    refusals: list[Missing] = []
    looks: Sequence[Callable[[], Result]] = (
        lambda: judge(evidence.history(), as_of),
        lambda: judge_contributors(evidence.contributors()),
        # What is at its head is of no use: nobody says which commit touched what.
        lambda: judge(replace(evidence.hub_history(), paths=()), as_of, method="hub-commits"),
    )
    for look in looks:
        try:
            return _with_refusal(look(), refusals)
        except Missing as missing:
            refusals.append(missing)
    # What was named and could not be read tells more than what was not named.
    raise next((one for one in refusals if one.reason is not Reason.NO_CODE_REPO), refusals[0])


def judge(history: History, as_of: datetime, *, method: str = "git") -> Result:
    """The score of a history: how many people it takes to lose the code, and how many are active.

    Args:
        method: Begins the method's name; `hub-commits` for a history without files.

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
        method, factor = f"{method}-doa", truck_factor(_authors_by_file(people, sources))
        fact = f"{_together(factor)} wrote more than half of {counted(len(sources), 'source file')}"
    else:
        factor = absence_factor(Counter(person for _, person in people))
        fact = f"{_together(factor)} made half of {counted(len(people), 'commit')}"
        if method == "git":
            method, fact = "git-commits", f"{fact}; there are no source files"
    return ok(
        NAME,
        score(factor, active),
        [fact, f"{counted(active, 'person', 'people')} made at least two commits in the last {ACTIVE_DAYS} days"],
        inputs={"truck_factor": factor, "active_people": active, "files": len(sources), "commits": len(people)},
        method=method,
        sources=(history.source,),
    )


def judge_contributors(found: Contributors) -> Result:
    """The score of a forge's list of contributors. It does not say when they worked, so nobody counts as active.

    Raises:
        Missing: It names nobody.
    """
    commits = {name: count for name, count in found.commits.items() if not is_bot(name)}
    if not commits:
        raise Missing(Reason.NO_EVIDENCE, "The list of contributors names no person")
    factor, total = absence_factor(commits), sum(commits.values())
    reasons = [
        f"{_together(factor)} made half of {counted(total, 'commit')}, by the list of contributors",
        "The list does not say who is active, so nobody counts as active",
    ]
    inputs = {"truck_factor": factor, "active_people": 0, "files": 0, "commits": total}
    return ok(NAME, score(factor, 0), reasons, inputs=inputs, method="contributors", sources=(found.source,))


def _together(factor: int) -> str:
    return "1 person alone" if factor == 1 else f"{factor} people together"


def is_bot(*names: str) -> bool:
    """Whether a name, a login or an e-mail address is a program's.

    >>> is_bot("Ann", "49699333+dependabot[bot]@users.noreply.github.com"), is_bot("Talbot")
    (True, False)
    """
    return any(_BOT.search(name) for name in names)


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


def _with_refusal(result: Result, refusals: Sequence[Missing]) -> Result:
    """`result`, which also says why the better evidence before it could not be used."""
    if not refusals or refusals[0].reason is Reason.NO_CODE_REPO:
        return result
    return replace(result, reasons=(*result.reasons, reason(f"The code's history was not used: {refusals[0].advice}")))


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
        if is_bot(commit.author, commit.email):
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
