"""A model that people really use, weighed with every source there: its hub, its code, its reviews, its data and its parent."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import forge as forges
from tests.conftest import Server, new_place, server_at
from tests.doors.rest import Account, publish, register
from tests.flows.test_real_model import model, pytestmark  # noqa: F401 - a fixture, and what skips without the model
from tests.forge import Forge, Pull, Reviewed
from tests.git_server import Made, needs_git
from tests.hub_server import Hub

NAME = "sentence-transformers/all-MiniLM-L6-v2"
PARENT = "nreimers/MiniLM-L6-H384-uncased"
CODE_URL = "https://github.com/acme/sentence-transformers"
_DATASET_CARD = """---
license: mit
task_categories: [sentence-similarity]
language: [en]
size_categories: [100K<n<1M]
---
# Sentence compression

## Dataset description
Pairs of a sentence and its compression, taken from news articles of the years 2010 to 2013 and checked by hand.

## Data fields
Each row has `set`, a list of two sentences: the long one first, then the short one.

## Collection
Headlines and first sentences were aligned automatically, pairs under a similarity were dropped, and a sample of 10,000
was read by two people, who agreed on 96 % of them. No personal data besides the names of public figures.
"""
_TRAIN = "import torch\n\n\ndef train(model: torch.nn.Module) -> None:\n    torch.optim.AdamW(model.parameters())\n"


def _recent(days_ago: int) -> int:
    return int((datetime.now(UTC) - timedelta(days=days_ago)).timestamp())


def _fill_forge(forge: Forge) -> None:
    code: dict[str | bytes, str | bytes | None] = {
        "train.py": _TRAIN,
        "sentences.py": "".join(f"\n\ndef step_{n}(value: int) -> int:\n    return value + {n}\n" for n in range(40)),
        "tests/test_sentences.py": "from sentences import step_1\n\n\ndef test_step() -> None:\n    assert step_1(1) == 2\n",
        "requirements.txt": "torch==2.1\n",
        ".github/workflows/tests.yml": "jobs:\n  test:\n    steps:\n      - run: pytest\n",
    }
    commits = [
        Made(code, at=_recent(40)),
        Made({"more.py": "x = 1\n" * 60}, "Bob Roe", "bob@example.org", _recent(20)),
        Made({"third.py": "y = 1\n" * 40}, "Cy Fox", "cy@example.org", _recent(10)),
        Made({"more.py": "x = 2\n" * 60}, "Bob Roe", "bob@example.org", _recent(5)),
        Made({"third.py": "y = 2\n" * 40}, "Cy Fox", "cy@example.org", _recent(3)),
    ]
    project = forge.add("acme/sentence-transformers", commits)
    project.contributors = {"ann": 1, "bob": 1, "cy": 1}
    merged = datetime.now(UTC).isoformat()
    project.pulls = [
        Pull(1, project.commits[1], [Reviewed("cy")], author="bob", commit_authors=["bob"], merged_at=merged)
    ]


@pytest.fixture(scope="module")
def sources(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:  # noqa: F811
    """The settings of a server whose hub and GitHub are the test's, with all that the model has there."""
    with Hub() as hub, forges.running(tmp_path_factory.mktemp("forge")) as forge:
        _fill_forge(forge)
        # To those without a token the hub does not say which data sets are not there.
        hub.tokens = {"hf_t": "weighhouse"}
        hub.add_model(NAME, model, downloads=90_000_000, likes=4_000, pipeline_tag="sentence-similarity")
        for dataset in ("flax-sentence-embeddings/stackexchange_xml", "embedding-data/simple-wiki"):
            hub.add_dataset(
                dataset, {"README.md": _DATASET_CARD, "train.jsonl": '{"set": ["a", "b"]}\n'}, downloads=9000
            )
        yield {
            "WEIGHHOUSE_HF_ENDPOINT": hub.url,
            "WEIGHHOUSE_HF_TOKEN": "hf_t",
            "WEIGHHOUSE_GITHUB_API_URL": forge.url,
            "WEIGHHOUSE_GITHUB_TOKEN": "t",
            "WEIGHHOUSE_EVALUATION_WAIT_SECONDS": "120",
        }


@pytest.fixture(scope="module")
def informed(
    request: pytest.FixtureRequest, sources: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that reaches every source."""
    with server_at(new_place(request), tmp_path_factory.mktemp("informed") / "data", **sources) as running:
        yield running


@pytest.fixture(scope="module")
def weighed(informed: Server, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:  # noqa: F811
    """The metadata of the model, uploaded after a small parent."""
    someone: Account = register(informed, "search", "upload")
    packed = shutil.make_archive(str(tmp_path_factory.mktemp("model") / "model"), "zip", model)
    with informed.client() as admin, someone.client as client:
        # The parent's name belongs to somebody else's namespace: an admin brings it.
        publish(admin, PARENT, "1.0.0", files={"README.md": "---\nlicense: mit\n---\n# MiniLM\n\nA small BERT.\n"})
        form = {"name": NAME, "version": "2.0.0", "code_url": CODE_URL, "model_url": f"https://huggingface.co/{NAME}"}
        with open(packed, "rb") as file:
            answer = client.post("/package", data=form, files={"file": ("model.zip", file)}, timeout=300)
        assert answer.status_code == 201, answer.text
        shown = client.get(f"/package/{answer.json()['package_id']}/metadata")
    body: dict[str, Any] = shown.json()
    return body


@needs_git
def test_every_metric_is_conclusive(weighed: dict[str, Any]) -> None:
    details = weighed["metric_details"]
    assert len(details) == 11
    open_questions = {name: one for name, one in details.items() if one["status"] == "inconclusive"}
    assert open_questions == {}
    assert weighed["status"] == "evaluated"
    assert weighed["coverage"] == 1.0
    assert weighed["metrics"]["net_score"] == weighed["net_low"] == weighed["net_high"]


@needs_git
def test_the_scores_come_from_the_sources(weighed: dict[str, Any]) -> None:
    metrics = weighed["metrics"]
    # Ann made three of the five files, and two people committed twice: 0.7 * (1 - 2 ** -1) + 0.3 * 2 / 5.
    assert metrics["bus_factor"] == 0.47
    # One of five changesets was reviewed.
    assert 0 < metrics["reviewedness"] < 0.5
    assert metrics["dataset_quality"] > 0
    assert metrics["code_quality"] > 0
    assert [parent["name"] for parent in weighed["parents"]] == [PARENT]
    assert metrics["tree_score"] is not None


@needs_git
def test_the_card_shows_every_score(informed: Server, weighed: dict[str, Any]) -> None:
    environment = os.environ | {"WEIGHHOUSE_SERVER": informed.url, "WEIGHHOUSE_TOKEN": informed.admin_token}
    command = [sys.executable, "-m", "weighhouse", "show", NAME]
    card = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    for name, score in weighed["metrics"].items():
        if name in weighed["metric_details"] and score is not None:
            assert any(name in line and f"{score:.2f}" in line for line in card.splitlines()), name
    print(card)
