"""The history of a package's evaluations."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.registry.shelf import caller, publish
from weighhouse.app import App
from weighhouse.registry.evaluate import Weighing, list_evaluations, record_weighing
from weighhouse.rules.evidence import Missing, Reason, Source
from weighhouse.rules.metrics.net import WEIGHTS
from weighhouse.rules.metrics.result import Result, inconclusive, ok
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.sources.measure import Timed

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def who(registry: App) -> Caller:
    return caller(registry, "ann", Permission.UPLOAD, Permission.SEARCH)


def weigh(registry: App, package_id: UUID, job_id: int, *results: Result, digest: str = "d") -> None:
    """Records an evaluation in which these metrics answered so, and all others 0.80."""
    answers = {name: ok(name, 0.8, ["As ever"]) for name in WEIGHTS} | {one.metric: one for one in results}
    timed = {name: Timed(answer, 1) for name, answer in answers.items()}
    with registry.db.write() as tx:
        record_weighing(tx, package_id, job_id, Weighing(START + timedelta(days=job_id), timed, digest, 1))


def test_each_evaluation_is_compared_with_the_one_before(registry: App, who: Caller) -> None:
    package_id = publish(registry, who, "model")
    weigh(registry, package_id, 1)
    weigh(registry, package_id, 2, ok("bus_factor", 0.41, ["One person"], sources=[Source("git", "a/b@1")]), digest="e")
    away = inconclusive("bus_factor", Missing(Reason.UNREACHABLE, "GitHub is away"))
    weigh(registry, package_id, 3, away, digest="f")
    with registry.db.read() as tx:
        third, second, first = list_evaluations(tx, who, package_id).rows
    assert (first.before, first.changes) == (None, ())
    assert second.before == first.evaluation
    (fell,) = second.changes
    assert (fell.metric, fell.score_change) == ("bus_factor", -0.39)
    assert (fell.reasons_gone, fell.reasons_new) == (["As ever"], ["One person"])
    assert (fell.sources_gone, fell.sources_new) == ([], [Source("git", "a/b@1")])
    (lost,) = third.changes
    assert (lost.score_change, lost.reasons_new) == (None, ["GitHub is away"])
    assert lost.after is not None
    assert lost.after.status == "inconclusive"


def test_the_last_of_a_page_is_compared_with_the_first_of_the_next(registry: App, who: Caller) -> None:
    package_id = publish(registry, who, "model")
    for job_id in range(1, 4):
        weigh(registry, package_id, job_id, ok("license", job_id / 10, ["So"]))
    with registry.db.read() as tx:
        page = list_evaluations(tx, who, package_id, limit=2)
        rest = list_evaluations(tx, who, package_id, limit=2, cursor=UUID(page.next_cursor or ""))
    assert [[change.score_change for change in one.changes] for one in page.rows] == [[0.1], [0.1]]
    (first,) = rest.rows
    assert first.before is None
    assert page.rows[-1].before == first.evaluation


def test_a_page_costs_the_same_however_long_it_is(registry: App, who: Caller, statements: list[str]) -> None:
    package_id = publish(registry, who, "model")
    for job_id in range(1, 9):
        weigh(registry, package_id, job_id)
    counts = []
    for limit in (1, 8):
        statements.clear()
        with registry.db.read() as tx:
            list_evaluations(tx, who, package_id, limit=limit)
        counts.append(len(statements))
    assert counts[0] == counts[1]
