"""Every row of the reviewedness table of the metrics specification, on changesets made by hand."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.rules.evidence import AS_OF, PackageEvidence
from weighhouse.rules.evidence import Changeset, Changesets, Missing, Reason, Request, Review, Source
from weighhouse.rules.metrics import reviewedness

SOURCE = Source("github", "acme/tiny@a1")
EARLIER, LATER = AS_OF - timedelta(days=2), AS_OF
MERGED_AT = AS_OF - timedelta(days=1)


def review(by: str = "bob", state: str = "APPROVED", **facts: object) -> Review:
    return Review(by=by, state=state, **{"is_bot": False, "has_text": False, "at": EARLIER, **facts})  # type: ignore[arg-type]


def changeset(lines: int, *reviews: Review) -> Changeset:
    return Changeset(lines, request=Request({"ann"}, MERGED_AT, reviews))


@pytest.mark.parametrize(
    ("changesets", "score"),
    [
        ([changeset(1_000, review())] * 8 + [changeset(200, review()), changeset(1_000), changeset(800)], 0.82),
        ([Changeset(100)] * 5, 0.00),
        ([changeset(100), changeset(100, review(is_bot=True)), changeset(100, review(by="Ann"))], 0.00),
        ([changeset(50_000, review())] + [Changeset(100)] * 20, 0.33),
    ],
)
def test_each_example_of_the_specification(changesets: Sequence[Changeset], score: float) -> None:
    assert reviewedness.judge(changesets, SOURCE).score == score


@pytest.mark.parametrize(
    ("one", "counts"),
    [
        (review(), True),
        (review(state="CHANGES_REQUESTED"), True),
        (review(state="COMMENTED", has_text=True), True),
        (review(state="COMMENTED"), False),
        (review(state="DISMISSED", has_text=True), False),
        (review(at=LATER), False),
        (review(by="ANN"), False),
        (review(is_bot=True), False),
    ],
)
def test_a_review_is_by_a_second_person_before_the_merge(one: Review, counts: bool) -> None:
    assert reviewedness.is_reviewed(changeset(1, one)) is counts


def test_a_request_that_was_never_merged_reviews_nothing() -> None:
    assert not reviewedness.is_reviewed(Changeset(1, request=Request({"ann"}, None, [review()])))


def test_bots_leave_both_sums() -> None:
    changesets = [changeset(100, review()), Changeset(900, is_bot=True)]
    assert reviewedness.judge(changesets, SOURCE).score == 1.0
    with pytest.raises(Missing):
        reviewedness.judge(changesets[1:], SOURCE)


def test_each_changeset_weighs_one_where_lines_are_unknown() -> None:
    result = reviewedness.judge([changeset(9, review()), Changeset(1)], SOURCE, lines_known=False)
    assert (result.score, result.method) == (0.5, "changesets")


def test_a_package_is_judged_by_its_changesets() -> None:
    found = Changesets(SOURCE, [changeset(1, review()), Changeset(9)])
    assert reviewedness.measure(PackageEvidence(changesets=found), AS_OF).score == 0.1
    uncounted = Changesets(SOURCE, found.changesets, lines_known=False)
    assert reviewedness.measure(PackageEvidence(changesets=uncounted), AS_OF).score == 0.5


def test_a_package_without_reviews_is_not_judged() -> None:
    with pytest.raises(Missing) as caught:
        reviewedness.measure(PackageEvidence(), AS_OF)
    assert caught.value.reason is Reason.NO_GITHUB_REPO
