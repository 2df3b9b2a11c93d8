"""Row 13: what a second server behind the same proxy adds."""

import json
import statistics
from pathlib import Path

import psutil

from bench.load import post, press
from bench.results import Row, Scale, alternately, ratio, spread
from bench.servers import Product, balancer, product

_CLIENTS = 16
_TEXTS = ("bert", "squad", "llama", "instruct", "large")


def two_servers(catalogue: Path, scale: Scale) -> list[Row]:
    """Row 13: searches a second of two servers behind nginx against one behind it; one API process each."""
    with product(catalogue, workers=1) as first:
        shared = {"database_url": first.database_url(), "storage_url": f"file://{catalogue}/store"}
        with (
            product(scale.work / "second", workers=1, **shared) as second,
            balancer(scale.work, [first.url]) as alone,
            balancer(scale.work, [first.url, second.url]) as both,
        ):
            busy: dict[str, list[float]] = {alone: [], both: []}
            rates = alternately(
                2 * scale.runs, lambda: _rate(alone, first, scale, busy), lambda: _rate(both, first, scale, busy)
            )
    singles, pairs = rates[0][1:], rates[1][1:]  # The first of each is the warm-up.
    detail = (
        f"{spread(pairs)} against {spread(singles)} a second; the machine's {psutil.cpu_count()} cores were busy to "
        f"{statistics.median(busy[both]):.0f} against {statistics.median(busy[alone]):.0f} %"
    )
    return [Row("13", "searches/s of two servers behind nginx", ratio(singles, pairs), 1.6, "×", True, detail)]


def _rate(url: str, server: Product, scale: Scale, busy: dict[str, list[float]]) -> float:
    requests = [post(f"{url}/packages", server.token, json.dumps([{"name": text}]).encode()) for text in _TEXTS]
    psutil.cpu_percent()
    load = press(url, requests, clients=_CLIENTS, seconds=scale.seconds)
    busy[url].append(psutil.cpu_percent())
    if load.failures or not load.latencies_ms:
        raise RuntimeError(f"{load.failures} requests failed")
    return load.per_second
