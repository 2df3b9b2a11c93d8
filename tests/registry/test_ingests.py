"""An ingest that outlasts its call: taken up again where it stopped, ended by whoever asked, and nothing left of it."""

import dataclasses
import secrets
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select, text, update

from tests.conftest import eventually
from tests.hub_server import Hub
from tests.registry.shelf import admin, at_once, caller, rows
from weighhouse.app import App
from weighhouse.registry.housekeeping import sweep
from weighhouse.registry.ingest import ModelUnknown, UpstreamAway, Wanted
from weighhouse.registry.ingests import (
    IngestEnded,
    IngestHalted,
    IngestNotFound,
    ask_for_ingest,
    cancel_ingest,
    fail_ingest,
    find_ingest,
    list_ingests,
    run_ingest,
    take_up_lost,
)
from weighhouse.registry.record import VersionExists
from weighhouse.rules.permissions import Caller, Permission, PermissionMissing
from weighhouse.store.tables import AuditEntry, Ingest, IngestFile, User

SMALL: dict[str, str | bytes] = {"README.md": "# Small\n", "config.json": "{}", "notes.txt": "None."}
FIRST, SLOW = secrets.token_bytes(300_000), secrets.token_bytes(200_000)
WHOLE = SMALL | {"first.bin": FIRST, "slow.bin": SLOW}
TOTAL = sum(len(content) for content in WHOLE.values())


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        running.add_model("acme/model", WHOLE)
        yield running


@pytest.fixture
def app(registry: App, hub: Hub) -> App:
    """A registry without thresholds, whose upstream is the test's hub."""
    content = dict.fromkeys(registry.settings.gate_thresholds, 0.0)
    return with_settings(registry, hf_endpoint=hub.url, gate_thresholds=content)


@pytest.fixture
def ada(app: App) -> Caller:
    return caller(app, "ada")


def with_settings(app: App, **changed: Any) -> App:
    return dataclasses.replace(app, settings=app.settings.model_copy(update=changed))


def seen(app: App, ingest_id: UUID) -> Ingest:
    """How far an ingest is."""
    with app.db.read() as tx:
        return tx.get_one(Ingest, ingest_id)


def problem_of(app: App, ingest_id: UUID) -> str:
    """The kind of problem that ended an ingest."""
    return str(seen(app, ingest_id).outcome["kind"])


def kept_files(app: App) -> set[str]:
    """Paths that an ingest under way need not fetch again."""
    with app.db.read() as tx:
        return set(tx.scalars(select(IngestFile.path)))


def blobs_on_disk(app: App) -> int:
    return sum(path.is_file() for path in (app.settings.data_dir / "store" / "blobs").rglob("*"))


def fetched(hub: Hub) -> set[str]:
    """Names of the files that the hub was asked for."""
    return {one.path.rpartition("/")[2] for one in hub.asked("/resolve/")}


class Running:
    """An ingest that a thread is at, in the middle of its slow file."""

    def __init__(self, app: App, hub: Hub, ingest_id: UUID) -> None:
        self.is_ending = threading.Event()
        self.raised: BaseException | None = None
        # A byte every two milliseconds: many minutes in all, and many chances to be told to stop.
        hub.fail("^/cdn/.*slow.bin", times=1, piece_seconds=0.002)
        self._thread = threading.Thread(target=self._run, args=(app, ingest_id))
        self._thread.start()
        eventually(lambda: kept_files(app) == WHOLE.keys() - {"slow.bin"}, 120)

    def _run(self, app: App, ingest_id: UUID) -> None:
        try:
            run_ingest(app, ingest_id, is_ending=self.is_ending.is_set)
        except BaseException as error:
            self.raised = error

    def join(self) -> None:
        """Returns when it has ended; fails when it goes on."""
        self._thread.join(60)
        assert not self._thread.is_alive()


def interrupt(app: App, hub: Hub, ingest_id: UUID) -> None:
    """Ends a first try in order, when all but one file is there."""
    running = Running(app, hub, ingest_id)
    running.is_ending.set()
    running.join()
    assert isinstance(running.raised, IngestHalted)


def test_what_came_of_it_can_be_looked_up(app: App, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    waiting = seen(app, ingest_id)
    assert (waiting.state, waiting.bytes_done, waiting.finished_at) == ("waiting", 0, None)
    run_ingest(app, ingest_id)
    ended = seen(app, ingest_id)
    [package] = rows(app)
    assert (ended.state, ended.package_id) == ("admitted", package.id)
    assert (ended.files_done, ended.files_total) == (5, 5)
    assert (ended.bytes_done, ended.bytes_total) == (TOTAL, TOTAL)
    assert ended.outcome["net_score"] == package.net_score
    assert kept_files(app) == set()


def test_a_second_run_of_what_has_ended_changes_nothing(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    run_ingest(app, ingest_id)
    hub.forget_requests()
    run_ingest(app, ingest_id)
    fail_ingest(app, ingest_id)
    assert seen(app, ingest_id).state == "admitted"
    assert not hub.asked()


def test_the_commit_is_the_one_that_was_asked_for(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    hub.add_model("acme/model", {"README.md": "# Another\n"})
    run_ingest(app, ingest_id)
    [package] = rows(app)
    assert (package.files_count, package.source_revision) == (5, seen(app, ingest_id).wanted["revision"])


def test_an_outage_is_waited_out_and_no_file_comes_twice(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    hub.fail("/slow.bin", times=1, status=503, headers={"Retry-After": "60"}, delay_seconds=1.0)
    with pytest.raises(UpstreamAway):
        run_ingest(app, ingest_id, is_patient=True, is_last_try=False)
    assert seen(app, ingest_id).state == "waiting"
    lacking = WHOLE.keys() - kept_files(app)
    hub.forget_requests()
    run_ingest(app, ingest_id)
    assert fetched(hub) == lacking
    assert seen(app, ingest_id).bytes_done == TOTAL
    assert len(rows(app)) == 1


def test_who_waits_for_the_answer_is_told_of_an_outage_at_once(app: App, hub: Hub, ada: Caller) -> None:
    hub.fail("/resolve/", status=503, headers={"Retry-After": "60"})
    watched = ask_for_ingest(app, ada, Wanted("acme/model"))
    run_ingest(app, watched, is_last_try=False)
    assert (seen(app, watched).state, problem_of(app, watched)) == ("failed", "UpstreamAway")
    # Nobody waits any more: the call has answered 202.
    left = ask_for_ingest(app, ada, Wanted("acme/model"))
    with pytest.raises(UpstreamAway):
        run_ingest(with_settings(app, evaluation_wait_seconds=0), left, is_last_try=False)
    assert seen(app, left).state == "waiting"


def test_a_worker_that_is_told_to_end_leaves_what_it_kept_to_the_next(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    interrupt(app, hub, ingest_id)
    assert seen(app, ingest_id).state == "waiting"
    assert rows(app) == []
    hub.forget_requests()
    run_ingest(app, ingest_id)
    assert fetched(hub) == {"slow.bin"}
    assert seen(app, ingest_id).state == "admitted"


def test_a_sweep_spares_what_an_ingest_under_way_keeps_however_long_it_takes(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    interrupt(app, hub, ingest_id)
    sweep(app, grace=timedelta(seconds=-1))
    assert blobs_on_disk(app) == len(WHOLE) - 1
    fail_ingest(app, ingest_id)
    sweep(app, grace=timedelta(seconds=-1))
    assert blobs_on_disk(app) == 0


def test_a_refusal_leaves_alone_what_another_ingest_keeps(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    interrupt(app, hub, ingest_id)
    hub.add_model("acme/other", {"first.bin": FIRST, "more.bin": b"more"})
    strict = with_settings(app, gate_thresholds=dict.fromkeys(app.settings.gate_thresholds, 1.01))
    refused = ask_for_ingest(strict, ada, Wanted("acme/other"))
    run_ingest(strict, refused)
    assert (seen(app, refused).state, problem_of(app, refused)) == ("refused", "ModelRefused")
    assert blobs_on_disk(app) == len(WHOLE) - 1


def test_cancelled_in_the_middle_it_stops_and_nothing_is_left(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    running = Running(app, hub, ingest_id)
    with app.db.write() as tx:
        assert cancel_ingest(tx, ada, ingest_id).state == "cancelled"
    running.join()
    assert running.raised is None
    assert (seen(app, ingest_id).state, problem_of(app, ingest_id)) == ("cancelled", "IngestCancelled")
    assert (kept_files(app), blobs_on_disk(app), rows(app)) == (set(), 0, [])
    assert list((app.settings.data_dir / "store" / "staging").iterdir()) == []
    with app.db.read() as tx:
        [entry] = tx.scalars(select(AuditEntry).where(AuditEntry.action == "cancel ingest"))
    assert (entry.actor, entry.subject) == ("ada", "model acme/model")


def test_cancelled_between_two_attempts_nothing_of_the_first_is_left(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    interrupt(app, hub, ingest_id)
    with app.db.write() as tx:
        cancel_ingest(tx, ada, ingest_id)
    hub.forget_requests()
    run_ingest(app, ingest_id)
    assert (kept_files(app), blobs_on_disk(app)) == (set(), 0)
    assert not hub.asked()


def test_a_sweep_takes_what_a_cancelled_ingest_kept_also_when_no_worker_comes(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    interrupt(app, hub, ingest_id)
    with app.db.write() as tx:
        cancel_ingest(tx, ada, ingest_id)
    sweep(app, grace=timedelta(seconds=-1))
    assert blobs_on_disk(app) == 0


def test_cancelled_before_a_worker_took_it_it_never_begins(app: App, hub: Hub, ada: Caller) -> None:
    ingest_id = ask_for_ingest(app, ada, Wanted("acme/model"))
    with app.db.write() as tx:
        cancel_ingest(tx, ada, ingest_id)
    hub.forget_requests()
    run_ingest(app, ingest_id)
    assert not hub.asked()
    with app.db.write() as tx, pytest.raises(IngestEnded, match="cancelled"):
        cancel_ingest(tx, ada, ingest_id)


def test_an_ingest_is_its_askers_and_the_admins(app: App, ada: Caller) -> None:
    bob, eve = caller(app, "bob"), caller(app, "eve", Permission.SEARCH)
    own = [ask_for_ingest(app, ada, Wanted("acme/model", version=str(number))) for number in range(3)]
    others = ask_for_ingest(app, bob, Wanted("acme/model", name="bob/model"))
    with app.db.write() as tx:
        for ingest_id in (others, UUID(int=7)):
            with pytest.raises(IngestNotFound):
                find_ingest(tx, ada, ingest_id)
            with pytest.raises(IngestNotFound):
                cancel_ingest(tx, ada, ingest_id)
        with pytest.raises(PermissionMissing):
            find_ingest(tx, eve, others)
        with pytest.raises(PermissionMissing):
            list_ingests(tx, eve)
        assert find_ingest(tx, admin(app), others).id == others
        first = list_ingests(tx, ada, limit=2)
        assert [row.id for row in first.rows] == [own[2], own[1]]
        rest = list_ingests(tx, ada, cursor=UUID(first.next_cursor), limit=2)
        assert ([row.id for row in rest.rows], rest.next_cursor) == ([own[0]], None)
        assert len(list_ingests(tx, admin(app)).rows) == 4


def test_who_may_no_longer_upload_gets_nothing_taken_in(app: App, ada: Caller) -> None:
    demoted = ask_for_ingest(app, ada, Wanted("acme/model"))
    gone = ask_for_ingest(app, caller(app, "bob"), Wanted("acme/model", name="bob/model"))
    with app.db.write() as tx:
        tx.execute(update(User).where(User.id == ada.user_id).values(permissions=["search"]))
        tx.execute(delete(User).where(User.username == "bob"))
    for ingest_id, kind in ((demoted, "PermissionMissing"), (gone, "AskerGone")):
        run_ingest(app, ingest_id)
        assert (seen(app, ingest_id).state, problem_of(app, ingest_id)) == ("failed", kind)
    assert rows(app) == []


def test_of_two_that_take_in_the_same_one_wins(app: App, ada: Caller) -> None:
    first, second = (ask_for_ingest(app, ada, Wanted("acme/model")) for _ in range(2))
    assert at_once([lambda: run_ingest(app, first), lambda: run_ingest(app, second)]) == [None, None]
    states = {seen(app, one).state: one for one in (first, second)}
    assert states.keys() == {"admitted", "failed"}
    assert problem_of(app, states["failed"]) == "VersionExists"
    assert len(rows(app)) == 1
    with pytest.raises(VersionExists):
        ask_for_ingest(app, ada, Wanted("acme/model"))


def test_the_second_of_two_waits_for_the_first_and_fetches_nothing(app: App, hub: Hub, ada: Caller) -> None:
    first, second = (ask_for_ingest(app, ada, Wanted("acme/model")) for _ in range(2))
    with app.db.write() as tx:
        worker_id = tx.scalar(text("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id"))
        take = text("SELECT args->>'ingest_id' FROM procrastinate_fetch_job_v2(NULL, :worker)")
        assert tx.scalar(take, {"worker": worker_id}) == str(first)
        assert tx.scalar(take, {"worker": worker_id}) is None
    run_ingest(app, first)
    hub.forget_requests()
    run_ingest(app, second)
    assert problem_of(app, second) == "VersionExists"
    assert not hub.asked("/resolve/")


def test_a_call_that_names_nothing_leaves_no_trace(app: App, hub: Hub, ada: Caller) -> None:
    with pytest.raises(ModelUnknown):
        ask_for_ingest(app, ada, Wanted("acme/nothing"))
    hub.fail("^/api/models", status=503, headers={"Retry-After": "60"})
    with pytest.raises(UpstreamAway):
        ask_for_ingest(app, ada, Wanted("acme/model", version="2"))
    with app.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(Ingest)) == 0
        assert tx.scalar(text("SELECT count(*) FROM procrastinate_jobs")) == 0


def test_an_ingest_whose_job_was_lost_gets_another(app: App, ada: Caller) -> None:
    lost = ask_for_ingest(app, ada, Wanted("acme/model"))
    with app.db.write() as tx:
        tx.execute(text("UPDATE procrastinate_jobs SET status = 'failed'"))
    ask_for_ingest(app, ada, Wanted("acme/model", version="2"))
    assert take_up_lost(app) == 1
    assert take_up_lost(app) == 0
    with app.db.read() as tx:
        waiting = text("SELECT args->>'ingest_id' FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id")
        assert tx.scalars(waiting).all()[-1] == str(lost)


def test_what_came_of_it_is_kept_for_thirty_days(app: App, ada: Caller) -> None:
    old, young, under_way = (ask_for_ingest(app, ada, Wanted("acme/model", version=str(n))) for n in range(3))
    for ingest_id, days in ((old, 31), (young, 29)):
        fail_ingest(app, ingest_id)
        with app.db.write() as tx:
            finished_at = func.now() - timedelta(days=days)
            tx.execute(update(Ingest).where(Ingest.id == ingest_id).values(finished_at=finished_at))
    with app.db.write() as tx:
        tx.execute(update(Ingest).values(asked_at=func.now() - timedelta(days=90)))
    sweep(app)
    with app.db.read() as tx:
        assert set(tx.scalars(select(Ingest.id))) == {young, under_way}
