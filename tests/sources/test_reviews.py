"""Reviews of real changesets, asked in GraphQL and over REST: every row of the specification's table, and its traps."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import forge as forges
from tests.forge import Forge, Project, Pull, Reviewed
from tests.git_server import NOW, Made, needs_git
from tests.github_server import Answer
from tests.rules.evidence import AS_OF
from weighhouse.rules.evidence import Changeset, Changesets, Missing, Reason, Request, Review
from weighhouse.rules.metrics import reviewedness
from weighhouse.rules.metrics.result import Result
from weighhouse.sources import reviews
from weighhouse.sources.budget import Budget
from weighhouse.sources.repository import GitRepositories

pytestmark = needs_git

URL = "https://github.com/acme/tiny"
HOUR = 3600


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with forges.running(tmp_path / "forge") as running:
        yield running


def lines(count: int, name: str = "a", **facts: object) -> Made:
    return Made({f"{name}.py": "x = 1\n" * count}, **facts)  # type: ignore[arg-type]  # as the class has them


def project_of(forge: Forge, commits: Sequence[Made], reviewed: Mapping[int, Pull | Sequence[Reviewed]]) -> Project:
    """A project whose commits at these places came by requests."""
    project = forge.add("acme/tiny", commits)
    for place, how in reviewed.items():
        pull = how if isinstance(how, Pull) else Pull(place + 1, project.commits[place], how)
        project.pulls.append(pull)
    return project


def found(forge: Forge, *, token: str | None = "t", budget: Budget | None = None) -> Changesets:
    with GitRepositories(api_url=forge.url, token=token, budget=budget) as repositories:
        return repositories.changesets(URL)


def judged(forge: Forge, **options: str | None) -> Result:
    seen = found(forge, **options)  # type: ignore[arg-type]  # a token or none
    return reviewedness.judge(seen.changesets, seen.source, lines_known=seen.lines_known)


OK = [Reviewed("cid")]


def test_8200_of_10000_lines_are_082(forge: Forge) -> None:
    commits = [lines(1000, f"f{number}") for number in range(8)] + [lines(200, "g"), lines(1000, "h"), lines(800, "i")]
    project_of(forge, commits, dict.fromkeys(range(9), OK))
    result = judged(forge)
    assert (result.score, result.method, result.inputs["reviewed"], result.inputs["total"]) == (
        0.82,
        "lines",
        8200,
        10000,
    )


@pytest.mark.parametrize("token", ["t", None])
def test_a_solo_repository_with_direct_pushes_is_0(forge: Forge, token: str | None) -> None:
    project_of(forge, [lines(number + 1) for number in range(5)], {})
    assert judged(forge, token=token).score == 0.0


@pytest.mark.parametrize("token", ["t", None])
def test_own_requests_without_review_or_approved_by_a_bot_are_0(forge: Forge, token: str | None) -> None:
    hows: dict[int, Pull | Sequence[Reviewed]] = {
        0: [],
        1: [Reviewed("ann")],
        2: [Reviewed("checker[bot]", kind="Bot")],
        3: [Reviewed("renovate[bot]")],
        4: [Reviewed("cid", at="2026-09-03T00:00:00Z")],
        5: [Reviewed("cid", "COMMENTED")],
        6: [Reviewed("cid", "DISMISSED")],
    }
    project_of(forge, [lines(number + 1) for number in range(7)], hows)
    assert judged(forge, token=token).score == 0.0


@pytest.mark.parametrize(
    "review", [Reviewed("cid"), Reviewed("cid", "CHANGES_REQUESTED"), Reviewed("cid", "COMMENTED", "?")]
)
@pytest.mark.parametrize("token", ["t", None])
def test_a_second_persons_review_before_the_merge_counts(forge: Forge, token: str | None, review: Reviewed) -> None:
    project_of(forge, [lines(3)], {0: [review]})
    assert judged(forge, token=token).score == 1.0


def test_one_reviewed_import_of_50000_lines_and_20_pushes_of_100_are_033(forge: Forge) -> None:
    commits = [lines(50_000)] + [lines(100, f"f{number}") for number in range(20)]
    project_of(forge, commits, {0: OK})
    result = judged(forge)
    assert (result.score, result.inputs["reviewed"], result.inputs["total"]) == (0.33, 1000, 3000)


def test_only_code_that_people_write_counts(forge: Forge) -> None:
    notebook = '{"cells": [{"cell_type": "code", "source": ["a = 1\\n", "b = 2\\n"], "outputs": ["%s"]}]}'
    files: dict[str | bytes, str | bytes | None] = {
        "a.py": "x\n" * 3,
        "uv.lock": "x\n" * 99,
        "model.bin": b"\0\n" * 99,
        "vendor/b.py": "x\n" * 99,
        "c.min.js": "x\n" * 99,
        "d.md": "x\n" * 99,
        "n.ipynb": notebook % ("\\n" * 50),
    }
    changed = notebook.replace("b = 2", "c = 3") % "new output"
    project_of(forge, [Made(files), Made({"a.py": None, "z/a.py": "x\n" * 3, "n.ipynb": changed})], {})
    # The second moves a file, which adds nothing, and changes one line of code in a notebook.
    assert [one.lines for one in found(forge).changesets] == [1, 5]


def test_bots_leave_both_sums(forge: Forge) -> None:
    bot = lines(900, "b", author="dependabot[bot]", email="49699333+dependabot[bot]@users.noreply.github.com")
    project = project_of(forge, [lines(100), bot, lines(900, "c")], {0: OK})
    project.pulls.append(Pull(9, project.commits[2], OK, author="renovate", kind="Bot"))
    assert (judged(forge).score, judged(forge).inputs["total"]) == (1.0, 100)
    with pytest.raises(Missing):
        reviewedness.judge([one for one in found(forge).changesets if one.is_bot], found(forge).source)


@pytest.mark.parametrize("token", ["t", None])
def test_who_wrote_a_commit_of_the_request_is_no_second_person(forge: Forge, token: str | None) -> None:
    side = [
        lines(1, "base"),
        lines(5, "a", branch="side", email="ann@example.org"),
        lines(6, "b", branch="side", email="cid@example.org", author="Cid"),
        Made({"a.py": "x = 1\n" * 5, "b.py": "x = 1\n" * 6}, merge="side", email="dan@example.org", author="Dan"),
    ]
    project = forge.add("acme/tiny", side)
    pull = Pull(1, project.commits[3], OK, commit_authors=["ann", "cid"], commits=project.commits[1:3])
    project.pulls.append(pull)
    assert judged(forge, token=token).score == 0.0
    # Whoever pressed the button wrote none of it.
    project.pulls[0] = Pull(1, project.commits[3], [Reviewed("dan")], commit_authors=["ann", "cid"])
    score = judged(forge, token=token).score
    assert score == (0.92 if token else 0.5)


@pytest.mark.parametrize("token", ["t", None])
def test_who_wrote_the_squashed_commit_is_no_second_person(forge: Forge, token: str | None) -> None:
    project_of(forge, [lines(3, email="cid@example.org", author="Cid")], {0: OK})
    assert judged(forge, token=token).score == 0.0


def test_of_several_requests_the_one_that_ended_in_the_commit_decides(forge: Forge) -> None:
    project = forge.add("acme/tiny", [lines(1), lines(2)])
    project.pulls += [
        Pull(1, "f" * 40, OK, commits=[project.commits[1]]),
        Pull(2, project.commits[1], []),
        Pull(3, project.commits[0], OK, merged_at=None),
    ]
    assert judged(forge).score == 0.0


def test_fifty_changesets_are_asked_at_once_and_300_at_most(forge: Forge) -> None:
    commits = [Made({"a.py": f"x = {number}\n"}, at=NOW - 400 * HOUR + number * HOUR) for number in range(302)]
    forge.add("acme/tiny", commits)
    budget = Budget()
    assert len(found(forge, budget=budget).changesets) == 300
    # One for the facts, six for the reviews.
    assert (forge.asked("/graphql"), budget.calls_made) == (6, 7)


@pytest.mark.parametrize("token", ["t", None])
def test_where_only_rest_answers_each_changeset_weighs_one(forge: Forge, token: str | None) -> None:
    forge.has_graphql = False
    project_of(forge, [lines(1000), lines(1, "b"), lines(1, "c")], {1: OK})
    result = judged(forge, token=token)
    assert (result.score, result.method, result.inputs["total"]) == (0.33, "changesets", 3)


def test_a_repository_that_cannot_be_cloned_is_still_asked_over_rest(forge: Forge) -> None:
    project = project_of(forge, [lines(3), lines(4)], {0: OK})
    project.facts["clone_url"] = "https://127.0.0.1:9/acme/tiny.git"
    result = judged(forge)
    assert (result.score, result.method) == (0.5, "changesets")


def test_requests_that_were_not_looked_at_are_not_called_unreviewed(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2 * reviews.REST_PAGES + reviews.REST_REVIEWED == 66
    monkeypatch.setattr(reviews, "REST_REVIEWED", 4)
    commits = [lines(number + 1, at=NOW - HOUR * (8 - number)) for number in range(8)]
    project_of(forge, commits, dict.fromkeys(range(8), OK))
    seen = found(forge, token=None)
    assert [reviewedness.is_reviewed(one) for one in seen.changesets] == [True] * 4


def test_changes_older_than_the_listed_requests_are_left_out(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "PAGE", 2)
    commits = [lines(number + 1, at=NOW - HOUR * (20 - number)) for number in range(6)]
    project = forge.add("acme/tiny", commits)
    listed = [NOW - HOUR * 15 + number * 60 for number in range(6)]
    for number, at in enumerate(listed):
        merged_at = datetime.fromtimestamp(at, UTC).isoformat()
        project.pulls.append(Pull(number + 1, f"{number:040x}", OK, merged_at=merged_at))
    # Six fill the three pages, so there may be older ones: the last change that they cover for sure is the newest.
    assert len(found(forge, token=None).changesets) == 1
    monkeypatch.setattr(reviews, "PAGE", 100)
    assert len(found(forge, token=None).changesets) == 6


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"errors": [{"type": "RATE_LIMITED"}]}, Reason.RATE_LIMITED),
        ({"errors": [{"message": "Something went wrong"}], "data": None}, Reason.UNREACHABLE),
        ({"data": {"repository": None}}, Reason.MALFORMED),
        ({"data": {"repository": {"c0": {"associatedPullRequests": {"nodes": [{}]}}}}}, Reason.MALFORMED),
        ([], Reason.UNREACHABLE),
    ],
)
def test_a_graphql_answer_that_says_nothing_is_missing_evidence(forge: Forge, document: object, reason: Reason) -> None:
    forge.add("acme/tiny", [lines(1)])
    forge.github.serve("/graphql", lambda asked, match: Answer.of(document))
    with pytest.raises(Missing) as caught:
        found(forge)
    assert caught.value.reason is reason


@pytest.mark.parametrize("document", [{"a": 1}, [7], [{"sha": "x"}], [{"sha": "x", "parents": 3}]])
def test_a_rest_answer_of_another_shape_is_missing_evidence(forge: Forge, document: object) -> None:
    forge.add("acme/tiny", [lines(1)])
    forge.github.serve("/repos/acme/tiny/commits", lambda asked, match: Answer.of(document))
    with pytest.raises(Missing) as caught:
        found(forge, token=None)
    assert caught.value.reason is Reason.MALFORMED


def test_what_is_kept_is_what_was_said() -> None:
    review = Review("cid", False, "APPROVED", True, AS_OF)
    changesets = [
        Changeset(3),
        Changeset(4, is_bot=True),
        Changeset(5, request=Request(frozenset({"ann"}), AS_OF, [review])),
        Changeset(6, request=Request(frozenset(), None, [])),
    ]
    assert reviews.unpack(reviews.pack(changesets, lines_known=False)) == (changesets, False)
    assert reviews.unpack(b"{}") is None
