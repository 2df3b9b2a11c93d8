"""Every row of the bus-factor table of the specification, on repositories made with git and read through a clone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.git_server import Made, make_repository, needs_git
from weighhouse.rules.evidence import History
from weighhouse.rules.metrics import bus_factor
from weighhouse.rules.metrics.result import Result
from weighhouse.sources.repository import GitRepositories

pytestmark = needs_git

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)


def made(who: str, *files: str, days_ago: int = 10, content: str = "", **facts: str | None) -> Made:
    at = int((AS_OF - timedelta(days=days_ago)).timestamp())
    name = f"{who.title()} Example"
    return Made(dict.fromkeys(files, content or f"{who} {days_ago}\n"), name, f"{who}@example.org", at, **facts)  # type: ignore[arg-type]  # as the class has them


def history_of(folder: Path, commits: Sequence[Made]) -> History:
    make_repository(folder, commits)
    with GitRepositories(is_local=True) as repositories:
        return repositories.history(str(folder))


def judged(folder: Path, commits: Sequence[Made]) -> Result:
    return bus_factor.judge(history_of(folder, commits), AS_OF)


def owned(owners: Sequence[str], each: int = 2, days_ago: int = 400) -> list[Made]:
    """Each owner creates so many files of their own."""
    return [made(who, *(f"{who}{number}.py" for number in range(each)), days_ago=days_ago) for who in owners]


def busy(people: Sequence[str]) -> list[Made]:
    """Two recent commits of each, on files that are no source."""
    return [made(who, f"notes-{who}.txt", days_ago=days) for who in people for days in (20, 10)]


def test_one_owner_who_is_active(tmp_path: Path) -> None:
    result = judged(tmp_path / "a", [*owned(["ann"]), *busy(["ann"])])
    assert (result.score, result.method) == (0.41, "git-doa")


def test_one_owner_dormant_for_a_year(tmp_path: Path) -> None:
    assert judged(tmp_path / "a", [*owned(["ann"]), made("ann", "a.txt", days_ago=366)]).score == 0.35


def test_two_owners_of_the_half_and_four_active(tmp_path: Path) -> None:
    result = judged(tmp_path / "a", [*owned(["ann", "bob", "cid"]), *busy(["ann", "bob", "cid", "dan"])])
    assert (result.inputs["truck_factor"], result.inputs["active_people"], result.score) == (2, 4, 0.77)


def test_four_owners_of_the_half_and_eleven_active(tmp_path: Path) -> None:
    owners = [f"owner{letter}" for letter in "abcdefg"]
    result = judged(tmp_path / "a", [*owned(owners), *busy([*owners, "p", "q", "r", "s"])])
    assert (result.inputs["truck_factor"], result.inputs["active_people"], result.score) == (4, 11, 0.96)


def test_one_author_and_a_bench_of_contributors(tmp_path: Path) -> None:
    assert judged(tmp_path / "a", [*owned(["ann"]), *busy(["ann", "bob", "cid", "dan", "eve"])]).score == 0.65


def test_who_changes_a_file_often_authors_it_and_an_exact_rename_is_no_change(tmp_path: Path) -> None:
    # The worked example: p created the file and has 3 commits on it, q has 5; both author it.
    who = ["p", "q", "p", "q", "q", "p", "q", "q"]
    commits = [made(name, "f.py", days_ago=100 - place) for place, name in enumerate(who)]
    last = f"{who[-1]} {100 - len(who) + 1}\n"
    moved = made("r", "src/f.py", days_ago=50, content=last)
    moved = Made({"f.py": None, **moved.files}, moved.author, moved.email, moved.at)
    history = history_of(tmp_path / "a", [*commits, moved])
    assert [change.kind for change in history.commits[-1].changes] == ["renamed"]
    assert list(history.paths) == ["src/f.py"]
    result = bus_factor.judge(history, AS_OF)
    # Two authors of one file: both must leave.
    assert result.inputs["truck_factor"] == 2


def test_merges_are_not_work_and_side_branches_are(tmp_path: Path) -> None:
    commits = [
        made("ann", "a.py", days_ago=30),
        made("bob", "b.py", days_ago=20, branch="side"),
        Made({}, "Cid", "cid@example.org", int(AS_OF.timestamp()), merge="side"),
    ]
    history = history_of(tmp_path / "a", commits)
    assert [commit.email for commit in history.commits] == ["ann@example.org", "bob@example.org"]


def test_a_repository_without_source_files_is_judged_by_its_commits(tmp_path: Path) -> None:
    result = judged(tmp_path / "a", [made("ann", "a.txt"), made("bob", "b.txt"), made("cid", "vendor/c.py")])
    assert (result.method, result.inputs["truck_factor"], result.inputs["files"]) == ("git-commits", 2, 0)


def test_a_commit_may_claim_any_time(tmp_path: Path) -> None:
    commits = [made("ann", "a.py"), Made({"b.py": "x\n"}, "Eve", "eve@example.org", 99_999_999_999)]
    assert judged(tmp_path / "a", commits).inputs["active_people"] == 0


@pytest.mark.parametrize("count", [1, 3])
def test_few_commits_are_conclusive(tmp_path: Path, count: int) -> None:
    result = judged(tmp_path / "a", [made("ann", "a.py", days_ago=400 + number) for number in range(count)])
    assert result.score == 0.35
