"""The ZIPs of a bucket as the registry knows them: asked for, composed once, offered, dropped, swept, given up."""

import io
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select, text, update

from tests.conftest import Place, eventually
from tests.fault_proxy import Fault, FaultProxy
from tests.registry.shelf import admin, at_once, caller, publish
from weighhouse.app import App
from weighhouse.registry import zips as subject
from weighhouse.registry.accounts import ensure_admin
from weighhouse.registry.downloads import Offer, find_zip, offer_download, open_archive, read_archive, stream_path
from weighhouse.registry.packages import delete_package
from weighhouse.registry.zips import (
    LOST_AFTER,
    RETRY_AFTER,
    WHOLE,
    compose_zip,
    drop_zips,
    fail_zip,
    request_zip,
    sweep_zips,
)
from weighhouse.rules.manifest import Component
from weighhouse.rules.permissions import Caller
from weighhouse.settings import Settings
from weighhouse.store.blobs import StoreAway, package_key
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.database import Database
from weighhouse.store.s3 import S3
from weighhouse.store.tables import ComposedZip, Package
from weighhouse.store.zips_s3 import Interrupted, Zips

LATER = timedelta(hours=1)
KEY = package_key("bert", "1.0.0")


def open_registry(settings: Settings, bucket: S3) -> App:
    assert settings.database_url is not None
    blobs = S3Blobs(bucket)
    return App(settings, Database(settings.database_url), blobs, Zips(bucket, blobs))


@pytest.fixture
def registry(settings: Settings, place: Place) -> Iterator[App]:
    """A registry that keeps its files in a bucket, and has no worker."""
    with closing(open_registry(settings, place.open())) as app:
        ensure_admin(app)
        yield app


@pytest.fixture
def who(registry: App) -> Caller:
    return caller(registry, "ada")


@pytest.fixture
def package_id(registry: App, who: Caller) -> UUID:
    return publish(registry, who, "bert", files=files())


def files() -> Mapping[str, bytes]:
    return {"README.md": b"# A", "model.bin": secrets.token_bytes(5000), "run.py": b"print(1)"}


def offer(registry: App, who: Caller, package_id: UUID, *wanted: Component) -> Offer:
    return offer_download(registry, who, package_id, wanted, address=None, agent=None)


def row(registry: App, package_id: UUID, variant: str = WHOLE) -> ComposedZip | None:
    with registry.db.read() as tx:
        return tx.get(ComposedZip, (package_id, variant))


def state(registry: App, package_id: UUID, variant: str = WHOLE) -> str | None:
    found = row(registry, package_id, variant)
    return found.state if found else None


def jobs(registry: App) -> list[tuple[str, str]]:
    """Key and variant of each job that was ever enqueued, in order."""
    statement = "SELECT lock, args ->> 'variant' FROM procrastinate_jobs WHERE task_name = 'compose' ORDER BY id"
    with registry.db.read() as tx:
        return [(str(lock), str(variant)) for lock, variant in tx.execute(text(statement))]


def change(registry: App, package_id: UUID, **values: Any) -> None:
    with registry.db.write() as tx:
        tx.execute(update(ComposedZip).where(ComposedZip.package_id == package_id).values(values))


def content(address: str | None) -> bytes:
    assert address is not None
    return httpx.get(address, verify=False).raise_for_status().content


# Asked for


def test_publishing_asks_for_the_whole_zip_in_the_same_transaction(registry: App, package_id: UUID) -> None:
    assert state(registry, package_id) == "building"
    assert jobs(registry) == [(KEY, WHOLE)]


def test_however_many_ask_one_job_composes(registry: App, who: Caller, package_id: UUID) -> None:
    outcomes = at_once([lambda: offer(registry, who, package_id, Component.WEIGHTS)] * 8)
    assert all(isinstance(outcome, Offer) for outcome in outcomes), outcomes
    assert jobs(registry) == [(KEY, WHOLE), (package_key("bert", "1.0.0", "weights.zip"), "weights.zip")]
    whereabouts = find_zip(registry, outcomes[0])
    assert (whereabouts.address, whereabouts.is_coming) == (None, True)


def test_a_request_that_is_undone_leaves_no_job(registry: App, package_id: UUID) -> None:
    class Undo(Exception):
        pass

    def ask() -> None:
        with registry.db.write() as tx:
            package = tx.get(Package, package_id)
            assert package is not None
            request_zip(tx, package, "code.zip")
            raise Undo

    with pytest.raises(Undo):
        ask()
    assert state(registry, package_id, "code.zip") is None
    assert jobs(registry) == [(KEY, WHOLE)]


# Composed


def test_the_job_composes_and_the_zip_is_offered(registry: App, who: Caller, package_id: UUID, bucket: S3) -> None:
    offered = offer(registry, who, package_id)
    for _ in range(2):  # A job may run twice.
        compose_zip(registry, package_id, WHOLE)
    known = row(registry, package_id)
    assert known is not None
    assert (known.state, known.upload_id, known.fault, known.key) == ("ready", None, None, KEY)
    found = find_zip(registry, offered)
    got = content(found.address)
    assert len(got) == known.size_bytes
    # The very bytes of the registry's own stream.
    parts = urlsplit(stream_path(registry, offered))
    query = dict(one.split("=") for one in parts.query.split("&"))
    archive = open_archive(registry, package_id, WHOLE, expires_at=query["expires"], signature=query["signature"])
    streamed = read_archive(registry, archive, 0, archive.view.size_bytes)
    assert b"".join(piece for piece in streamed if isinstance(piece, bytes)) == got
    assert list(bucket.list_multipart()) == []


def test_a_variant_is_composed_of_its_components(registry: App, who: Caller, package_id: UUID) -> None:
    offered = offer(registry, who, package_id, Component.WEIGHTS)
    compose_zip(registry, package_id, offered.variant)
    with zipfile.ZipFile(io.BytesIO(content(find_zip(registry, offered).address))) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"README.md", "model.bin"}
    assert state(registry, package_id) == "building"


def test_a_job_that_died_is_begun_anew_and_its_upload_thrown_away(registry: App, package_id: UUID, bucket: S3) -> None:
    lost = bucket.begin_multipart(KEY)
    bucket.put(KEY, b"of a job whose end nobody wrote down")
    change(registry, package_id, upload_id=lost)
    compose_zip(registry, package_id, WHOLE)
    assert state(registry, package_id) == "ready"
    assert list(bucket.list_multipart()) == []


def test_a_process_that_ends_leaves_the_zip_to_the_next(registry: App, package_id: UUID, bucket: S3) -> None:
    with pytest.raises(Interrupted):
        compose_zip(registry, package_id, WHOLE, is_stopping=lambda: True)
    assert state(registry, package_id) == "building"
    assert list(bucket.list_multipart()) == []
    compose_zip(registry, package_id, WHOLE)
    assert state(registry, package_id) == "ready"


def test_the_zip_of_a_package_that_is_deleted_meanwhile_is_thrown_away(
    registry: App, package_id: UUID, bucket: S3
) -> None:
    asked: list[bool] = []

    def delete_meanwhile() -> bool:
        if not asked:
            asked.append(True)
            delete_package(registry, admin(registry), package_id)
        return False

    compose_zip(registry, package_id, WHOLE, is_stopping=delete_meanwhile)
    assert asked
    assert state(registry, package_id) is None
    assert bucket.head(KEY) is None
    assert list(bucket.list_multipart()) == []
    compose_zip(registry, package_id, WHOLE)
    assert bucket.head(KEY) is None


def test_two_jobs_for_one_zip_do_not_spoil_it(registry: App, who: Caller, package_id: UUID, bucket: S3) -> None:
    offered = offer(registry, who, package_id)
    at_once([lambda: compose_zip(registry, package_id, WHOLE)] * 2)
    # One of them may have lost its claim, and was told so.
    if state(registry, package_id) != "ready":
        compose_zip(registry, package_id, WHOLE)
    with zipfile.ZipFile(io.BytesIO(content(find_zip(registry, offered).address))) as archive:
        assert archive.testzip() is None
    assert list(bucket.list_multipart()) == []


def test_a_version_that_is_published_again_gets_its_own_zip(registry: App, who: Caller, package_id: UUID) -> None:
    compose_zip(registry, package_id, WHOLE)
    delete_package(registry, admin(registry), package_id, release=True)
    again = publish(registry, who, "bert", files={"other.txt": b"other"})
    compose_zip(registry, package_id, WHOLE)
    assert state(registry, again) == "building"
    compose_zip(registry, again, WHOLE)
    with zipfile.ZipFile(io.BytesIO(content(find_zip(registry, offer(registry, who, again)).address))) as archive:
        assert archive.namelist() == ["other.txt"]


def test_a_package_in_quarantine_has_no_zip_until_it_is_released(
    registry: App, who: Caller, package_id: UUID, bucket: S3
) -> None:
    with registry.db.write() as tx:
        tx.execute(update(Package).values(verdict="unsafe"))
    compose_zip(registry, package_id, WHOLE)
    assert state(registry, package_id) is None
    assert bucket.head(KEY) is None
    with registry.db.write() as tx:
        tx.execute(update(Package).values(verdict="safe"))
    offered = offer(registry, who, package_id)
    assert jobs(registry) == [(KEY, WHOLE)] * 2
    compose_zip(registry, package_id, WHOLE)
    assert find_zip(registry, offered).address


# Lost


@pytest.mark.parametrize("loss", ["removed", "replaced"])
def test_a_zip_that_is_not_as_it_was_composed_is_composed_again_once(
    registry: App, who: Caller, package_id: UUID, bucket: S3, loss: str
) -> None:
    compose_zip(registry, package_id, WHOLE)
    first = bucket.get(KEY)
    if loss == "removed":
        bucket.delete(KEY)
    else:
        bucket.put(KEY, b"another")
    offered = offer(registry, who, package_id)
    for found in at_once([lambda: find_zip(registry, offered)] * 6):
        assert (found.address, found.is_coming) == (None, True)
    assert jobs(registry) == [(KEY, WHOLE)] * 2
    compose_zip(registry, package_id, WHOLE)
    assert content(find_zip(registry, offered).address) == first


def test_dropped_zips_come_back_and_those_that_are_in_use_are_spared(
    registry: App, who: Caller, package_id: UUID, bucket: S3
) -> None:
    compose_zip(registry, package_id, WHOLE)
    first = bucket.get(KEY)
    assert drop_zips(registry) == []  # Its address may still be good.
    change(registry, package_id, asked_at=func.now() - timedelta(days=10))
    assert drop_zips(registry, unasked_for=timedelta(days=11)) == []
    [told] = drop_zips(registry, dry_run=True)
    assert (told.key, told.size_bytes) == (KEY, len(first))
    assert bucket.head(KEY)
    assert drop_zips(registry, unasked_for=timedelta(days=9)) == [told]
    assert bucket.head(KEY) is None
    assert state(registry, package_id) is None
    offered = offer(registry, who, package_id)
    assert find_zip(registry, offered).is_coming
    compose_zip(registry, package_id, WHOLE)
    assert content(find_zip(registry, offered).address) == first


def test_one_that_is_being_composed_is_not_dropped(registry: App, package_id: UUID) -> None:
    change(registry, package_id, asked_at=func.now() - timedelta(days=10))
    assert drop_zips(registry) == []
    assert state(registry, package_id) == "building"


def test_a_delete_takes_all_zips_of_the_package(registry: App, who: Caller, package_id: UUID, bucket: S3) -> None:
    for wanted in ((), (Component.WEIGHTS,), (Component.CODE,)):
        compose_zip(registry, package_id, offer(registry, who, package_id, *wanted).variant)
    assert len(list(bucket.list("bert/"))) == 3
    delete_package(registry, admin(registry), package_id)
    assert list(bucket.list()) == []


def test_a_sweep_takes_what_no_package_has_and_nothing_else(
    registry: App, who: Caller, package_id: UUID, bucket: S3
) -> None:
    compose_zip(registry, package_id, WHOLE)
    kept = bucket.get(KEY)
    stray = [package_key("gone", "1.0.0"), package_key("blobs", "2.0.0", "weights.zip")]
    for key in stray:
        bucket.put(key, b"x")
    bucket.put("somebody/elses/file.zip", b"x")
    bucket.begin_multipart(stray[0])
    building = publish(registry, who, "gpt")
    claimed = bucket.begin_multipart(package_key("gpt", "1.0.0"))
    change(registry, building, upload_id=claimed)
    assert sweep_zips(registry, datetime.now(UTC) - LATER) == 0
    assert sweep_zips(registry, datetime.now(UTC) + LATER) == 3
    assert all(bucket.head(key) is None for key in stray)
    assert bucket.get(KEY) == kept
    assert bucket.head("somebody/elses/file.zip")
    assert [upload_id for _, upload_id, _ in bucket.list_multipart()] == [claimed]
    assert sweep_zips(registry, datetime.now(UTC) + LATER) == 0


# Given up


def test_a_store_that_cannot_compose_is_told_once_and_the_stream_is_used(
    registry: App, who: Caller, package_id: UUID, bucket: S3
) -> None:
    assert registry.zips is not None
    registry.zips.__dict__["fault"] = "The store does not copy ranges into parts."  # As if it had been tried out.
    compose_zip(registry, package_id, WHOLE)
    known = row(registry, package_id)
    assert known is not None
    assert (known.state, known.fault) == ("failed", "The store does not copy ranges into parts.")
    found = find_zip(registry, offer(registry, who, package_id))
    assert (found.address, found.is_coming) == (None, False)
    assert bucket.head(KEY) is None
    assert jobs(registry) == [(KEY, WHOLE)]


def test_what_failed_is_tried_again_after_a_while(registry: App, who: Caller, package_id: UUID) -> None:
    fail_zip(registry, package_id, WHOLE, "of the test")
    offered = offer(registry, who, package_id)
    assert (state(registry, package_id), len(jobs(registry))) == ("failed", 1)
    change(registry, package_id, changed_at=func.now() - RETRY_AFTER - timedelta(seconds=1))
    at_once([lambda: offer(registry, who, package_id)] * 4)
    assert (state(registry, package_id), len(jobs(registry))) == ("building", 2)
    assert find_zip(registry, offered).is_coming
    compose_zip(registry, package_id, WHOLE)
    assert find_zip(registry, offered).address
    fail_zip(registry, package_id, WHOLE, "too late")
    assert state(registry, package_id) == "ready"


def test_a_job_that_was_lost_is_replaced(registry: App, who: Caller, package_id: UUID) -> None:
    change(registry, package_id, changed_at=func.now() - LOST_AFTER + timedelta(minutes=1))
    offer(registry, who, package_id)
    assert len(jobs(registry)) == 1
    change(registry, package_id, changed_at=func.now() - LOST_AFTER - timedelta(minutes=1))
    offer(registry, who, package_id)
    assert len(jobs(registry)) == 2


def test_a_registry_on_disk_composes_nothing(settings: Settings, registry: App, who: Caller, package_id: UUID) -> None:
    on_disk = App(settings, registry.db, registry.blobs)
    compose_zip(on_disk, package_id, WHOLE)
    assert state(registry, package_id) == "building"
    assert drop_zips(on_disk) == ()
    assert sweep_zips(on_disk, datetime.now(UTC)) == 0
    assert subject.locate_zip(on_disk, offer(registry, who, package_id).package, WHOLE).is_coming is False


def test_a_store_that_goes_away_leaves_the_job_to_be_tried_again(settings: Settings, place: Place) -> None:
    parts = urlsplit(place.endpoint)
    with (
        FaultProxy(parts.hostname or "", parts.port or 0) as way,
        closing(open_registry(settings, place.open(way.url))) as registry,
    ):
        ensure_admin(registry)
        package_id = publish(registry, caller(registry, "ada"), "bert", files=files())
        assert registry.zips is not None
        assert registry.zips.fault is None
        way.set(Fault(is_refusing=True))
        with pytest.raises(StoreAway):
            compose_zip(registry, package_id, WHOLE)
        assert state(registry, package_id) == "building"
        way.set()

        def is_composed() -> bool:
            try:
                compose_zip(registry, package_id, WHOLE)
            except StoreAway:
                return False
            return state(registry, package_id) == "ready"

        eventually(is_composed)
        # A ready one cannot be looked at while the store is away: that is told, and changes nothing.
        with registry.db.read() as tx:
            package = tx.scalars(select(Package)).one()
        way.set(Fault(is_refusing=True))
        with pytest.raises(StoreAway):
            subject.locate_zip(registry, package, WHOLE)
        assert state(registry, package_id) == "ready"
