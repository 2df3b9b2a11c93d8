"""Rows 1 to 3: reading and searching a catalogue."""

import json
import statistics
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from bench.load import Load, get, post, press
from bench.results import Row, Scale, alternately, ratio, spread
from bench.servers import Product, product, reference

_CLIENTS = 8
# Common and rare parts of names; within the large catalogue they are in 1,000 to 330,000 of its names.
_TEXTS = ("bert", "squad", "llama", "instruct", "large")
_SORTS = ("-upload_date", "name", "net_score", "-downloads")
_DEEP = 10_000
_LISTED = "verdict <> 'unsafe'"


def read_rates(catalogue: Path, scale: Scale) -> list[Row]:
    """Row 1: requests a second against a bare application that reads the same rows."""
    with product(catalogue) as server, reference(server.database_url(), scale.work) as bare:
        ids = [
            row[0] for row in _ask(server, f"SELECT id FROM packages WHERE {_LISTED} ORDER BY md5(id::text) LIMIT 2000")
        ]
        return [
            _rate_row(
                ("1a", "GET /package/{id}/metadata, requests/s"),
                server,
                scale,
                (bare, [get(f"{bare}/package/{one}") for one in ids]),
                [get(f"{server.url}/package/{one}/metadata", server.token) for one in ids],
            ),
            _rate_row(
                ("1b", "POST /packages, 50 rows by substring, requests/s"),
                server,
                scale,
                (bare, [get(f"{bare}/packages?name={text}") for text in _TEXTS]),
                [_search(server, name=text) for text in _TEXTS],
            ),
        ]


def _rate_row(
    row: tuple[str, str], server: Product, scale: Scale, bare: tuple[str, list[bytes]], requests: list[bytes]
) -> Row:
    costs = []

    def reference_rate() -> float:
        return press(bare[0], bare[1], clients=_CLIENTS, seconds=scale.seconds).per_second

    def product_rate() -> float:
        before = server.cpu_seconds()
        load = press(server.url, requests, clients=_CLIENTS, seconds=scale.seconds)
        _require_good(load)
        costs.append(1000 * (server.cpu_seconds() - before) / len(load.latencies_ms))
        return load.per_second

    for warm_up in (reference_rate, product_rate):
        warm_up()
    references, subjects = alternately(2 * scale.runs, reference_rate, product_rate)
    detail = f"{spread(subjects)} against {spread(references)} a second; {min(costs):.2f} ms of API processor each"
    return Row(*row, ratio(references, subjects), 0.5, "of it", True, detail)


def search_growth(small: Path, large: Path, scale: Scale) -> list[Row]:
    """Row 2: the 95th percentile of a search in the large catalogue against the small one."""
    kinds: dict[str, tuple[str, float, Callable[[Product, list[str]], list[bytes]]]] = {
        "2a": ("a rare substring", 3, lambda at, names: [_search(at, name=name.split("/")[1][:24]) for name in names]),
        "2b": ("a common substring", 3, lambda at, _: [_search(at, name=text) for text in _TEXTS[:3]]),
        "2c": ("a regex with a literal", 10, lambda at, names: [_search(at, regex=f"^{name}$") for name in names]),
    }
    figures: dict[str, list[list[float]]] = {number: [] for number in kinds}
    failures: dict[str, int] = dict.fromkeys(kinds, 0)
    for catalogue in (small, large):
        with product(catalogue) as server:
            names = [row[0] for row in _ask(server, "SELECT name FROM packages ORDER BY md5(name), version LIMIT 40")]
            for number, (_, _, make) in kinds.items():
                requests = make(server, names)
                press(server.url, requests, clients=1, seconds=1)
                loads = [press(server.url, requests, clients=1, seconds=scale.seconds) for _ in range(scale.runs)]
                failures[number] += sum(load.failures for load in loads)
                figures[number].append([load.percentile_ms(0.95) for load in loads])
    return [
        _growth_row(number, what, limit, figures[number], failures[number])
        for number, (what, limit, _) in kinds.items()
    ]


def _growth_row(number: str, what: str, limit: float, figures: list[list[float]], failures: int) -> Row:
    small, large = figures
    detail = f"p95 {spread(large)} ms against {spread(small)} ms" + (f"; {failures} refused" if failures else "")
    figure = statistics.median(large) / statistics.median(small)
    return Row(number, f"search for {what}, large against small catalogue", figure, limit, detail=detail)


def page_depth(catalogue: Path, scale: Scale) -> list[Row]:
    """Row 3: page 10,000 by cursor against page 1, for several orders."""
    rows = []
    with product(catalogue) as server:
        for sort in _SORTS:
            deep = _walk(server, sort)
            second = _page(server, sort, None)["next_cursor"]
            early = partial(_p95, server, scale, sort, str(second))
            firsts, deeps = alternately(scale.runs, early, partial(_p95, server, scale, sort, deep))
            detail = f"p95 {spread(deeps)} ms against {spread(firsts)} ms"
            rows.append(Row("3", f"page {_DEEP} by {sort} against page 2", ratio(firsts, deeps), 1.5, detail=detail))
    return rows


def _p95(server: Product, scale: Scale, sort: str, cursor: str) -> float:
    request = get(f"{server.url}/packages?sort={sort}&limit=50&cursor={cursor}", server.token)
    load = press(server.url, [request], clients=1, seconds=scale.seconds)
    _require_good(load)
    return load.percentile_ms(0.95)


def _walk(server: Product, sort: str) -> str:
    """The cursor of the 10,000th page of 50, or of the last; the way there goes in pages of 100."""
    cursor = None
    for _ in range(_DEEP // 2):
        following = _page(server, sort, cursor, limit=100)["next_cursor"]
        if following is None:
            break
        cursor = following
    return str(cursor)


def _page(server: Product, sort: str, cursor: str | None, *, limit: int = 50) -> dict[str, Any]:
    url = f"{server.url}/packages?sort={sort}&limit={limit}" + (f"&cursor={cursor}" if cursor else "")
    with urllib.request.urlopen(urllib.request.Request(url, headers={"X-Authorization": server.token})) as answer:
        page: dict[str, Any] = json.load(answer)
    return page


def _search(server: Product, **query: str) -> bytes:
    return post(f"{server.url}/packages", server.token, json.dumps([query]).encode())


def _ask(server: Product, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.database_url().replace("+psycopg", "")) as db:
        return db.execute(statement.encode()).fetchall()


def _require_good(load: Load) -> None:
    if load.failures or not load.latencies_ms:
        raise RuntimeError(f"{load.failures} requests failed")
