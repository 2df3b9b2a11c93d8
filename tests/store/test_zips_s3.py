"""ZIPs composed in a real bucket: what comes out is what the registry's own stream has, and every reader takes it."""

import hashlib
import io
import itertools
import os
import shutil
import subprocess
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Place
from tests.counting_proxy import counted
from tests.fault_proxy import Fault, FaultProxy
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.zipparts import MIN_PART_BYTES, THRESHOLD_BYTES, Copied, plan, sent_bytes
from weighhouse.rules.zipview import ZipView, cut, layout
from weighhouse.store.blobs import StoreAway, StoreRefused, UploadedPart, blob_key, package_key
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.read_ahead import read_ahead
from weighhouse.store.s3 import S3
from weighhouse.store.zips_s3 import Bucket, Interrupted, Zips

MIB = 1024 * 1024
KEY = package_key("team/model", "1.0.0")
LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def blobs(place: Place) -> Iterator[S3Blobs]:
    with closing(S3Blobs(place.open())) as blobs:
        yield blobs


@pytest.fixture
def zips(bucket: S3, blobs: S3Blobs) -> Zips:
    return Zips(bucket, blobs)


def keep(blobs: S3Blobs, files: Mapping[str, bytes]) -> ZipView:
    """The ZIP of these files, which are kept."""
    kept = []
    for path, content in files.items():
        with blobs.stage() as staging:
            staging.write(content)
            staged = staging.finish()
        blobs.adopt(staged)
        blobs.discard(staged)
        kept.append(File(path, len(content), staged.sha256, zlib.crc32(content), component_of(path)))
    return layout(kept)


def compose(zips: Zips, view: ZipView, key: str = KEY) -> None:
    composed = zips.compose(key, zips.begin(key), view, may_go_on=lambda: True)
    assert (composed.size_bytes, composed.etag) == (view.size_bytes, zips.etag(key))


def check(content: bytes, files: Mapping[str, bytes], folder: Path) -> None:
    """Reads a ZIP with Python's own reader and, where there is one, with Info-ZIP's."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == set(files)
        for path, expected in files.items():
            assert hashlib.sha256(archive.read(path)).digest() == hashlib.sha256(expected).digest()
    if files and shutil.which("unzip"):
        (folder / "composed.zip").write_bytes(content)
        done = subprocess.run(
            ["unzip", "-t", folder / "composed.zip"], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout[-500:]


SETS: Mapping[str, Sequence[int]] = {
    "nothing": [],
    "an empty file": [0],
    "one byte": [1],
    "around the smallest part": [MIN_PART_BYTES - 1, MIN_PART_BYTES, MIN_PART_BYTES + 1],
    "below the threshold": [THRESHOLD_BYTES - 1],
    "the threshold": [THRESHOLD_BYTES],
    "above the threshold": [THRESHOLD_BYTES + 1],
    "big ones next to each other": [11 * MIB, 12 * MIB, 11 * MIB],
    "small ones around a big one": [6 * MIB, 100, 0, 13 * MIB, 77],
    "many small ones": [n * 37 % 400 for n in range(40)],
}


@pytest.mark.parametrize("sizes", SETS.values(), ids=SETS)
def test_what_is_composed_is_the_stream_byte_for_byte(
    zips: Zips, blobs: S3Blobs, bucket: S3, tmp_path: Path, sizes: Sequence[int]
) -> None:
    files = {f"{n:03} ä/é.bin": os.urandom(size) for n, size in enumerate(sizes)}
    view = keep(blobs, files)
    compose(zips, view)
    content = bucket.get(KEY)
    assert content == b"".join(read_ahead(blobs, _all_of(view)))
    check(content, files, tmp_path)
    assert list(bucket.list_multipart()) == []


def _all_of(view: ZipView) -> Iterator[Any]:
    return cut(view, 0, view.size_bytes)


def test_little_passes_through_the_registry(place: Place, tmp_path: Path) -> None:
    files = {"big.bin": os.urandom(MIB) * 150, "small.txt": b"x" * 1000}
    parts = urlsplit(place.endpoint)
    with counted(parts.hostname or "", parts.port or 0) as traffic:
        with closing(S3Blobs(place.open())) as blobs:
            view = keep(blobs, files)
        with closing(place.open(traffic.url)) as bucket, closing(S3Blobs(place.open(traffic.url))) as blobs:
            before = traffic.bytes
            compose(Zips(bucket, blobs), view)
            passed = traffic.bytes - before
    planned = sent_bytes(plan(view))
    print(f"{passed} of {view.size_bytes} bytes passed, {planned} of them planned")
    # Each byte that is sent was read before, if it is not a header.
    assert planned <= MIN_PART_BYTES + 5000
    assert passed < 2 * planned + 50_000
    with closing(place.open()) as bucket:
        check(bucket.get(KEY), files, tmp_path)


def test_a_zip_in_zip64_by_the_number_of_its_files_is_read_by_all(
    zips: Zips, blobs: S3Blobs, bucket: S3, tmp_path: Path
) -> None:
    one = keep(blobs, {"a": b""}).files[0]
    view = layout([replace(one, path=f"{n:05}") for n in range(66_000)])
    compose(zips, view)
    with zipfile.ZipFile(io.BytesIO(bucket.get(KEY))) as archive:
        assert len(archive.namelist()) == 66_000
        assert archive.testzip() is None
    if shutil.which("unzip"):
        (tmp_path / "composed.zip").write_bytes(bucket.get(KEY))
        subprocess.run(["unzip", "-tqq", tmp_path / "composed.zip"], check=True, timeout=60)


def test_the_same_content_under_two_names_is_copied_twice(
    zips: Zips, blobs: S3Blobs, bucket: S3, tmp_path: Path
) -> None:
    content = os.urandom(THRESHOLD_BYTES + 5)
    files = {"a.bin": content, "b.bin": content}
    compose(zips, keep(blobs, files))
    check(bucket.get(KEY), files, tmp_path)


def test_a_zip_that_is_there_is_never_replaced(zips: Zips, blobs: S3Blobs, bucket: S3) -> None:
    compose(zips, keep(blobs, {"a.txt": b"first"}))
    first = bucket.get(KEY)
    with pytest.raises(StoreAway):
        compose(zips, keep(blobs, {"a.txt": b"second"}))
    assert bucket.get(KEY) == first
    assert list(bucket.list_multipart()) == []


def test_a_zip_that_is_not_wanted_any_more_leaves_nothing(zips: Zips, blobs: S3Blobs, bucket: S3) -> None:
    view = keep(blobs, {"a.bin": os.urandom(11 * MIB), "b.bin": os.urandom(11 * MIB)})
    asked = len(plan(view)) + 1  # Before each part and at the end.
    for patience in range(asked):
        answers = iter([True] * patience)
        with pytest.raises(Interrupted):
            zips.compose(KEY, zips.begin(KEY), view, may_go_on=lambda answers=answers: next(answers, False))  # type: ignore[misc]  # mypy does not infer lambdas with defaults
        assert zips.etag(KEY) is None
    assert list(bucket.list_multipart()) == []


@pytest.mark.parametrize("damage", ["gone", "shorter", "longer"])
@pytest.mark.parametrize("is_big", [True, False], ids=["copied", "sent"])
def test_a_file_that_is_gone_or_of_another_length_makes_no_zip(
    zips: Zips, blobs: S3Blobs, bucket: S3, damage: str, is_big: bool
) -> None:
    size = THRESHOLD_BYTES + MIB if is_big else 2000
    view = keep(blobs, {"a.bin": os.urandom(size), "b.txt": b"b"})
    assert any(isinstance(part, Copied) for part in plan(view)) == is_big
    key = blob_key(next(file.sha256 for file in view.files if file.path == "a.bin"))
    if damage == "gone":
        bucket.delete(key)
    else:
        bucket.put(key, b"x" * (size - 1 if damage == "shorter" else size + 1))
    if damage == "longer" and not is_big:
        # Not noticed here: of what is sent, as much is read as there has to be. Checksums tell whoever reads it.
        compose(zips, view)
        with zipfile.ZipFile(io.BytesIO(bucket.get(KEY))) as archive:
            assert archive.testzip() == "a.bin"
        return
    with pytest.raises(Exception, match=r"gone|damaged|Upload it first"):
        compose(zips, view)
    assert zips.etag(KEY) is None
    assert list(bucket.list_multipart()) == []


class Hooked:
    """A bucket that has something happen right before it copies a part; `before` gets that object's key."""

    def __init__(self, bucket: S3, before: Callable[[str], None]) -> None:
        self._bucket = bucket
        self._before = before
        self.copied = threading.Event()
        """A part was copied."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    def copy_part(self, key: str, upload_id: str, number: int, source: str, start: int, stop: int, **more: str) -> Any:
        self._before(source)
        part = self._bucket.copy_part(key, upload_id, number, source, start, stop, **more)
        self.copied.set()
        return part


def test_a_file_that_is_replaced_before_it_is_copied_makes_no_zip(blobs: S3Blobs, bucket: S3) -> None:
    view = keep(blobs, {"a.bin": os.urandom(11 * MIB)})
    replaced: list[str] = []

    def replace_it(source: str) -> None:
        # Its ETag was looked up before the first part.
        bucket.put(source, b"y" * 11 * MIB)
        replaced.append(source)

    hooked: Any = Hooked(bucket, replace_it)
    zips = Zips(hooked, blobs)
    with pytest.raises(StoreAway):
        zips.compose(KEY, zips.begin(KEY), view, may_go_on=lambda: True)
    assert replaced == [blob_key(view.files[0].sha256)]
    assert not hooked.copied.is_set()
    assert zips.etag(KEY) is None
    assert list(bucket.list_multipart()) == []


def test_a_store_that_goes_away_in_the_middle_is_told_and_another_try_succeeds(place: Place, tmp_path: Path) -> None:
    parts = urlsplit(place.endpoint)
    files = {f"{n}.bin": os.urandom(11 * MIB) for n in range(3)}
    with closing(S3Blobs(place.open())) as blobs:
        view = keep(blobs, files)
    with (
        FaultProxy(parts.hostname or "", parts.port or 0) as way,
        closing(place.open(way.url)) as bucket,
        closing(S3Blobs(place.open(way.url))) as blobs,
    ):
        turns = itertools.count()

        def go_away(_: str) -> None:
            if next(turns):
                assert hooked.copied.wait(60)
                way.set(Fault(is_refusing=True))

        hooked: Any = Hooked(bucket, go_away)
        zips = Zips(hooked, blobs)
        upload_id = zips.begin(KEY)
        with pytest.raises(StoreAway):
            zips.compose(KEY, upload_id, view, may_go_on=lambda: True)
    with closing(place.open()) as bucket, closing(S3Blobs(place.open())) as blobs:
        zips = Zips(bucket, blobs)
        assert zips.etag(KEY) is None
        # It could not be aborted; the sweep does it.
        assert list(zips.list_uploads(LATER)) == [(KEY, upload_id)]
        zips.abort(KEY, upload_id)
        zips.abort(KEY, upload_id)
        assert list(zips.list_uploads(LATER)) == []
        compose(zips, view)
        check(bucket.get(KEY), files, tmp_path)


def test_a_presigned_address_gives_the_zip_under_its_name(zips: Zips, blobs: S3Blobs) -> None:
    view = keep(blobs, {"a.txt": b"a"})
    compose(zips, view)
    answer = httpx.get(zips.address(KEY, filename="team-model-1.0.0.zip", seconds=60), verify=False)
    assert len(answer.content) == view.size_bytes
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="team-model-1.0.0.zip"'


def test_only_zips_are_listed(zips: Zips, blobs: S3Blobs, bucket: S3) -> None:
    keys = [package_key(name, "1.0.0", "weights.zip") for name in ("blobs", "staging", "team/model", "adopted")]
    view = keep(blobs, {"a.txt": b"a"})
    for key in keys:
        compose(zips, view, key)
    for key in ("package.zip", "a/package.zip", "team/model/1.0.0/other.zip", "team/model/1.0.0/package.zip.bak"):
        bucket.put(key, b"x")
    assert list(zips.list(LATER)) == sorted(keys)
    assert list(zips.list(datetime.now(UTC) - timedelta(hours=1))) == []
    upload_id = zips.begin(KEY)
    bucket.begin_multipart("staging/abc")
    assert list(zips.list_uploads(LATER)) == [(KEY, upload_id)]
    zips.delete(keys[0])
    zips.delete(keys[0])
    assert list(zips.list(LATER)) == sorted(keys[1:])


class Incapable:
    """A bucket as some stores have it: the one method named here does it wrong."""

    def __init__(self, bucket: S3, wrong: str) -> None:
        self._bucket = bucket
        self._wrong = wrong

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    def copy_part(self, key: str, upload_id: str, number: int, source: str, start: int, stop: int, **more: str) -> Any:
        if self._wrong == "refuses":
            raise StoreRefused("The store refuses what the registry asks (NotImplemented).")
        if self._wrong == "copies all":
            head = self._bucket.head(source)
            assert head is not None
            return self._bucket.copy_part(key, upload_id, number, source, 0, head.size_bytes, **more)
        return UploadedPart(number, '"0"', {})


@pytest.mark.parametrize("wrong", ["refuses", "copies all", "gives no tag"])
def test_a_store_that_cannot_compose_is_found_out_by_trying(blobs: S3Blobs, bucket: S3, wrong: str) -> None:
    incapable: Any = Incapable(bucket, wrong)
    fault = Zips(incapable, blobs).fault
    assert fault is not None
    assert "copies ranges" in fault or "does not copy ranges" in fault
    assert list(bucket.list()) == []
    assert list(bucket.list_multipart()) == []


def test_a_store_that_can_compose_is_tried_once_and_keeps_no_trace(place: Place) -> None:
    parts = urlsplit(place.endpoint)
    with counted(parts.hostname or "", parts.port or 0) as traffic, closing(place.open(traffic.url)) as bucket:
        with closing(S3Blobs(place.open())) as blobs:
            usual: Bucket = bucket
            zips = Zips(usual, blobs)
            assert zips.fault is None
            before = traffic.bytes
            assert zips.fault is None
            assert traffic.bytes == before
        assert list(bucket.list()) == []


def test_a_store_that_is_away_is_not_taken_for_one_that_cannot(place: Place) -> None:
    parts = urlsplit(place.endpoint)
    with (
        FaultProxy(parts.hostname or "", parts.port or 0) as way,
        closing(place.open(way.url)) as bucket,
        closing(S3Blobs(place.open())) as blobs,
    ):
        zips = Zips(bucket, blobs)
        way.set(Fault(is_refusing=True))
        with pytest.raises(StoreAway):
            print(zips.fault)
        way.set()
        assert zips.fault is None
