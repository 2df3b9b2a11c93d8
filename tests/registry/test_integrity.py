"""What is wrong with a registry is found, and nothing else."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from tests.conftest import Place
from tests.doors.rest import sha256
from tests.registry.shelf import caller, publish, upload
from weighhouse.app import App
from weighhouse.registry.integrity import Finding, Pace, Sample, Trouble, verify_registry
from weighhouse.store.blobs import blob_key
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.database import Database
from weighhouse.store.tables import AuditEntry, Blob, Package, PackageFile


def blob_of(registry: App, content: bytes) -> Path:
    path = registry.settings.data_dir / "store" / blob_key(sha256(content))
    path.chmod(0o600)
    return path


def found(registry: App, **options: object) -> dict[Trouble, Finding]:
    """The findings, of which there is at most one of each kind."""
    report = verify_registry(registry, **options)  # type: ignore[arg-type]  # options of the use-case
    assert sum(report.counts.values()) == len(report.findings) == len({one.trouble for one in report.findings})
    return {one.trouble: one for one in report.findings}


def test_a_registry_as_it_should_be_is_clean_and_the_audit_log_says_that_it_was_looked_at(registry: App) -> None:
    who = caller(registry, "ada")
    upload(registry, who, "one", files={"a.txt": "same", "b.txt": "same", "empty.txt": ""})
    upload(registry, who, "two", files={"a.txt": "same", "c.txt": "other"})
    report = verify_registry(registry, grace=timedelta(seconds=-1))
    assert report.is_clean
    assert (report.blobs_checked, report.bytes_read, report.packages_checked, report.findings) == (3, 9, 2, [])
    with registry.db.read() as tx:
        entry = tx.query(AuditEntry).filter_by(action="verify registry").one()
    assert (entry.actor, entry.actor_id, entry.detail["blobs"], entry.detail["corrupt"]) == ("operator", None, 3, 0)


@pytest.mark.parametrize("damaged", [b"the c0ntent", b"the conten", b"the content."])
def test_a_blob_that_was_changed_cut_or_lengthened_is_corrupt(registry: App, damaged: bytes) -> None:
    upload(registry, caller(registry, "ada"), "one", files={"a.txt": "the content"})
    blob_of(registry, b"the content").write_bytes(damaged)
    finding = found(registry)[Trouble.CORRUPT]
    assert (finding.subject, finding.packages) == (sha256(b"the content"), ["one 1.0.0"])


def test_a_row_with_another_checksum_is_corrupt(registry: App) -> None:
    upload(registry, caller(registry, "ada"), "one", files={"a.txt": "the content"})
    with registry.db.write() as tx:
        tx.execute(update(Blob).values(crc32=7))
    assert "CRC-32 00000007" in found(registry)[Trouble.CORRUPT].detail


def test_a_blob_that_is_gone_is_missing(registry: App) -> None:
    upload(registry, caller(registry, "ada"), "one", files={"a.txt": "the content"})
    blob_of(registry, b"the content").unlink()
    assert found(registry)[Trouble.MISSING].packages == ["one 1.0.0"]


def test_bytes_that_no_row_names_are_orphaned_once_they_are_old_and_harm_nothing(registry: App) -> None:
    with registry.blobs.stage() as staging:
        staging.write(b"an upload died here")
        staged = staging.finish()
    registry.blobs.adopt(staged)
    assert found(registry) == {}
    os.utime(blob_of(registry, b"an upload died here"), (0, 0))
    report = verify_registry(registry)
    assert [(one.trouble, one.subject) for one in report.findings] == [(Trouble.ORPHANED, staged.sha256)]
    assert report.is_clean


def test_rows_that_do_not_go_together_are_contradictory(registry: App) -> None:
    who = caller(registry, "ada")
    package_id = publish(registry, who, "one", files={"a.txt": "1", "b.txt": "22"})
    publish(registry, who, "two")
    with registry.db.write() as tx:
        tx.execute(delete(PackageFile).where(PackageFile.package_id == package_id, PackageFile.path == "a.txt"))
    finding = found(registry)[Trouble.CONTRADICTORY]
    assert finding.subject == "one 1.0.0"
    assert "not those of its manifest; its number of files is wrong; its size is wrong" in finding.detail
    with registry.db.write() as tx:
        tx.execute(delete(PackageFile).where(PackageFile.package_id == package_id))
    assert "not those of its manifest" in found(registry)[Trouble.CONTRADICTORY].detail


def test_a_manifest_other_than_the_one_that_took_the_version_is_contradictory(registry: App) -> None:
    publish(registry, caller(registry, "ada"), "one")
    with registry.db.write() as tx:
        tx.execute(update(Package).values(manifest_sha256=bytes(32)))
    assert "taken with another manifest" in found(registry)[Trouble.CONTRADICTORY].detail


def test_a_sample_has_as_many_blobs_as_were_asked_for(registry: App) -> None:
    upload(registry, caller(registry, "ada"), "one", files={f"{number}.txt": str(number) for number in range(50)})
    for sample, count in ((Sample(count=7), 7), (Sample(share=0.5), 25), (Sample(count=80), 50), (Sample(count=0), 0)):
        assert verify_registry(registry, sample=sample).blobs_checked == count


def test_a_reader_that_is_held_back_never_reads_faster_and_does_not_make_up_for_pauses() -> None:
    now = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(1000, clock=lambda: now, sleep=sleep)
    for _ in range(4):
        pace.took(500)
    assert (slept, now) == ([0.5] * 4, 102.0)
    now += 60
    pace.took(500)
    assert slept[-1] == 0.5


@pytest.fixture
def in_bucket(registry: App, place: Place) -> Iterator[App]:
    """The same registry with its files in a bucket."""
    assert registry.settings.database_url is not None
    with S3Blobs(place.open()) as blobs:
        app = App(registry.settings, Database(registry.settings.database_url), blobs)
        yield app
        app.db.close()


def test_blobs_in_a_bucket_are_read_and_their_loss_is_noticed(in_bucket: App, place: Place) -> None:
    upload(in_bucket, caller(in_bucket, "ada"), "one", files={"a.txt": "the content", "b.txt": "another one"})
    report = verify_registry(in_bucket)
    assert (report.is_clean, report.bytes_read) == (True, 22)
    bucket = place.open()
    bucket.put(blob_key(sha256(b"the content")), b"the c0ntent")
    bucket.delete(blob_key(sha256(b"another one")))
    bucket.close()
    assert set(found(in_bucket)) == {Trouble.CORRUPT, Trouble.MISSING}
