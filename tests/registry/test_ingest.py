"""Ingest: what is let in, what is refused and leaves nothing, and what an interruption costs."""

import dataclasses
import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text

from tests.conftest import eventually
from tests.hub_server import Hub
from tests.registry.shelf import admin, caller, rows, upload
from weighhouse.app import App
from weighhouse.registry.evaluate import run_evaluation
from weighhouse.registry.housekeeping import sweep
from weighhouse.registry.ingest import ModelRefused, ModelUnknown, UpstreamAway, Wanted, Watch, ingest_model
from weighhouse.registry.packages import delete_package, describe_package
from weighhouse.registry.record import NameOwned, VersionExists
from weighhouse.registry.upload import UploadTooLarge
from weighhouse.rules.paths import BadPath
from weighhouse.rules.permissions import Permission, PermissionMissing
from weighhouse.store.tables import AuditEntry, Blob, Evaluation, PackageFile

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "docs" / "examples" / "tiny-sentiment"
BARE: dict[str, str | bytes] = {"README.md": "# Nothing much\n", "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def app(registry: App, hub: Hub) -> App:
    """A registry whose upstream is the test's hub, and which is content with what any model has."""
    return with_settings(registry, hf_endpoint=hub.url)


@pytest.fixture
def lenient(app: App) -> App:
    """The same without thresholds: for tests about transport."""
    return with_settings(app, gate_thresholds=dict.fromkeys(app.settings.gate_thresholds, 0.0))


class Counting(Watch):
    """Keeps how many bytes arrived each time."""

    def __init__(self, seen: list[int]) -> None:
        self._seen = seen

    def moved(self, count: int) -> None:
        self._seen.append(count)


def with_settings(app: App, **changed: Any) -> App:
    return dataclasses.replace(app, settings=app.settings.model_copy(update=changed))


def add_good_model(hub: Hub, repo_id: str = "acme/tiny-sentiment") -> str:
    """A model that passes, worked on by three people."""
    now = datetime.now(UTC)
    people = [(f"user{number % 3}", now - timedelta(days=10 + number)) for number in range(9)]
    return hub.add_model(repo_id, MODEL, commits=people)


def blobs_on_disk(app: App) -> list[str]:
    root = app.settings.data_dir / "store" / "blobs"
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def staged_on_disk(app: App) -> list[Path]:
    return list((app.settings.data_dir / "store" / "staging").iterdir())


def count(app: App, table: Any) -> int:
    with app.db.read() as tx:
        return tx.scalar(select(func.count()).select_from(table)) or 0


def test_a_good_model_becomes_a_package_that_is_weighed_already(app: App, hub: Hub) -> None:
    sha = add_good_model(hub)
    who = caller(app, "ada")
    seen: list[int] = []
    ingested = ingest_model(app, who, Wanted("https://huggingface.co/acme/tiny-sentiment"), watch=Counting(seen))
    package = ingested.recorded.package
    assert (package.name, package.version, package.source_revision) == ("acme/tiny-sentiment", sha[:12], sha)
    assert (package.status, package.license, package.model_key) == ("evaluated", "mit", "acme/tiny-sentiment")
    assert ingested.decision.outcome == "hold"
    assert [one.metric for one in ingested.decision.unknown] == ["reviewedness"]
    contents = {path.relative_to(MODEL).as_posix(): path.read_bytes() for path in MODEL.rglob("*") if path.is_file()}
    assert sum(seen) == sum(map(len, contents.values()))
    with app.db.read() as tx:
        description = describe_package(tx, who, package.id)
    assert {file["path"]: file["sha256"] for file in description.files} == {
        path: hashlib.sha256(content).hexdigest() for path, content in contents.items()
    }
    assert len(description.metrics) == 11
    assert package.net_score is not None
    assert package.net_score > 0.7
    assert not staged_on_disk(app)


def test_a_refused_model_leaves_nothing_and_says_what_would_fix_it(app: App, hub: Hub) -> None:
    hub.add_model("acme/bare", BARE)
    # A blob that another package holds is not the refused model's to take away.
    upload(app, caller(app, "bob"), "other", files={"a.md": "# Nothing much\n"})
    before = blobs_on_disk(app)
    with pytest.raises(ModelRefused) as refused:
        ingest_model(app, caller(app, "ada"), Wanted("acme/bare"))
    error = refused.value
    assert {"license", "performance_claims", "dataset_and_code_score"} <= set(error.failing)
    shown = [one["metric"] for one in error.metrics]
    assert shown[: len(error.failing)] == error.failing
    assert len(shown) == 11
    assert all(
        one["fix"] and one["reasons"] and one["score"] < one["threshold"] for one in error.metrics[: len(error.failing)]
    )
    assert error.scores["license"] == 0.0
    assert [one["field"] for one in error.errors] == error.failing
    assert "license is 0.00 and 0.50 is asked for" in error.detail
    assert blobs_on_disk(app) == before
    assert not staged_on_disk(app)
    assert [package.name for package in rows(app)] == ["other"]
    sweep(app, grace=timedelta())
    assert blobs_on_disk(app) == before
    with app.db.read() as tx:
        [entry] = tx.scalars(select(AuditEntry).where(AuditEntry.action == "refuse model"))
    assert entry.subject == "model acme/bare"


def test_operators_decide_how_high_the_gate_is(app: App, hub: Hub) -> None:
    add_good_model(hub)
    who = caller(app, "ada")
    strict = with_settings(app, gate_thresholds=app.settings.gate_thresholds | {"license": 1.01})
    with pytest.raises(ModelRefused, match="license is 1"):
        ingest_model(strict, who, Wanted("acme/tiny-sentiment"))
    with pytest.raises(ModelRefused, match="reviewedness"):
        ingest_model(with_settings(app, gate_refuse_hold=True), who, Wanted("acme/tiny-sentiment"))
    with pytest.raises(ModelRefused, match="asks for 99%"):
        ingest_model(with_settings(app, gate_min_coverage=0.99), who, Wanted("acme/tiny-sentiment"))
    assert rows(app) == []


def test_a_second_evaluation_asks_one_conditional_question(app: App, hub: Hub) -> None:
    add_good_model(hub)
    package = ingest_model(app, caller(app, "ada"), Wanted("acme/tiny-sentiment")).recorded.package
    hub.forget_requests()
    run_evaluation(app, package.id, job_id=77)
    assert [one.status for one in hub.requests] == [304]
    assert hub.requests[0].headers["If-None-Match"]
    with app.db.read() as tx:
        digests = tx.scalars(select(Evaluation.evidence_digest).order_by(Evaluation.id)).all()
    assert len(digests) == 2
    assert digests[0] == digests[1]


def test_the_same_commit_twice_is_known_before_a_byte_is_fetched(lenient: App, hub: Hub) -> None:
    hub.add_model("acme/bare", BARE)
    who, stranger = caller(lenient, "ada"), caller(lenient, "bob")
    ingest_model(lenient, who, Wanted("acme/bare"))
    hub.forget_requests()
    with pytest.raises(VersionExists):
        ingest_model(lenient, who, Wanted("acme/bare"))
    with pytest.raises(NameOwned):
        ingest_model(lenient, stranger, Wanted("acme/bare", version="2"))
    with pytest.raises(PermissionMissing):
        ingest_model(lenient, caller(lenient, "eve", Permission.SEARCH), Wanted("acme/bare"))
    assert not hub.asked("/resolve/")


def test_name_version_and_revision_can_be_said(lenient: App, hub: Hub) -> None:
    first = hub.add_model("acme/bare", BARE)
    hub.add_model("acme/bare", BARE | {"new.txt": "later"})
    who = caller(lenient, "ada")
    by_address = ingest_model(lenient, who, Wanted(f"{hub.url}/acme/bare/tree/{first}", name="mine", version="1.0.0"))
    assert (by_address.recorded.package.name, by_address.recorded.package.version) == ("mine", "1.0.0")
    assert by_address.revision == first
    by_field = ingest_model(lenient, who, Wanted("acme/bare", revision="main", name="mine", version="2.0.0"))
    assert by_field.recorded.package.files_count == 3


def test_the_same_weights_come_once_unless_all_are_wanted(lenient: App, hub: Hub) -> None:
    files = BARE | {
        "pytorch_model.bin": b"x" * 10,
        "sub/pytorch_model.bin": b"alone",
        "model.gguf": b"GGUF" + b"\0" * 60,
        "tf_model.h5": b"y" * 12,
    }
    hub.add_model("acme/twice", files)
    who = caller(lenient, "ada")
    once = ingest_model(lenient, who, Wanted("acme/twice", version="1"))
    assert once.left_out == ["pytorch_model.bin", "tf_model.h5"]
    assert once.recorded.package.files_count == 4
    assert not hub.asked("tf_model.h5")
    both = ingest_model(lenient, who, Wanted("acme/twice", version="2", all_weights=True))
    assert (list(both.left_out), both.recorded.package.files_count) == ([], 6)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(lenient: App, hub: Hub) -> None:
    content = secrets.token_bytes(3_000_000)
    hub.add_model("acme/big", {"README.md": "x", "model.bin": content})
    hub.fail("^/cdn/.*model.bin", times=2, cut_after=1_000_000)
    package = ingest_model(lenient, caller(lenient, "ada"), Wanted("acme/big")).recorded.package
    assert [one.headers["Range"] for one in hub.asked("^/cdn/")] == [None, "bytes=1000000-", "bytes=2000000-"]
    assert hashlib.sha256(content).hexdigest() in blobs_on_disk(lenient)
    assert package.size_bytes == 3_000_001


def test_a_second_attempt_fetches_only_what_the_first_one_lacked(lenient: App, hub: Hub) -> None:
    first, second = secrets.token_bytes(400_000), secrets.token_bytes(300_000)
    hub.add_model("acme/two", {"a.bin": first, "b.bin": second})
    hub.fail("^/cdn/.*b.bin", status=503, headers={"Retry-After": "60"}, delay_seconds=0.5)
    who = caller(lenient, "ada")
    with pytest.raises(UpstreamAway):
        ingest_model(lenient, who, Wanted("acme/two"))
    assert rows(lenient) == []
    assert blobs_on_disk(lenient) == [hashlib.sha256(first).hexdigest()]
    assert not staged_on_disk(lenient)
    assert count(lenient, Blob) == 0
    hub.mend()
    hub.forget_requests()
    package = ingest_model(lenient, who, Wanted("acme/two")).recorded.package
    assert package.size_bytes == 700_000
    assert not hub.asked("a.bin")
    assert len(hub.asked("b.bin")) == 2
    sweep(lenient, grace=timedelta())
    assert len(blobs_on_disk(lenient)) == count(lenient, PackageFile) == 2


_INGEST = """
import sys
from pathlib import Path
from tests.registry.shelf import caller
from weighhouse.app import App
from weighhouse.registry.ingest import Wanted, ingest_model
from weighhouse.settings import Settings

url, folder, hub = sys.argv[1:]
app = App.open(Settings(_env_file=None, database_url=url, data_dir=Path(folder), hf_endpoint=hub))
ingest_model(app, caller(app, "killed"), Wanted("acme/two"))
"""


def test_a_killed_process_leaves_what_it_had_to_the_next(lenient: App, hub: Hub) -> None:
    first = secrets.token_bytes(400_000)
    hub.add_model("acme/two", {"a.bin": first, "b.bin": b"b" * 300_000})
    hub.fail("^/cdn/.*b.bin", times=1, piece_seconds=0.05)
    settings = lenient.settings
    arguments = [str(settings.database_url), str(settings.data_dir), hub.url]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, "-c", _INGEST, *arguments], env=environment, cwd=ROOT) as process:
        try:
            eventually(lambda: blobs_on_disk(lenient) and hub.asked("b.bin"))
        finally:
            process.kill()
    assert blobs_on_disk(lenient) == [hashlib.sha256(first).hexdigest()]
    hub.forget_requests()
    package = ingest_model(lenient, caller(lenient, "ada"), Wanted("acme/two")).recorded.package
    assert package.size_bytes == 700_000
    assert not hub.asked("a.bin")
    sweep(lenient, grace=timedelta())
    assert len(blobs_on_disk(lenient)) == 2
    assert not staged_on_disk(lenient)


def test_what_an_attempt_left_is_swept_when_nobody_tries_again(lenient: App, hub: Hub) -> None:
    hub.add_model("acme/two", {"a.bin": b"a" * 1000, "b.bin": b"b" * 500})
    hub.fail("b.bin", status=404)
    with pytest.raises(UpstreamAway):
        ingest_model(lenient, caller(lenient, "ada"), Wanted("acme/two"))
    sweep(lenient, grace=timedelta())
    assert blobs_on_disk(lenient) == []


@pytest.mark.parametrize("path", ["model.bin", "notes.txt"])
def test_bytes_that_are_not_those_that_were_promised_are_not_taken(lenient: App, hub: Hub, path: str) -> None:
    hub.add_model("acme/bad", {"README.md": "x", path: b"content that matters"})
    hub.fail(rf"^/(cdn|acme)/.*{path}", flip=True)
    with pytest.raises(UpstreamAway, match="digest"):
        ingest_model(lenient, caller(lenient, "ada"), Wanted("acme/bad"))
    assert rows(lenient) == []
    assert hashlib.sha256(b"content that matters").hexdigest() not in blobs_on_disk(lenient)
    assert not staged_on_disk(lenient)


@pytest.mark.parametrize(
    ("pattern", "fault", "error"),
    [
        ("^/api/models", {"status": 429, "headers": {"Retry-After": "60"}}, UpstreamAway),
        ("^/api/models", {"status": 503, "headers": {"Retry-After": "0"}}, UpstreamAway),
        ("^/api/models", {"status": 200, "body": b"<html>"}, UpstreamAway),
        ("^/api/models", {"status": 404}, ModelUnknown),
        ("^/api/models", {"status": 401, "headers": {"X-Error-Code": "RepoNotFound"}}, ModelUnknown),
        ("/resolve/", {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, ModelUnknown),
        ("/resolve/", {"status": 429, "headers": {"Retry-After": "60"}}, UpstreamAway),
        ("/resolve/", {"status": 302, "headers": {"Location": "http://10.0.0.1/x"}}, ModelUnknown),
    ],
)
def test_a_hub_that_does_not_give_it_is_said_to_be_away_or_closed(
    lenient: App, hub: Hub, pattern: str, fault: dict[str, Any], error: type[Exception]
) -> None:
    hub.add_model("acme/bare", BARE)
    hub.fail(pattern, **fault)
    with pytest.raises(error):
        ingest_model(lenient, caller(lenient, "ada"), Wanted("acme/bare"))
    assert rows(lenient) == []


def test_a_gated_model_comes_with_a_token_that_may_read_it(lenient: App, hub: Hub) -> None:
    hub.tokens = {"hf_reader": "reader"}
    hub.add_model("acme/gated", BARE, gated=True, readers=frozenset({"reader"}))
    who = caller(lenient, "ada")
    with pytest.raises(ModelUnknown, match="HF_TOKEN"):
        ingest_model(lenient, who, Wanted("acme/gated"))
    assert ingest_model(with_settings(lenient, hf_token=SecretStr("hf_reader")), who, Wanted("acme/gated"))


def test_a_model_that_no_package_can_hold_is_refused_before_it_is_fetched(lenient: App, hub: Hub) -> None:
    who = caller(lenient, "ada")
    hub.add_model("acme/big", {"model.bin": b"x" * 2000})
    with pytest.raises(UploadTooLarge):
        ingest_model(with_settings(lenient, max_upload_bytes=1999), who, Wanted("acme/big"))
    hub.add_model("acme/twins", {"A.txt": "1", "a.txt": "2"})
    with pytest.raises(BadPath):
        ingest_model(lenient, who, Wanted("acme/twins"))
    hub.add_model("acme/climbing", {"x/../../a.txt": "1"})
    with pytest.raises(BadPath):
        ingest_model(lenient, who, Wanted("acme/climbing"))
    with pytest.raises(ModelUnknown):
        ingest_model(lenient, who, Wanted("https://example.org/acme/big"))
    assert not hub.asked("/resolve/")


def test_a_hub_that_sends_more_than_it_said_is_stopped(lenient: App, hub: Hub) -> None:
    hub.add_model("acme/bare", BARE)
    hub.fail("/resolve/.*README.md", endless=True)
    with pytest.raises(UpstreamAway, match="longer"):
        ingest_model(lenient, caller(lenient, "ada"), Wanted("acme/bare"))
    assert not staged_on_disk(lenient)


def test_content_that_is_here_already_is_not_fetched(lenient: App, hub: Hub) -> None:
    weights = secrets.token_bytes(50_000)
    who = caller(lenient, "ada")
    package = upload(lenient, who, "mine", files={"model.bin": weights}).package
    hub.add_model("acme/same", {"README.md": "x", "model.bin": weights})
    other = ingest_model(lenient, who, Wanted("acme/same")).recorded.package
    assert not hub.asked("model.bin")
    delete_package(lenient, admin(lenient), package.id)
    assert hashlib.sha256(weights).hexdigest() in blobs_on_disk(lenient)
    assert other.size_bytes == 50_001


def test_an_outage_during_the_weighing_is_weighed_again_later(lenient: App, hub: Hub) -> None:
    hub.add_model("acme/bare", BARE)
    hub.fail("/commits/", status=503, headers={"Retry-After": "60"})
    ingested = ingest_model(lenient, caller(lenient, "ada"), Wanted("acme/bare"))
    assert "bus_factor" in [one.metric for one in ingested.decision.unknown]
    with lenient.db.read() as tx:
        [(name, scheduled_at)] = tx.execute(text("SELECT task_name, scheduled_at FROM procrastinate_jobs")).all()
    assert name == "look again"
    assert timedelta(minutes=50) < scheduled_at - datetime.now(UTC) < timedelta(minutes=70)
