"""What is sent file by file outlives a sweep while its upload lives, and becomes one package however often it is asked."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import func, select, update

from tests.doors.rest import sha256
from tests.registry.shelf import admin, caller
from weighhouse.app import App
from weighhouse.registry.direct import (
    MAX_OPEN,
    Arrival,
    Progress,
    TooManyUploads,
    begin_upload,
    complete_upload,
    send_path,
)
from weighhouse.registry.housekeeping import sweep
from weighhouse.registry.reset import reset_registry
from weighhouse.registry.upload import UploadForm
from weighhouse.rules.announced import AnnouncedFile
from weighhouse.rules.permissions import Caller
from weighhouse.store.tables import DirectUpload, DirectUploadFile, Package

CONTENT = b"The weights."


def sent(registry: App, who: Caller) -> Progress:
    """An upload of one file that has arrived."""
    files = [AnnouncedFile("model.bin", len(CONTENT), sha256(CONTENT))]
    progress = begin_upload(registry, who, UploadForm(name="m", version="1.0.0"), files)
    (content,) = progress.missing
    query = {
        name: value
        for name, (value,) in parse_qs(urlsplit(send_path(registry, progress.upload, content)).query).items()
    }
    arrival = Arrival(
        registry,
        progress.upload.id,
        content.sha256,
        size_bytes=query["size_bytes"],
        expires_at=query["expires"],
        signature=query["signature"],
    )
    with arrival:
        arrival.feed(CONTENT)
        arrival.finish()
    return progress


def test_a_sweep_spares_what_arrived_until_the_upload_ends(registry: App) -> None:
    progress = sent(registry, caller(registry, "ada"))
    sweep(registry, grace=timedelta())
    assert registry.blobs.exists(sha256(CONTENT))
    with registry.db.write() as tx:
        ended = update(DirectUpload).where(DirectUpload.id == progress.upload.id).values(expires_at=func.now())
        tx.execute(ended)
    sweep(registry, grace=timedelta())
    assert not registry.blobs.exists(sha256(CONTENT))
    with registry.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(DirectUpload)) == 0


def test_completed_by_many_at_once_an_upload_is_one_package(registry: App) -> None:
    who = caller(registry, "ada")
    upload_id = sent(registry, who).upload.id
    with ThreadPoolExecutor(8) as threads:
        finished = list(threads.map(lambda _: complete_upload(registry, who, upload_id), range(8)))
    assert len({one.package.id for one in finished}) == 1
    with registry.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(Package)) == 1
        assert tx.scalar(select(func.count()).select_from(DirectUploadFile)) == 0


def test_a_reset_ends_every_upload(registry: App) -> None:
    sent(registry, admin(registry))
    reset_registry(registry, admin(registry))
    with registry.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(DirectUpload)) == 0


def test_nobody_has_any_number_of_unfinished_uploads(registry: App) -> None:
    who = caller(registry, "ada")
    files = [AnnouncedFile("model.bin", len(CONTENT), sha256(CONTENT))]
    forms = [UploadForm(name="m", version=f"1.0.{number}") for number in range(MAX_OPEN + 1)]
    for form in forms[:-1]:
        begin_upload(registry, who, form, files)
    with pytest.raises(TooManyUploads):
        begin_upload(registry, who, forms[-1], files)
    # The same again is no further one, and another user has uploads of their own.
    begin_upload(registry, who, forms[0], files)
    begin_upload(registry, caller(registry, "eve"), UploadForm(name="other", version="1.0.0"), files)
