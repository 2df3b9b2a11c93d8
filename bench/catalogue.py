"""A catalogue of a realistic registry, straight into the tables of a migrated database.

Rows go in by `COPY`, in the order of their upload, several processes at once. The schema is the migrations' own and
nothing of it is dropped. Foreign keys are not checked while rows come in (each row is made to fit), and all indexes are
filled at once afterwards, by `REINDEX`.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from bench.records import evaluation_row, metric_rows
from bench.words import LICENSES, Name, Words
from weighhouse.app import App
from weighhouse.registry.accounts import ensure_admin
from weighhouse.rules.lookalikes import lookalike_key, swapped_key
from weighhouse.rules.names import PackageName
from weighhouse.rules.versions import is_prerelease, version_key
from weighhouse.settings import Settings
from weighhouse.store import embedded
from weighhouse.store.cluster import single_user, unprivileged
from weighhouse.store.database import migrate

# Beyond this many packages only the newest have the records of an evaluation: a row of `metrics` each would
# double the time it takes to fill a million, and no search reads them.
EVALUATED = 20_000
_CHUNK = 5_000
_FIRST_DAY = datetime(2023, 1, 1, tzinfo=UTC)
_SPAN_SECONDS = 3 * 365 * 86_400
_VERSIONS = (1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10)
# While a catalogue is made, nothing is written twice and nobody tidies up; a server that runs on it has none of this.
_HASTY = {"wal_level": "minimal", "max_wal_senders": "0", "autovacuum": "off"}

_COLUMNS = {
    "taken_versions": "name_key, version, manifest_sha256, taken_at",
    "packages": "id, name, name_key, version, version_key, is_prerelease, description, license, license_key, model_url, "
    "model_key, dataset_url, code_url, size_bytes, files_count, manifest_sha256, uploader_id, uploaded_at, status, "
    "verdict, net_score, evaluation_id",
    "package_texts": "package_id, name, description, card",
    "blobs": "sha256, size_bytes, crc32",
    "files": "package_id, path, sha256, size_bytes, component, verdict",
    "download_counts": "package_id, downloads",
    "lineage": "package_id, parent_key, parent_name, relationship_type, named_in",
    "evaluations": "id, package_id, job_id, as_of, metrics_version, evidence_digest, net_score, coverage, net_low, "
    "net_high, weights, latency_ms",
    "metrics": "evaluation_id, metric, version, status, score, reason_code, reasons, inputs, method, sources, latency_ms",
}


@dataclass(frozen=True)
class Version:
    """A package version of the catalogue."""

    name: Name
    number: int
    place: int
    """Its place in the order of uploads."""
    uploaded_at: datetime

    @property
    def text(self) -> str:
        return f"1.{self.number}.0" if self.number < 9 else f"2.{self.number - 9}.0-rc.1"

    @property
    def id(self) -> UUID:
        """A version 7 UUID of its upload."""
        milliseconds = int(self.uploaded_at.timestamp() * 1000)
        tail = int.from_bytes(sha256(f"{self.place}".encode()).digest()[:10], "big")
        value = (milliseconds << 80) | tail
        return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62))


def versions_of(words: Words, count: int) -> list[Version]:
    """`count` package versions, oldest first."""
    chance = random.Random(3)
    drawn: list[tuple[float, Name, int]] = []
    for name in words.names(count // 3 + 1):
        first = chance.random()
        for number in range(chance.choice(_VERSIONS)):
            drawn.append((first + (1 - first) * number / 12 + chance.random() / 1000, name, number))
    if len(drawn) < count:
        raise ValueError("The names have too few versions")
    chosen = sorted(drawn[:count], key=lambda row: row[0])
    return [
        Version(
            name, number, place, _FIRST_DAY + timedelta(seconds=int(at * _SPAN_SECONDS), microseconds=place % 1_000_000)
        )
        for place, (at, name, number) in enumerate(chosen)
    ]


def make_catalogue(data_dir: Path, count: int, *, processes: int = 2) -> None:
    """A data directory whose registry holds `count` package versions; nothing runs on it when this returns."""
    with _running(data_dir) as url:
        migrate(url)
        app = App.open(Settings(_env_file=None, database_url=url, data_dir=data_dir))
        ensure_admin(app)
        app.close()
    cluster, prefix = data_dir / "postgres", unprivileged()
    # Only a superuser may leave foreign keys unchecked; the registry's own user is none, and becomes none again.
    hasty = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in _HASTY.items()]
    single_user(cluster, prefix, "ALTER ROLE weighhouse SUPERUSER", *hasty)
    with _running(data_dir) as url:
        fill(url.replace("+psycopg", ""), count, processes=processes)
    single_user(cluster, prefix, "ALTER ROLE weighhouse NOSUPERUSER", "ALTER SYSTEM RESET ALL")


def fill(url: str, count: int, *, processes: int = 2) -> None:
    """Puts `count` package versions into the database of a registry at its first start.

    Args:
        url: libpq's form, of a superuser.
    """
    with psycopg.connect(url, autocommit=True) as db, ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        row = db.execute("SELECT id FROM users WHERE is_default").fetchone()
        assert row is not None
        owner: UUID = row[0]
        db.execute("SET session_replication_role = replica")
        indexes = _set_aside_indexes(db)
        _copy_names(db, owner, count)
        for share in [pool.submit(_fill_share, url, owner, count, n, processes) for n in range(processes)]:
            share.result()
        # Triggers do not fire meanwhile; this is what the one of `packages` would have counted, in the order of uploads.
        db.execute(
            "INSERT INTO listed_names (name_key, versions) SELECT name_key, count(*) FROM packages "
            "WHERE verdict <> 'unsafe' GROUP BY name_key ORDER BY min(uploaded_at)"
        )
        for index in [pool.submit(_fill_index, url, name) for name in indexes]:
            index.result()
        db.execute("VACUUM (ANALYZE)")
        db.execute("CHECKPOINT")


@contextmanager
def _running(data_dir: Path) -> Iterator[str]:
    running = embedded.start(data_dir)
    try:
        yield running.url
    finally:
        running.stop()


def _set_aside_indexes(db: psycopg.Connection[Any]) -> list[str]:
    """Has inserts leave the indexes of all tables to come to `REINDEX`, which makes them ready again; the largest first."""
    rows = db.execute(
        "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid::regclass::text = ANY(%s) "
        "RETURNING indexrelid::regclass::text",
        [[*_COLUMNS, "package_names", "listed_names"]],
    )
    return sorted((name for (name,) in rows), key=lambda name: "package_texts" not in name)


def _fill_index(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET maintenance_work_mem = '1GB'")
        db.execute(f"REINDEX INDEX {name}".encode())


def _copy_names(db: psycopg.Connection[Any], owner: UUID, count: int) -> None:
    names = {version.name.number: version.name.text for version in versions_of(Words(), count)}
    columns = "name_key, name, owner_id, lookalike_key, swapped_key"
    with db.cursor() as cursor, cursor.copy(f"COPY package_names ({columns}) FROM STDIN".encode()) as copy:
        for text in names.values():
            name = PackageName(text)
            copy.write_row((text.lower(), text, owner, lookalike_key(name), swapped_key(name)))


def _fill_share(url: str, owner: UUID, count: int, share: int, shares: int) -> None:
    """Every `shares`-th chunk of the catalogue."""
    words = Words()
    versions = versions_of(words, count)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET session_replication_role = replica")
        db.execute("SET synchronous_commit = off")
        for start in range(share * _CHUNK, count, shares * _CHUNK):
            rows: dict[str, list[Sequence[Any]]] = defaultdict(list)
            for version in versions[start : start + _CHUNK]:
                _add_rows(rows, words, version, owner, is_evaluated=version.place >= count - EVALUATED)
            with db.transaction(), db.cursor() as cursor:
                for table, columns in _COLUMNS.items():
                    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
                        for row in rows[table]:
                            copy.write_row(row)


def _add_rows(
    rows: dict[str, list[Sequence[Any]]], words: Words, version: Version, owner: UUID, *, is_evaluated: bool
) -> None:
    chance = random.Random(version.place)
    name, text, package_id = version.name.text, version.text, version.id
    key = name.lower()
    license_id = chance.choices(LICENSES, weights=(40, 20, 10, 6, 6, 3, 3, 2))[0] if chance.random() < 0.9 else None
    score = round(chance.betavariate(4, 3), 2) if chance.random() < 0.9 else None
    verdict = chance.choices(("safe", "unscanned", "suspicious", "unsafe"), weights=(950, 35, 12, 3))[0]
    files = _files(version)
    evaluation_id = UUID(int=package_id.int ^ 0xFFFF) if is_evaluated else None
    manifest = sha256(f"{name} {text}".encode()).digest()
    description = " ".join(words.some(chance, 18)).capitalize() + "."
    size_bytes = sum(file[2] for file in files)
    rows["taken_versions"].append((key, text, manifest, version.uploaded_at))
    urls = (
        f"https://huggingface.co/{name}",
        key,
        f"https://huggingface.co/datasets/{name}",
        f"https://github.com/{name}",
    )
    said = (package_id, name, key, text, version_key(text), is_prerelease(text), description, license_id, license_id)
    state = (owner, version.uploaded_at, "evaluated", verdict, score, evaluation_id)
    rows["packages"].append((*said, *urls, size_bytes, len(files), manifest, *state))
    # Most cards are a few lines, some are papers: a median of four sentences, and one in a hundred has ten times that.
    sentences = 1 + int(random.Random(version.name.number).lognormvariate(1.25, 1.05))
    rows["package_texts"].append((package_id, name, description, words.card(version.name, text, sentences)))
    rows["download_counts"].append((package_id, int(chance.paretovariate(0.7)) - 1))
    for path, digest, size, component, is_new in files:
        if is_new:
            rows["blobs"].append((digest, size, int.from_bytes(digest[:4], "big")))
        rows["files"].append((package_id, path, digest, size, component, verdict))
    if chance.random() < 0.3:
        rows["lineage"].append(
            (package_id, f"base/{version.name.family}", f"base/{version.name.family}", "finetune", "card")
        )
    if evaluation_id is not None:
        rows["evaluations"].append(evaluation_row(evaluation_id, package_id, version.uploaded_at, score))
        rows["metrics"].extend(metric_rows(evaluation_id, chance, name))


def _files(version: Version) -> list[tuple[str, bytes, int, str, bool]]:
    """Path, digest, size and component of each file, and whether no version before has it.

    The weights change with every third version, the rest of the files stays; the card is new each time.
    """
    name, number = version.name.text, version.number
    found = []
    for path, component, every in (
        ("README.md", "other", 1),
        ("model.safetensors", "weights", 3),
        ("config.json", "other", 100),
        ("tokenizer.json", "other", 100),
        ("train.py", "code", 5),
        ("data/train.parquet", "datasets", 100),
    )[: 2 + version.name.number % 5]:
        digest = sha256(f"{name} {path} {number // every}".encode()).digest()
        size_bytes = 1000 + int.from_bytes(digest[:5], "big") ** 2 % 10_000_000_000
        found.append((path, digest, size_bytes, component, number % every == 0))
    return found
