"""Signed addresses, what they lead to, and who asked for them."""

import io
import zipfile
from collections.abc import Collection
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from tests.conftest import eventually
from tests.registry.shelf import admin, at_once, caller, publish
from weighhouse.app import App
from weighhouse.registry.downloads import (
    AddressRefused,
    Archive,
    FileSpan,
    HistoryHidden,
    list_downloads,
    offer_download,
    open_archive,
    read_archive,
    stream_path,
)
from weighhouse.registry.packages import delete_package, describe_package
from weighhouse.registry.visible import PackageNotFound
from weighhouse.rules.errors import Away, NotFound
from weighhouse.rules.manifest import Component, ComponentsMissing
from weighhouse.rules.permissions import Caller, Permission, PermissionMissing
from weighhouse.store.tables import Download, DownloadCount


def offer(registry: App, who: Caller, package_id: UUID, wanted: Collection[Component] = ()) -> str:
    """The address offered."""
    offered = offer_download(registry, who, package_id, wanted, address="10.0.0.1", agent="test")
    return stream_path(registry, offered)


def follow(registry: App, address: str, **changed: str) -> Archive:
    """What an address leads to, with parts of it changed."""
    parts = urlsplit(address)
    _, _, package_id, _, variant = parts.path.split("/")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    given = {"package_id": package_id, "variant": variant, **query} | changed
    return open_archive(
        registry,
        UUID(given["package_id"]),
        given["variant"],
        expires_at=given["expires"],
        signature=given["signature"],
    )


def ended(registry: App, address: str) -> bool:
    """Whether the address is refused by now."""
    try:
        follow(registry, address)
    except AddressRefused:
        return True
    return False


def content(registry: App, archive: Archive) -> bytes:
    """The whole ZIP."""
    whole = b""
    for part in read_archive(registry, archive, 0, archive.view.size_bytes):
        if isinstance(part, FileSpan):
            part.file.seek(part.start)
            part = part.file.read(part.length)
        whole += part
    return whole


def test_an_address_is_good_for_what_it_was_made_for_and_nothing_else(registry: App) -> None:
    who = caller(registry, "ada")
    first, second = (publish(registry, who, name, files={"model.bin": name, "README.md": name}) for name in ("a", "b"))
    address = offer(registry, who, first, {Component.WEIGHTS})
    assert follow(registry, address).filename == "a-1.0.0-weights.zip"
    for changed in (
        {"package_id": str(second)},
        {"variant": "package.zip"},
        {"variant": "../weights.zip"},
        {"expires": "9999999999"},
        {"expires": "0"},
        {"expires": "x"},
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "\ud800"},
    ):
        with pytest.raises(AddressRefused):
            follow(registry, address, **changed)


def test_an_address_ends_at_its_time_and_with_its_package(registry: App) -> None:
    who, root = caller(registry, "ada"), admin(registry)
    registry.settings.download_url_seconds = 3
    package_id = publish(registry, who, "bert")
    address = offer(registry, who, package_id)
    follow(registry, address)
    eventually(lambda: ended(registry, address))
    with pytest.raises(AddressRefused):
        follow(registry, address)
    registry.settings.download_url_seconds = 300
    address = offer(registry, who, package_id)
    delete_package(registry, root, package_id, release=True)
    publish(registry, who, "bert")
    with pytest.raises(AddressRefused):
        follow(registry, address)


def test_a_variant_holds_what_it_names(registry: App) -> None:
    who = caller(registry, "ada")
    files = {"README.md": "r", "model.bin": "w", "train.csv": "d", "run.py": "c", "config.json": "{}"}
    package_id = publish(registry, who, "bert", files=files)
    for wanted, name in (
        ({Component.CODE, Component.WEIGHTS}, "weights-code.zip"),
        ({Component.DATASETS}, "datasets.zip"),
        (set(Component) - {Component.OTHER}, "package.zip"),
        (set(), "package.zip"),
    ):
        address = offer(registry, who, package_id, wanted)
        assert urlsplit(address).path.endswith(f"/{name}")
        with zipfile.ZipFile(io.BytesIO(content(registry, follow(registry, address)))) as archive:
            assert archive.testzip() is None
            kinds = {Component.WEIGHTS: "model.bin", Component.DATASETS: "train.csv", Component.CODE: "run.py"}
            expected = {kinds[one] for one in (wanted or kinds)} | {"README.md", "config.json"}
            assert set(archive.namelist()) == expected


def test_only_what_is_offered_is_recorded(registry: App) -> None:
    who, guest = caller(registry, "ada"), caller(registry, "bob", Permission.SEARCH)
    package_id = publish(registry, who, "bert", files={"README.md": "r", "model.bin": "w"})
    with pytest.raises(ComponentsMissing):
        offer(registry, who, package_id, {Component.CODE})
    with pytest.raises(PermissionMissing):
        offer(registry, guest, package_id)
    with pytest.raises(PackageNotFound):
        offer(registry, who, uuid4())
    outcomes = at_once([lambda: offer(registry, who, package_id, {Component.WEIGHTS, Component.CODE})] * 8)
    assert all(isinstance(outcome, str) for outcome in outcomes), outcomes
    with registry.db.read() as tx:
        page = list_downloads(tx, who, package_id, limit=5)
        rest = list_downloads(tx, who, package_id, limit=5, cursor=UUID(str(page.next_cursor)))
        assert (page.total, len(rest.rows), rest.next_cursor) == (8, 3, None)
        assert page.rows[0].components == ["weights"]
        assert tx.scalar(select(DownloadCount.downloads)) == 8
        with pytest.raises(HistoryHidden):
            list_downloads(tx, guest, package_id)


def test_the_trail_stays_when_the_package_goes(registry: App) -> None:
    who = caller(registry, "ada")
    package_id = publish(registry, who, "bert")
    offer(registry, who, package_id)
    delete_package(registry, admin(registry), package_id)
    with registry.db.read() as tx:
        [kept] = tx.scalars(select(Download)).all()
        assert (kept.name, kept.version, kept.username, kept.package_id) == ("bert", "1.0.0", "ada", None)
        assert tx.scalar(select(func.count()).select_from(DownloadCount)) == 0


def test_a_file_that_is_gone_or_cut_from_the_store_breaks_the_download(registry: App) -> None:
    who = caller(registry, "ada")
    package_id = publish(registry, who, "bert", files={"model.bin": "weights" * 100})
    archive = follow(registry, offer(registry, who, package_id))
    with registry.db.read() as tx:
        [file] = describe_package(tx, who, package_id).files
    registry.blobs.delete(str(file["sha256"]))
    with pytest.raises((NotFound, Away)):
        content(registry, archive)
