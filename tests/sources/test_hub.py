"""The hub as a source: what it says, what it keeps to itself, and how little it is asked."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.hub_server import Hub
from tests.sources.asking import Memory, reason_of
from weighhouse.rules.evidence import DatasetFacts, HubModel, Parent, Reason
from weighhouse.sources.budget import Budget
from weighhouse.sources.gather import PackageSources
from weighhouse.sources.hub import HubSource, NotThere
from weighhouse.sources.hub_parents import with_hub_facts

CARD = "---\nlicense: apache-2.0\npipeline_tag: text-classification\nlibrary_name: transformers\n---\n# Tiny\n"
DATASET_CARD = "---\nlicense: mit\n---\n# Birds\n" + "word " * 60
FACTS = {
    "baseModels": {"relation": "adapter", "models": [{"_id": "1", "id": "base/one"}, {"id": "../../etc"}]},
    "safetensors": {"parameters": {"F32": 25}, "total": 25},
    "gguf": {"total": 40, "architecture": "llama"},
    "evalResults": [
        {
            "filename": "a.yaml",
            "verified": True,
            "data": {"dataset": {"id": "glue", "task_id": "accuracy"}, "value": 0.9},
        },
        {"filename": "b.yaml", "error": "not valid"},
        {"data": {"dataset": {"id": "squad"}, "value": 3}},
        {"data": {"dataset": {"id": "squad", "task_id": "f1"}, "value": 88, "verified": True, "verifyToken": "x"}},
    ],
    "widgetData": [{"text": "hello"}],
    "config": {"model_type": "bert"},
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def source_of(hub: Hub, cache: Memory | None = None, **options: Any) -> HubSource:
    budget = options.pop("budget", None) or Budget()
    options = {"token": None} | options
    return HubSource(endpoint=hub.url, cache=cache or Memory(), budget=budget, **options)


def why(facts: DatasetFacts) -> Reason | None:
    return facts.missing.reason if facts.missing else None


def test_the_facts_of_a_model_are_what_the_hub_says(hub: Hub) -> None:
    sha = hub.add_model("acme/tiny", {"README.md": CARD, "model.safetensors": b"x" * 100, "config.json": "{}"}, **FACTS)
    with source_of(hub) as source:
        assert source.model("acme/tiny") == HubModel(
            id="acme/tiny",
            sha=sha,
            pipeline_tag="text-classification",
            library_name="transformers",
            license="apache-2.0",
            base_models=("base/one",),
            file_sizes={"README.md": len(CARD), "config.json": 2, "model.safetensors": 100},
            parameters=25,
            has_widget_examples=True,
            gguf_parameters=40,
            base_relation="adapter",
            config={"model_type": "bert"},
        )
        assert source.card("acme/tiny") == CARD
        assert source.text("acme/tiny", "config.json") == "{}"
        assert source.text("acme/tiny", "nowhere.json") is None


def test_only_the_hub_says_what_it_verified_and_a_bad_entry_hides_no_other(hub: Hub) -> None:
    hub.add_model("acme/tiny", {"README.md": CARD}, **FACTS)
    with source_of(hub) as source:
        claims = source.claims("acme/tiny")
    assert [(one.metric, one.dataset, one.value, one.verified, one.origin) for one in claims] == [
        ("accuracy", "glue", 0.9, True, "hub"),
        ("f1", "squad", 88, False, "hub"),
    ]


def test_a_second_evaluation_asks_one_conditional_question_a_source_and_fetches_nothing(hub: Hub) -> None:
    hub.add_model("acme/tiny", {"README.md": CARD, "model.safetensors": b"x"}, **FACTS)
    hub.add_dataset("acme/birds", {"README.md": DATASET_CARD}, croissant={"recordSet": [1]})
    cache = Memory()

    def look() -> list[object]:
        with source_of(hub, cache) as source:
            facts = source.dataset("acme/birds", "card")
            return [source.model("acme/tiny"), source.card("acme/tiny"), source.history("acme/tiny"), facts]

    first = look()
    assert len(hub.requests) == 7
    hub.forget_requests()
    assert look() == first
    assert sorted((one.path, one.status) for one in hub.requests) == [
        ("/api/datasets/acme/birds", 304),
        ("/api/models/acme/tiny", 304),
    ]
    assert all(one.headers["If-None-Match"] for one in hub.requests)
    hub.add_model("acme/tiny", {"README.md": CARD + "more"}, **FACTS)
    assert look() != first


def test_a_dataset_is_public_gated_dead_or_not_known(hub: Hub) -> None:
    hub.tokens = {"hf_reader": "reader", "hf_other": "other"}
    hub.add_dataset("a/public", {"README.md": DATASET_CARD, "x.csv": "a,b"}, croissant={"recordSet": []})
    hub.add_dataset("a/gated", {"README.md": DATASET_CARD}, gated=True, croissant={})
    hub.add_dataset("a/closed", {"README.md": DATASET_CARD}, gated=True, open_card=False, readers=frozenset({"reader"}))
    hub.add_dataset("a/private", {"README.md": "x"}, private=True, readers=frozenset({"reader"}))
    hub.add_dataset("a/bare", {"x.csv": "a"})
    with source_of(hub, token="hf_other") as source:
        public = source.dataset("a/public", "given")
        assert (public.state, public.card, public.croissant, public.missing) == (
            "public",
            DATASET_CARD,
            {"recordSet": []},
            None,
        )
        assert public.file_sizes == {"README.md": len(DATASET_CARD), "x.csv": 3}
        gated = source.dataset("a/gated", "card")
        assert (gated.state, gated.card, gated.croissant, gated.missing) == ("gated", DATASET_CARD, None, None)
        closed = source.dataset("a/closed", "card")
        assert (closed.state, closed.card) == ("gated", "")
        assert why(closed) is Reason.FORBIDDEN
        assert source.dataset("a/nothing", "card").state == "dead"
        assert source.dataset("a/private", "card").state == "dead"
        bare = source.dataset("a/bare", "link")
        assert (bare.state, bare.card, bare.missing) == ("public", "", None)
    with source_of(hub, token="hf_reader") as source:
        assert source.dataset("a/closed", "card").card == DATASET_CARD
        assert source.dataset("a/private", "card").state == "public"
    with source_of(hub) as source:
        # Without a token a hub does not tell the missing from the private.
        unknown = source.dataset("a/nothing", "card")
        assert unknown.state == "unknown"
        assert why(unknown) is Reason.NO_TOKEN


def test_no_address_of_a_user_is_ever_fetched(hub: Hub) -> None:
    with source_of(hub) as source:
        page = source.dataset(f"{hub.url}/datasets/a/b", "given")
        assert (page.state, why(page)) == ("unknown", Reason.DATASET_HOST_UNSUPPORTED)
    assert hub.requests == []


def test_a_model_that_is_not_there_counts_as_not_given(hub: Hub) -> None:
    hub.tokens = {"hf_other": "other"}
    with source_of(hub, token="hf_other") as source:
        with pytest.raises(NotThere):
            source.model("acme/tiny")
        assert reason_of(lambda: source.model("acme/tiny")) is Reason.NO_EVIDENCE
        assert source.card("acme/tiny") == ""
        assert source.claims("acme/tiny") == ()


@pytest.mark.parametrize(
    ("fault", "reason", "calls"),
    [
        ({"status": 401}, Reason.NO_TOKEN, 1),
        ({"status": 403}, Reason.NO_TOKEN, 1),
        ({"status": 401, "headers": {"X-Error-Code": "GatedRepo"}}, Reason.FORBIDDEN, 1),
        ({"status": 429, "headers": {"Retry-After": "0"}}, Reason.RATE_LIMITED, 3),
        ({"status": 429, "headers": {"Retry-After": "60"}}, Reason.RATE_LIMITED, 1),
        ({"status": 503, "headers": {"Retry-After": "0"}}, Reason.UNREACHABLE, 3),
        ({"status": 418}, Reason.UNREACHABLE, 1),
        ({"status": 200, "body": b"not json"}, Reason.MALFORMED, 1),
        ({"status": 200, "body": b"[" * 100_000}, Reason.MALFORMED, 1),
        ({"status": 200, "body": b'{"id":"acme/tiny"}'}, Reason.MALFORMED, 1),
        ({"status": 200, "body": b'{"sha":7,"siblings":{"a":1}}'}, Reason.MALFORMED, 1),
        ({"status": 200, "body": b"x", "headers": {"Content-Encoding": "gzip"}}, Reason.MALFORMED, 1),
        ({"status": 302, "headers": {"Location": "/api/models/acme/tiny"}}, Reason.UNREACHABLE, 4),
        ({"status": 302, "headers": {"Location": "http://169.254.169.254/x"}}, Reason.FORBIDDEN, 1),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, Reason.UNREACHABLE, 1),
        ({"endless": True}, Reason.TOO_LARGE, 1),
    ],
)
def test_what_the_hub_does_not_say_is_missing_and_never_an_absence(
    hub: Hub, fault: dict[str, Any], reason: Reason, calls: int
) -> None:
    hub.add_model("acme/tiny", {"README.md": CARD})
    hub.fail("^/api/models/acme/tiny", **fault)
    with source_of(hub) as source:
        assert reason_of(lambda: source.model("acme/tiny")) is reason
        assert reason_of(lambda: source.card("acme/tiny")) is reason
        assert reason_of(lambda: source.claims("acme/tiny")) is reason
    if not fault.get("endless"):
        assert len(hub.requests) == calls


def test_a_short_wait_is_waited_for(hub: Hub) -> None:
    hub.add_model("acme/tiny", {"README.md": CARD})
    hub.fail("^/api/models/acme/tiny$", times=1, status=429, headers={"Retry-After": "1"})
    started = time.monotonic()
    with source_of(hub) as source:
        assert source.model("acme/tiny").id == "acme/tiny"
    assert 1 <= time.monotonic() - started < 20


def test_a_token_goes_to_the_hub_and_to_nobody_else(hub: Hub) -> None:
    hub.tokens = {"hf_secret": "me"}
    hub.add_model("acme/tiny", {"README.md": CARD})
    with Hub() as elsewhere:
        hub.fail("^/api/models/acme/tiny$", status=302, headers={"Location": f"{elsewhere.url}/api/models/acme/tiny"})
        with source_of(hub, token="hf_secret") as source:
            # Another port of this machine is not the operator's hub.
            assert reason_of(lambda: source.model("acme/tiny")) is Reason.FORBIDDEN
        assert elsewhere.requests == []
    assert hub.requests[0].headers["Authorization"] == "Bearer hf_secret"


_LOOK = """
import sys
from weighhouse.sources.budget import Budget
from weighhouse.sources.cache import NoCache
from weighhouse.sources.hub import HubSource

with HubSource(endpoint=sys.argv[1], token=None, cache=NoCache(), budget=Budget()) as source:
    assert source.model("acme/tiny").license == "apache-2.0"
    source.card("acme/tiny")
"""


def test_nothing_in_the_users_home_is_read_or_written(hub: Hub, tmp_path: Path) -> None:
    hub.add_model("acme/tiny", {"README.md": CARD})
    (tmp_path / "token").write_text("hf_of_the_user")
    home = {
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "HF_TOKEN": "hf_of_the_user",
    }
    path = os.pathsep.join(one for one in sys.path if one)
    subprocess.run([sys.executable, "-c", _LOOK, hub.url], env=os.environ | home | {"PYTHONPATH": path}, check=True)
    assert [one.name for one in tmp_path.rglob("*")] == ["token"]
    assert [one.headers["Authorization"] for one in hub.requests] == [None, None, None]


def test_a_hub_that_is_away_costs_one_try() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        budget = Budget()
        started = time.monotonic()
        with HubSource(endpoint=url, token=None, cache=Memory(), budget=budget) as source:
            for _ in range(3):
                assert reason_of(lambda: source.model("acme/tiny")) is Reason.UNREACHABLE
                assert reason_of(lambda: source.history("acme/other")) is Reason.UNREACHABLE
                facts = source.dataset("a/b", "card")
                assert facts.state == "unknown"
                assert why(facts) is Reason.UNREACHABLE
        assert budget.calls_made == 1
        assert time.monotonic() - started < 20


def test_calls_and_seconds_of_an_evaluation_end(hub: Hub) -> None:
    hub.add_model("acme/tiny", {"README.md": CARD})
    with source_of(hub, budget=Budget(calls=1)) as source:
        assert reason_of(lambda: source.model("acme/tiny")) is Reason.TIMEOUT
    assert len(hub.requests) == 1
    with source_of(hub, budget=Budget(seconds=0)) as source:
        assert reason_of(lambda: source.model("acme/tiny")) is Reason.TIMEOUT
    assert len(hub.requests) == 1


def test_a_hub_that_drips_is_left_in_time(hub: Hub) -> None:
    hub.add_model("acme/tiny", {"README.md": CARD + "x" * 5000})
    hub.fail("README.md", piece_seconds=0.05)
    started = time.monotonic()
    with source_of(hub, budget=Budget(seconds=1)) as source:
        assert reason_of(lambda: source.card("acme/tiny")) is Reason.TIMEOUT
    assert time.monotonic() - started < 20


def test_commits_come_oldest_first_over_pages_without_the_hubs_own(hub: Hub) -> None:
    people = [("system", datetime(2025, 1, 1, tzinfo=UTC))]
    people += [(f"user{number % 3}", datetime(2025, 2, 1 + number % 28, tzinfo=UTC)) for number in range(200)]
    sha = hub.add_model("acme/tiny", {"run.py": "x = 1\n"}, commits=people)
    with source_of(hub) as source:
        history = source.history("acme/tiny")
    assert len(history.commits) == 150
    assert history.commits[-1].author == "user1"
    assert history.source.ref == f"acme/tiny@{sha} commits"
    assert list(history.paths) == ["run.py"]
    assert len(hub.asked("/commits/")) == 3


def test_a_named_revision_is_the_one_that_is_read(hub: Hub) -> None:
    first = hub.add_model("acme/tiny", {"README.md": "first"})
    hub.add_model("acme/tiny", {"README.md": "second"})
    with source_of(hub, revisions={"Acme/Tiny": first}) as source:
        assert source.card("acme/tiny") == "first"
        assert source.revision("acme/tiny").sha == first
    with source_of(hub, revisions={"acme/tiny": "0" * 40}) as source, pytest.raises(NotThere):
        source.revision("acme/tiny")


def test_the_files_of_a_revision_carry_what_proves_them(hub: Hub) -> None:
    hub.add_model("acme/tiny", {"README.md": "x", "w.safetensors": b"y"})
    with source_of(hub) as source:
        small, large = source.revision("acme/tiny").files
    assert (small.path, small.size_bytes, small.sha256) == ("README.md", 1, None)
    assert small.git_sha1 == "c1b0730e0133447badcfd47fd144e254807b06e1"
    assert large.sha256 == "a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa"


def test_an_outage_of_the_croissant_document_is_not_its_absence(hub: Hub) -> None:
    hub.add_dataset("a/b", {"README.md": DATASET_CARD}, croissant={})
    hub.fail("/croissant$", status=429, headers={"Retry-After": "60"})
    with source_of(hub) as source:
        facts = source.dataset("a/b", "card")
    assert (facts.state, facts.card) == ("public", DATASET_CARD)
    assert why(facts) is Reason.RATE_LIMITED


def test_parents_that_the_registry_does_not_know_get_the_hubs_license_and_size(hub: Hub) -> None:
    hub.add_model("base/one", {"README.md": CARD, "model.safetensors": b"x" * 1000})
    hub.add_model("base/adapter", {"adapter_model.safetensors": b"x"})
    with source_of(hub) as source:
        found = with_hub_facts(
            source,
            [
                Parent("base/one", "adapter", "the card"),
                Parent("base/adapter", "adapter", "the card"),
                Parent("base/three", "finetune", "the card"),
            ],
        )
    assert [(one.license, one.weights_bytes) for one in found] == [("apache-2.0", 1000), (None, None), (None, None)]
    assert hub.asked("base/three") == []


def test_a_package_without_files_is_weighed_by_what_the_hub_says(hub: Hub) -> None:
    files: dict[str, bytes | str] = {
        "README.md": "---\nlicense: mit\ndatasets: [acme/birds]\n---\n# T\n",
        "adapter_config.json": '{"base_model_name_or_path": "base/one"}',
        "adapter_model.safetensors": b"x" * 10,
    }
    hub.add_model("acme/tiny", files)
    hub.add_model("base/one", {"model.safetensors": b"x" * 50})
    hub.add_dataset("acme/birds", {"README.md": DATASET_CARD})
    with source_of(hub) as source:
        evidence = PackageSources(
            name="tiny",
            files=[],
            read=lambda *_: b"",
            look_up=lambda references: [Parent(one.name, one.relation, one.named_in) for one in references],
            model_url=f"{hub.url}/acme/tiny",
            hub=source,
            hub_endpoint=hub.url,
        )
        assert evidence.card().startswith("---\nlicense: mit")
        [parent] = evidence.parents()
        assert (parent.name, parent.relation, parent.weights_bytes) == ("base/one", "adapter", 50)
        assert [(one.id, one.state) for one in evidence.datasets()] == [("acme/birds", "public")]
        kinds = [one.kind for one in evidence.sources()]
    assert kinds == ["hub", "hub", "package"]
