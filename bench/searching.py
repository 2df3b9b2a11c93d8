"""Rows 1 to 3: reading and searching a catalogue."""

import json
import random
import statistics
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg

from bench.load import Load, get, post, press
from bench.results import Row, Scale
from bench.servers import Product, product, reference

_CLIENTS = 8


def read_rates(catalogue: Path, scale: Scale) -> list[Row]:
    """Row 1: requests a second against a bare application that reads the same rows."""
    with product(catalogue) as server, reference(server.database_url(), scale.work) as bare:
        ids = _sample(server, "SELECT id FROM packages WHERE verdict <> 'unsafe' ORDER BY md5(id::text) LIMIT 2000")
        described = _rates(
            scale,
            lambda: press(bare, [get(f"{bare}/package/{one}") for one in ids], clients=_CLIENTS, seconds=scale.seconds),
            lambda: press(
                server.url,
                [get(f"{server.url}/package/{one}/metadata", server.token) for one in ids],
                clients=_CLIENTS,
                seconds=scale.seconds,
            ),
        )
        texts = ["bert", "squad", "llama-7b", "instruct", "large"]
        found = _rates(
            scale,
            lambda: press(
                bare, [get(f"{bare}/packages?name={text}") for text in texts], clients=_CLIENTS, seconds=scale.seconds
            ),
            lambda: press(
                server.url, [_search(server, name=text) for text in texts], clients=_CLIENTS, seconds=scale.seconds
            ),
        )
    return [
        _rate_row("1a", "GET /package/{id}/metadata", described),
        _rate_row("1b", "POST /packages, 50 rows by substring", found),
    ]
