"""Every row of the bus-factor table of the metrics specification, on histories made by hand."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import Change, Commit, Contributors, History, Missing, Reason, Source
from weighhouse.rules.metrics import bus_factor
from weighhouse.rules.metrics.result import r2

SOURCE = Source("git", "acme/tiny@a1")


def commit(who: str, *changes: Change, days_ago: int = 10, name: str = "") -> Commit:
    return Commit(name or who, f"{who}@example.org", AS_OF - timedelta(days=days_ago), changes)


def created(*paths: str) -> Sequence[Change]:
    return [Change(path, "created") for path in paths]


def judged(commits: Sequence[Commit], *paths: str) -> dict[str, int]:
    return dict(bus_factor.judge(History(SOURCE, commits, paths), AS_OF).inputs)


@pytest.mark.parametrize(
    ("factor", "active", "score"),
    [(1, 1, 0.41), (1, 0, 0.35), (2, 4, 0.77), (4, 11, 0.96), (1, 5, 0.65)],
)
def test_each_example_of_the_specification(factor: int, active: int, score: float) -> None:
    assert r2(bus_factor.score(factor, active)) == score


def test_the_degrees_of_authorship_of_the_specification() -> None:
    p = bus_factor.degree_of_authorship(created=True, commits=3, others=5)
    q = bus_factor.degree_of_authorship(created=False, commits=5, others=3)
    assert (round(p, 3), round(q, 3), round(q / p, 3)) == (4.308, 3.668, 0.851)
    assert bus_factor.file_authors({"p": 3, "q": 5}, "p") == {"p", "q"}
    assert round(bus_factor.degree_of_authorship(created=False, commits=1, others=8), 3) == 2.752
    assert bus_factor.file_authors({"p": 8, "q": 1}, "p") == {"p"}


def test_one_commit_is_a_truck_factor_of_one() -> None:
    result = bus_factor.judge(History(SOURCE, [commit("ann", *created("a.py"))], ["a.py"]), AS_OF)
    assert (result.score, result.method) == (0.35, "git-doa")


def test_people_are_one_by_address_and_by_full_name() -> None:
    commits = [
        Commit("Ann Lee", "1+ann@users.noreply.github.com", AS_OF, created("a.py")),
        Commit("ann", "ANN@users.noreply.github.com", AS_OF, created("b.py")),
        Commit("Ann Lee", "lee@example.org", AS_OF, created("c.py")),
        Commit("dependabot[bot]", "bot@example.org", AS_OF, created("d.py")),
    ]
    assert judged(commits, "a.py", "b.py", "c.py") == {"truck_factor": 1, "active_people": 1, "files": 3, "commits": 3}


def test_an_exact_rename_moves_no_authorship() -> None:
    commits = [
        commit("ann", *created("a.py", "b.py")),
        commit("bob", Change("src/a.py", "renamed", "a.py"), Change("src/b.py", "renamed", "b.py")),
    ]
    authors = judged(commits, "src/a.py", "src/b.py")
    assert (authors["truck_factor"], authors["active_people"]) == (1, 0)


def test_a_file_made_anew_has_a_new_author() -> None:
    commits = [
        commit("ann", *created("a.py")),
        commit("ann", Change("a.py", "deleted")),
        commit("bob", *created("a.py")),
    ]
    assert judged(commits, "a.py")["truck_factor"] == 1


def test_identities_that_author_nothing_do_not_help() -> None:
    commits = [commit("ann", *created("a.py", "b.py"))] + [commit(f"p{n}", *created(f"{n}.txt")) for n in range(9)]
    assert judged(commits, "a.py", "b.py", *(f"{n}.txt" for n in range(9)))["truck_factor"] == 1


def test_without_source_files_commits_decide() -> None:
    commits = [commit(f"p{n}") for n in range(9)]
    result = bus_factor.judge(History(SOURCE, commits, ["model.bin", "vendor/a.py"]), AS_OF)
    assert (result.inputs["truck_factor"], result.method) == (3, "git-commits")


def test_only_bots_is_no_zero() -> None:
    with pytest.raises(Missing):
        bus_factor.judge(History(SOURCE, [commit("renovate", name="renovate[bot]")], []), AS_OF)


@given(st.lists(st.frozensets(st.sampled_from("abcde")), max_size=12))
def test_the_truck_factor_is_that_of_removing_one_by_one(authors: list[frozenset[str]]) -> None:
    left, factor = [set(names) for names in authors], 0
    while 2 * sum(map(bool, left)) >= len(left) and any(left):
        most = min({name for names in left for name in names}, key=lambda name: (-sum(name in n for n in left), name))
        left = [names - {most} for names in left]
        factor += 1
    assert bus_factor.truck_factor(authors) == factor


@given(st.integers(0, 40), st.integers(0, 40))
def test_more_people_never_score_worse(factor: int, active: int) -> None:
    score = bus_factor.score(factor, active)
    assert 0 <= score <= bus_factor.score(factor + 1, active) <= 1
    assert score <= bus_factor.score(factor, active + 1)


AWAY = Missing(Reason.UNREACHABLE, "The clone failed")
NO_REPO = Missing(Reason.NO_CODE_REPO, "There is none")
WORK = [commit("ann", *created("a.py")), commit("ann"), commit("bob")]


def test_the_history_decides_where_it_can_be_had() -> None:
    evidence = PackageEvidence(history=History(SOURCE, WORK, ["a.py"]), contributors=Contributors(SOURCE, {"x": 1}))
    result = bus_factor.measure(evidence, AS_OF)
    assert (result.score, result.method) == (0.41, "git-doa")


@pytest.mark.parametrize(
    ("commits", "factor", "score"),
    [
        ({"ann": 10, "bob": 3}, 1, 0.35),
        ({"ann": 2, "bob": 2, "cid": 2}, 2, 0.53),
        (dict.fromkeys("abcdefghi", 1), 3, 0.61),
    ],
)
def test_the_list_of_contributors_stands_in_capped_and_with_nobody_active(
    commits: dict[str, int], factor: int, score: float
) -> None:
    contributors = Contributors(SOURCE, commits | {"dependabot[bot]": 1000})
    result = bus_factor.measure(PackageEvidence(history=AWAY, contributors=contributors), AS_OF)
    assert (result.score, result.method, result.inputs["truck_factor"]) == (score, "contributors", factor)
    assert result.reasons[-1] == "The code's history was not used: The clone failed"


def test_the_commits_on_the_hub_come_last() -> None:
    evidence = PackageEvidence(history=NO_REPO, contributors=NO_REPO, hub_history=History(SOURCE, WORK, ()))
    result = bus_factor.measure(evidence, AS_OF)
    assert (result.score, result.method, len(result.reasons)) == (0.41, "hub-commits", 2)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, Reason.NO_CODE_REPO),
        ({"history": AWAY, "contributors": AWAY}, Reason.UNREACHABLE),
        ({"history": AWAY, "contributors": Contributors(SOURCE, {"renovate[bot]": 1})}, Reason.UNREACHABLE),
        ({"hub_history": AWAY}, Reason.UNREACHABLE),
    ],
)
def test_a_package_without_history_is_not_judged(facts: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Missing) as caught:
        bus_factor.measure(PackageEvidence(**facts), AS_OF)
    assert caught.value.reason is reason
