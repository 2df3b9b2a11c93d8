"""What an outage kept from being judged: looked at again until it is judged, with growing pauses, and not for ever."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from tests.hub_server import Hub
from tests.registry.shelf import admin, caller
from weighhouse.app import App
from weighhouse.registry.evaluate import request_evaluation
from weighhouse.registry.ingest import Wanted, ingest_model
from weighhouse.registry.outages import PAUSES_HOURS, run_look
from weighhouse.store.tables import Evaluation, MetricRow, Package

BARE: dict[str, str | bytes] = {"README.md": "# Nothing much\n", "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        running.add_model("acme/bare", BARE)
        running.fail("/commits/", status=503, headers={"Retry-After": "60"})
        yield running


@pytest.fixture
def app(registry: App, hub: Hub) -> App:
    """A registry without thresholds, whose upstream is a hub that tells nothing of who worked on a model."""
    content = dict.fromkeys(registry.settings.gate_thresholds, 0.0)
    changed = {"hf_endpoint": hub.url, "gate_thresholds": content}
    return dataclasses.replace(registry, settings=registry.settings.model_copy(update=changed))


@pytest.fixture
def package_id(app: App) -> UUID:
    """A package that was let in although its bus factor is not known."""
    return ingest_model(app, caller(app, "ada"), Wanted("acme/bare")).recorded.package.id


def take_job(app: App) -> tuple[float, int] | None:
    """In how many hours the package is looked at again, and the how many-th time that is. The job is then gone."""
    with app.db.write() as tx:
        jobs = tx.execute(text("DELETE FROM procrastinate_jobs RETURNING task_name, args, scheduled_at")).all()
    assert len(jobs) <= 1
    if not jobs:
        return None
    name, arguments, scheduled_at = jobs[0]
    assert name == "look again"
    return round((scheduled_at - datetime.now(UTC)) / timedelta(hours=1), 1), arguments["looks"]


def evaluations(app: App) -> int:
    with app.db.read() as tx:
        return tx.scalar(select(func.count()).select_from(Evaluation)) or 0


def bus_factor(app: App, package_id: UUID) -> str:
    """How the package's bus factor stands now."""
    query = select(MetricRow.status).join(Package, Package.evaluation_id == MetricRow.evaluation_id)
    with app.db.read() as tx:
        return tx.scalars(query.where(Package.id == package_id, MetricRow.metric == "bus_factor")).one()


def test_pauses_grow_until_the_outage_is_over(app: App, hub: Hub, package_id: UUID) -> None:
    assert take_job(app) == (1.0, 1)
    run_look(app, package_id, 11, looks=1)
    assert take_job(app) == (6.0, 2)
    run_look(app, package_id, 12, looks=2)
    assert take_job(app) == (24.0, 3)
    assert bus_factor(app, package_id) == "inconclusive"
    hub.mend()
    run_look(app, package_id, 13, looks=3)
    assert take_job(app) is None
    assert bus_factor(app, package_id) == "ok"
    assert evaluations(app) == 4


def test_an_outage_without_end_is_not_looked_at_for_ever(app: App, package_id: UUID) -> None:
    take_job(app)
    assert timedelta(days=7) < timedelta(hours=sum(PAUSES_HOURS)) < timedelta(days=8)
    run_look(app, package_id, 11, looks=len(PAUSES_HOURS) - 1)
    assert take_job(app) == (24.0, len(PAUSES_HOURS))
    run_look(app, package_id, 12, looks=len(PAUSES_HOURS))
    assert take_job(app) is None


def test_a_look_that_runs_twice_asks_for_one_more(app: App, package_id: UUID) -> None:
    take_job(app)
    run_look(app, package_id, 11, looks=1)
    run_look(app, package_id, 11, looks=1)
    assert take_job(app) == (6.0, 2)
    assert evaluations(app) == 2


def test_what_somebody_had_weighed_meanwhile_is_not_weighed_once_more(app: App, hub: Hub, package_id: UUID) -> None:
    take_job(app)
    hub.mend()
    run_look(app, package_id, 11, looks=1)
    run_look(app, package_id, 12, looks=2)
    assert evaluations(app) == 2
    assert take_job(app) is None


def test_a_package_that_is_gone_is_not_looked_at(app: App, package_id: UUID) -> None:
    with app.db.write() as tx:
        tx.execute(text("DELETE FROM packages"))
        tx.execute(text("DELETE FROM procrastinate_jobs"))
    run_look(app, package_id, 11, looks=1)
    assert take_job(app) is None


def test_a_look_that_waits_for_its_time_holds_up_no_evaluation(app: App, package_id: UUID) -> None:
    with app.db.write() as tx:
        asked_for = request_evaluation(tx, admin(app), package_id)
    with app.db.write() as tx:
        worker_id = tx.scalar(text("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id"))
        taken = tx.scalar(text("SELECT id FROM procrastinate_fetch_job_v2(NULL, :worker)"), {"worker": worker_id})
    assert taken == asked_for
