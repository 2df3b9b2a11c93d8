"""Row 14: what composing a large package in a bucket takes of the registry."""

import statistics
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from tests.counting_proxy import Traffic, counted
from tests.swift_server import SwiftServer, shared

from bench.results import Row, Scale, spread
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.zipview import ZipView, layout
from weighhouse.store.blobs import package_key
from weighhouse.store.blobs_s3 import S3Blobs
from weighhouse.store.s3 import S3, Access, bucket_at
from weighhouse.store.zips_s3 import Zips

_MEBI = 1024 * 1024
_PACKAGE_BYTES = 4096 * _MEBI
_BUCKET = "weighhouse-bench"
_KEY = package_key("bench/composed", "1.0.0")


@dataclass(frozen=True)
class _Composition:
    passed_bytes: int
    processor_seconds: float
    seconds: float


def compose_large(scale: Scale) -> list[Row]:
    """Row 14: bytes that pass between registry and bucket, and processor time, while a ZIP of 4 GiB is composed."""
    folder = scale.work / "s3"
    folder.mkdir()
    with shared(folder) as server:
        _make_bucket(server)
        with closing(S3Blobs(_open(server, server.endpoint))) as blobs:
            view = _keep(blobs, folder)
        parts = urlsplit(server.endpoint)
        with (
            counted(parts.hostname or "", parts.port or 0) as traffic,
            closing(_open(server, traffic.url)) as bucket,
            closing(S3Blobs(_open(server, traffic.url))) as blobs,
        ):
            zips = Zips(bucket, blobs)
            if zips.fault is not None:
                raise RuntimeError(zips.fault)
            done = [_compose(zips, view, traffic) for _ in range(scale.runs)]
            is_given = _is_given(zips, view)
    passed = max(one.passed_bytes for one in done)
    processor, seconds = [one.processor_seconds for one in done], [one.seconds for one in done]
    detail = f"{passed / 1e6:.1f} MB of {view.size_bytes / 1e9:.2f} GB; {spread(seconds)} s by the clock"
    return [
        Row("14a", "bytes through the registry", 100 * passed / view.size_bytes, 1, "%", detail=detail),
        Row("14b", "processor time of the registry", statistics.median(processor), 1, "s", detail=spread(processor)),
        Row("14c", "a presigned address gives the whole ZIP", float(is_given), 1, "of 1", True),
    ]


def _make_bucket(server: SwiftServer) -> None:
    session = boto3.session.Session(server.access_key_id, server.secret_access_key, region_name="us-east-1")
    client = session.client("s3", endpoint_url=server.endpoint)
    client.create_bucket(Bucket=_BUCKET)


def _open(server: SwiftServer, endpoint: str) -> S3:
    access = Access(endpoint, "us-east-1", server.access_key_id, server.secret_access_key)
    return bucket_at(f"s3://{_BUCKET}", access)


def _keep(blobs: S3Blobs, folder: Path) -> ZipView:
    """The ZIP of a card and weights, which the bucket has from now on."""
    files = []
    for path, size in (("README.md", 1000), ("model.safetensors", _PACKAGE_BYTES)):
        with blobs.stage() as staging:
            for piece in _content(size):
                staging.write(piece)
            staged = staging.finish()
        blobs.adopt(staged)
        blobs.discard(staged)
        files.append(File(path, staged.size_bytes, staged.sha256, staged.crc32, component_of(path)))
    return layout(files)


def _content(size: int) -> Iterator[bytes]:
    for at in range(0, size, _MEBI):
        yield at.to_bytes(8, "big") * min(_MEBI // 8, -(-(size - at) // 8))


def _compose(zips: Zips, view: ZipView, traffic: Traffic) -> _Composition:
    zips.delete(_KEY)
    # The proxy that counts is in this process too: what it takes is in the figure.
    passed, processor, began = traffic.bytes, time.process_time(), time.perf_counter()
    zips.compose(_KEY, zips.begin(_KEY), view, may_go_on=lambda: True)
    return _Composition(traffic.bytes - passed, time.process_time() - processor, time.perf_counter() - began)


def _is_given(zips: Zips, view: ZipView) -> bool:
    """Whether the bucket gives the ZIP to anybody who has an address, under its name."""
    address = zips.address(_KEY, filename="composed.zip", seconds=300)
    with urllib.request.urlopen(address, timeout=60) as answer:
        name = answer.headers["Content-Disposition"]
        return (
            int(answer.headers["Content-Length"]) == view.size_bytes and name == 'attachment; filename="composed.zip"'
        )
