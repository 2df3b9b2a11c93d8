"""Scans of packages: once a content, what the policy makes of a verdict, and packages of an older scanner."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select, text, update

from tests import payloads
from tests.conftest import Place
from tests.hub_server import Hub
from tests.registry.shelf import admin, caller, publish, rows
from weighhouse.app import App
from weighhouse.registry import scans
from weighhouse.registry.accounts import ensure_admin
from weighhouse.registry.downloads import Quarantined, find_zip, offer_download
from weighhouse.registry.evaluate import evaluation_state, run_evaluation
from weighhouse.registry.housekeeping import sweep
from weighhouse.registry.ingest import ModelRefused, Wanted, ingest_model
from weighhouse.registry.packages import NotQuarantined, describe_package, release_package
from weighhouse.registry.scans import PackageRefused, rescan, scan_package
from weighhouse.registry.visible import PackageNotFound
from weighhouse.registry.zips import WHOLE, compose_zip
from weighhouse.rules.permissions import Caller
from weighhouse.settings import Settings
from weighhouse.sources.scanning import Limits, Scanning
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.database import Database
from weighhouse.store.tables import AuditEntry, BlobScan, ComposedZip, Package, PackageFile, TakenVersion
from weighhouse.store.zips_s3 import Zips

UNSAFE: dict[str, str | bytes] = {"README.md": "# Bad\n", "model.pkl": payloads.running_pickle()}
SAFE: dict[str, str | bytes] = {"README.md": "# Good\n", "config.json": "{}"}
DOUBTFUL: dict[str, str | bytes] = {"README.md": "# So so\n", "more.7z": b"7z\xbc\xaf\x27\x1c and so on"}
UNKNOWN: dict[str, str | bytes] = {"README.md": "# What?\n", "model.xyz": bytes(range(255, 1, -1))}


def with_policy(app: App, **actions: str) -> App:
    changed = {"scan_policy": app.settings.scan_policy | actions}
    return dataclasses.replace(app, settings=app.settings.model_copy(update=changed))


@pytest.fixture
def ada(registry: App) -> Caller:
    return caller(registry, "ada")


@pytest.fixture
def eve(registry: App) -> Caller:
    return caller(registry, "eve")


def package(app: App, package_id: UUID) -> Package:
    [found] = [row for row in rows(app) if row.id == package_id]
    return found


def scanned(app: App) -> list[BlobScan]:
    with app.db.read() as tx:
        return list(tx.scalars(select(BlobScan).order_by(BlobScan.name)))


def download(app: App, who: Caller, package_id: UUID) -> str:
    return offer_download(app, who, package_id, (), address=None, agent=None).package.verdict


def audited(app: App, action: str) -> list[AuditEntry]:
    with app.db.read() as tx:
        return list(tx.scalars(select(AuditEntry).where(AuditEntry.action == action)))


def test_a_package_has_the_worst_verdict_of_its_files_with_reasons_and_places(registry: App, ada: Caller) -> None:
    package_id = publish(registry, ada, "bad", files=UNSAFE | DOUBTFUL | UNKNOWN)
    assert scan_package(registry, package_id)
    with registry.db.read() as tx:
        files = {row.path: row for row in tx.scalars(select(PackageFile))}
    verdicts = {path: row.verdict for path, row in files.items()}
    assert verdicts == {
        "README.md": "safe",
        "model.pkl": "unsafe",
        "more.7z": "suspicious",
        "model.xyz": "unscanned",
    }
    assert package(registry, package_id).verdict == "unsafe"
    assert files["README.md"].reasons == []
    assert files["model.pkl"].reasons == ["The pickle imports posix.system, which runs commands. (byte 40)"]
    kept = {row.name: row for row in scanned(registry)}["model.pkl"]
    assert kept.reasons[0]["position"] == 40
    assert (kept.size_bytes, kept.fault, kept.attempts) == (len(payloads.running_pickle()), None, 1)
    assert kept.scan_ms > 0


def test_a_content_is_scanned_once_by_each_name(registry: App, ada: Caller, statements: list[str]) -> None:
    first = publish(registry, ada, "one", files=SAFE | {"a/model.bin": payloads.running_pickle()})
    scan_package(registry, first)
    before = {(row.sha256, row.name): row.scanned_at for row in scanned(registry)}
    again = publish(registry, ada, "two", files=SAFE | {"b/model.bin": payloads.running_pickle()})
    statements.clear()
    scan_package(registry, again)
    assert len(statements) < 12
    assert {(row.sha256, row.name): row.scanned_at for row in scanned(registry)} == before
    assert package(registry, again).verdict == "unsafe"


def test_a_content_that_is_harmless_under_one_name_is_judged_again_under_another(registry: App, ada: Caller) -> None:
    template = "{{ ''.__class__.__mro__ }}"
    first = publish(registry, ada, "one", files={"chat.txt": template})
    scan_package(registry, first)
    again = publish(registry, ada, "two", files={"chat.jinja": template})
    scan_package(registry, again)
    assert package(registry, first).verdict == "safe"
    assert package(registry, again).verdict in {"suspicious", "unsafe"}


def test_how_many_statements_a_scan_takes_does_not_depend_on_the_files(
    registry: App, ada: Caller, statements: list[str]
) -> None:
    counts = []
    for number, many in enumerate((2, 40)):
        files: dict[str, str | bytes] = {f"{i}.txt": f"{number} {i}" for i in range(many)}
        package_id = publish(registry, ada, f"many-{many}", files=files)
        statements.clear()
        scan_package(registry, package_id)
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_unsafe_is_quarantined_and_released_with_a_reason(registry: App, ada: Caller, eve: Caller) -> None:
    package_id = publish(registry, ada, "bad", files=UNSAFE)
    run_evaluation(registry, package_id, 1)
    assert package(registry, package_id).status == "evaluated"
    with pytest.raises(PackageNotFound):
        download(registry, eve, package_id)
    with pytest.raises(Quarantined) as refused:
        download(registry, ada, package_id)
    assert refused.value.reasons == ["model.pkl: The pickle imports posix.system, which runs commands. (byte 40)"]
    [entry] = audited(registry, "quarantine package")
    assert (entry.actor, entry.subject, entry.detail["verdict"]) == ("scanner", "package bad 1.0.0", "unsafe")
    with registry.db.write() as tx:
        release_package(tx, admin(registry), package_id, "Looked at by hand.")
    assert download(registry, eve, package_id) == "unsafe"
    # Released stays released: weighing it again finds nothing worse.
    run_evaluation(registry, package_id, 2)
    assert download(registry, eve, package_id) == "unsafe"
    assert audited(registry, "release package")[0].detail == {"reason": "Looked at by hand."}


@pytest.mark.parametrize(
    ("files", "actions", "is_open"),
    [
        (SAFE, {}, True),
        (DOUBTFUL, {}, True),
        (UNKNOWN, {}, True),
        (UNSAFE, {"unsafe": "flag"}, True),
        (DOUBTFUL, {"suspicious": "quarantine"}, False),
        (UNKNOWN, {"unscanned": "quarantine"}, False),
        (SAFE, {"unscanned": "quarantine"}, True),
        (SAFE, {"unsafe": "refuse"}, True),
    ],
)
def test_the_policy_decides(
    registry: App, ada: Caller, eve: Caller, files: dict[str, str | bytes], actions: dict[str, str], is_open: bool
) -> None:
    app = with_policy(registry, **actions)
    package_id = publish(app, ada, "model", files=files)
    scan_package(app, package_id)
    listed = text("SELECT versions FROM listed_names")
    with app.db.read() as tx:
        assert (tx.scalar(listed) or 0) == int(is_open)
        assert evaluation_state(tx, package_id).is_quarantined != is_open
    if is_open:
        download(app, eve, package_id)
        with app.db.write() as tx, pytest.raises(NotQuarantined):
            release_package(tx, admin(app), package_id, "Why not?")
        return
    with pytest.raises(Quarantined):
        download(app, ada, package_id)
    with app.db.write() as tx:
        release_package(tx, admin(app), package_id, "Known.")
    download(app, eve, package_id)


def test_what_may_be_refused_is_not_to_be_had_before_it_is_scanned(registry: App, ada: Caller, eve: Caller) -> None:
    package_id = publish(with_policy(registry, unsafe="refuse"), ada, "model", files=SAFE)
    with pytest.raises(PackageNotFound):
        download(registry, eve, package_id)


def test_a_refused_package_leaves_nothing_but_its_reasons(registry: App, ada: Caller) -> None:
    app = with_policy(registry, unsafe="refuse")
    package_id = publish(app, ada, "bad", files=UNSAFE)
    run_evaluation(app, package_id, 1)
    assert rows(app) == []
    with app.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(TakenVersion)) == 0
        with pytest.raises(PackageRefused) as refused:
            evaluation_state(tx, package_id)
    assert refused.value.reasons == ["model.pkl: The pickle imports posix.system, which runs commands. (byte 40)"]
    [entry] = audited(app, "refuse package")
    assert entry.detail["reasons"] == refused.value.reasons
    assert not any(path.is_file() for path in (app.settings.data_dir / "store" / "blobs").rglob("*"))
    # The version is free, for files that are fine.
    again = publish(app, ada, "bad", files=SAFE)
    run_evaluation(app, again, 2)
    assert package(app, again).verdict == "safe"


def test_a_scan_without_a_verdict_is_unscanned_and_tried_three_times(registry: App, ada: Caller) -> None:
    hasty = dataclasses.replace(registry)
    hasty.__dict__["scanning"] = Scanning(limits=Limits(seconds=0))
    package_id = publish(hasty, ada, "model", files=UNSAFE)
    run_evaluation(hasty, package_id, 1)
    found = package(hasty, package_id)
    assert (found.verdict, found.status, found.scanner_version) == ("unscanned", "evaluated", None)
    with hasty.db.read() as tx:
        shown = describe_package(tx, ada, package_id).files
    assert {tuple(file["reasons"]) for file in shown} == {("The scan was ended after 0 seconds.",)}
    for attempts in (2, 3, 3):
        rescan(hasty)
        assert {row.attempts for row in scanned(hasty)} == {attempts}
    assert package(hasty, package_id).scanner_version == scans.SCANNER


def test_a_scan_that_failed_is_made_up_for_in_the_background(registry: App, ada: Caller) -> None:
    hasty = dataclasses.replace(registry)
    hasty.__dict__["scanning"] = Scanning(limits=Limits(seconds=0))
    package_id = publish(hasty, ada, "model", files=UNSAFE)
    run_evaluation(hasty, package_id, 1)
    assert rescan(registry) == 1
    assert package(registry, package_id).verdict == "unsafe"
    assert {row.fault for row in scanned(registry)} == {None}
    with pytest.raises(Quarantined):
        download(registry, ada, package_id)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the scanner a version newer."""
    return lambda: monkeypatch.setattr(scans, "SCANNER", scans.SCANNER + 1)


def test_a_newer_scanner_scans_again_what_is_there_in_batches(
    registry: App, ada: Caller, newer: Callable[[], None], monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    monkeypatch.setattr(scans, "_PACKAGES", 3)
    for number in range(7):
        package_id = publish(registry, ada, f"model-{number}", files={"a.txt": str(number)} | SAFE)
        run_evaluation(registry, package_id, 1)
    statements.clear()
    assert rescan(registry) == 0
    assert len(statements) == 1
    # As an older scanner had left it.
    with registry.db.write() as tx:
        tx.execute(update(BlobScan).values(verdict="unsafe"))
        tx.execute(update(Package).values(verdict="unsafe"))
    newer()
    statements.clear()
    assert rescan(registry) == 7
    assert len(statements) < 3 * 12 + 8
    assert {row.scanner_version for row in rows(registry)} == {scans.SCANNER}
    assert {row.verdict for row in rows(registry)} == {"safe"}
    assert len(audited(registry, "change verdict")) == 7
    assert rescan(registry) == 0


def test_what_a_newer_scanner_finds_goes_into_quarantine(
    registry: App, ada: Caller, eve: Caller, newer: Callable[[], None]
) -> None:
    package_id = publish(registry, ada, "model", files=UNSAFE)
    run_evaluation(registry, package_id, 1)
    with registry.db.write() as tx:
        # As if the one before had known less.
        tx.execute(update(BlobScan).values(verdict="safe", reasons=[]))
        tx.execute(update(Package).values(verdict="safe"))
    assert download(registry, eve, package_id) == "safe"
    newer()
    assert rescan(registry) == 1
    with pytest.raises(PackageNotFound):
        download(registry, eve, package_id)


def test_a_rescan_goes_on_where_it_was_cut_off(registry: App, ada: Caller, newer: Callable[[], None]) -> None:
    package_id = publish(registry, ada, "model", files=UNSAFE | {f"{i}.txt": str(i) for i in range(20)})
    run_evaluation(registry, package_id, 1)
    newer()
    real, count = registry.scanning, 0

    class Stopping:
        def scan(self, read: Any, name: str, size_bytes: int) -> Any:
            nonlocal count
            count += 1
            if count == 10:
                raise KeyboardInterrupt
            return real.scan(read, name, size_bytes)

    cut = dataclasses.replace(registry)
    cut.__dict__["scanning"] = Stopping()
    scans_before = scans._STORE_SECONDS
    scans._STORE_SECONDS = 0.0
    try:
        with pytest.raises(KeyboardInterrupt):
            rescan(cut)
    finally:
        scans._STORE_SECONDS = scans_before
    # Nothing is worse for what is not scanned yet.
    assert package(registry, package_id).verdict == "unsafe"
    assert package(registry, package_id).scanner_version == scans.SCANNER - 1
    assert sum(row.scanner_version == scans.SCANNER for row in scanned(registry)) == 9
    assert rescan(registry) == 1
    assert {row.attempts for row in scanned(registry)} == {1}


def test_an_older_release_leaves_alone_what_a_newer_one_scanned(registry: App, ada: Caller) -> None:
    package_id = publish(registry, ada, "model", files=UNSAFE)
    with registry.db.write() as tx:
        tx.execute(update(Package).values(verdict="suspicious", scanner_version=scans.SCANNER + 1))
    run_evaluation(registry, package_id, 1)
    assert rescan(registry) == 0
    assert package(registry, package_id).verdict == "suspicious"


def test_a_file_that_the_store_lost_is_unscanned_and_holds_nothing_up(registry: App, ada: Caller) -> None:
    package_id = publish(registry, ada, "model", files=SAFE)
    for path in (registry.settings.data_dir / "store" / "blobs").rglob("*"):
        if path.is_file() and path.read_bytes() == b"{}":
            path.unlink()
    scan_package(registry, package_id)
    assert package(registry, package_id).verdict == "unscanned"


def test_verdicts_go_some_time_after_their_content(registry: App, ada: Caller) -> None:
    scan_package(registry, publish(registry, ada, "model", files=SAFE))
    with registry.db.write() as tx:
        tx.execute(text("UPDATE blob_scans SET scanned_at = now() - interval '31 days'"))
        tx.execute(
            text("INSERT INTO blob_scans SELECT sha256('x'), 'x', 1, 'safe', '[]', 1, now() - interval '31 days', 1")
        )
        tx.execute(text("INSERT INTO blob_scans SELECT sha256('y'), 'y', 1, 'safe', '[]', 1, now(), 1"))
    sweep(registry)
    assert {row.name for row in scanned(registry)} == {"README.md", "config.json", "y"}


# From the hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def from_hub(registry: App, hub: Hub, **actions: str) -> App:
    thresholds = dict.fromkeys(registry.settings.gate_thresholds, 0.0)
    app = with_policy(registry, **actions)
    changed = app.settings.model_copy(update={"hf_endpoint": hub.url, "gate_thresholds": thresholds})
    return dataclasses.replace(app, settings=changed)


@pytest.mark.parametrize("actions", [{}, {"unsafe": "accept"}, {"unsafe": "refuse"}])
def test_unsafe_never_comes_in_from_the_hub(registry: App, ada: Caller, hub: Hub, actions: dict[str, str]) -> None:
    app = from_hub(registry, hub, **actions)
    hub.add_model("acme/bad", UNSAFE)
    with pytest.raises(ModelRefused, match=r"model\.pkl: The pickle imports posix\.system"):
        ingest_model(app, ada, Wanted("acme/bad"))
    assert rows(app) == []
    assert not any(path.is_file() for path in (app.settings.data_dir / "store" / "blobs").rglob("*"))


def test_what_comes_from_the_hub_has_its_verdict_from_the_first_moment(registry: App, ada: Caller, hub: Hub) -> None:
    app = from_hub(registry, hub, suspicious="quarantine")
    hub.add_model("acme/doubtful", DOUBTFUL)
    ingest_model(app, ada, Wanted("acme/doubtful"))
    [found] = rows(app)
    assert (found.verdict, found.status, found.is_quarantined) == ("suspicious", "evaluated", True)
    hub.add_model("acme/unknown", UNKNOWN)
    with pytest.raises(ModelRefused, match=r"model\.xyz: No format is known"):
        ingest_model(from_hub(registry, hub, unscanned="refuse"), ada, Wanted("acme/unknown"))


# In a bucket


def test_a_presigned_address_ends_with_the_quarantine(
    settings: Settings, place: Place, newer: Callable[[], None]
) -> None:
    assert settings.database_url is not None
    blobs = S3Blobs(bucket := place.open())
    with closing(App(settings, Database(settings.database_url), blobs, Zips(bucket, blobs))) as app:
        ensure_admin(app)
        ada = caller(app, "ada")
        package_id = publish(with_policy(app, unsafe="flag"), ada, "model", files=UNSAFE)
        run_evaluation(with_policy(app, unsafe="flag"), package_id, 1)
        compose_zip(app, package_id, WHOLE)
        offered = offer_download(app, ada, package_id, (), address=None, agent=None)
        address = find_zip(app, offered).address
        assert address is not None
        assert httpx.get(address).status_code == 200
        newer()
        rescan(app)
        assert httpx.get(address).status_code == 404
        with app.db.read() as tx:
            assert tx.scalar(select(func.count()).select_from(ComposedZip)) == 0
        with pytest.raises(Quarantined):
            download(app, ada, package_id)
        with app.db.write() as tx:
            release_package(tx, admin(app), package_id, "Known.")
        offered = offer_download(app, ada, package_id, (), address=None, agent=None)
        compose_zip(app, package_id, WHOLE)
        address = find_zip(app, offered).address
        assert address is not None
        assert httpx.get(address).status_code == 200
