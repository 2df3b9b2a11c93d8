"""How much one model of the batch command asks of the world: within the calls of an evaluation, and nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forge as forges
from tests.forge import Forge, Pull, Reviewed
from tests.git_server import Made, needs_git
from tests.hub_server import Hub
from weighhouse.doors.cli.batch_environment import Environment
from weighhouse.doors.cli.batch_run import Batch, Weighed
from weighhouse.rules.metrics.result import Status
from weighhouse.rules.url_file import Line
from weighhouse.sources.budget import EVALUATION_CALLS
from weighhouse.sources.cache import FolderCache

pytestmark = needs_git

CARD = (
    """---
license: mit
datasets: [acme/one, acme/two, acme/three, acme/four]
base_model: [base/one, base/two, base/three]
base_model_relation: adapter
---
# Tiny
"""
    + "It sorts letters. " * 40
)
DATASET = "---\nlicense: mit\n---\n# Words\n" + "Words of letters. " * 40
PEOPLE = 3


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub on which everything is there that can be asked for."""
    with Hub() as running:
        running.add_model(
            "acme/tiny",
            {
                "README.md": CARD,
                "LICENSE": "SPDX-License-Identifier: MIT\n" + "Permission is hereby granted. " * 20,
                "adapter_config.json": '{"base_model_name_or_path": "base/one"}',
                "mergekit_config.yaml": "models: [{model: base/two}]\n",
                "config.json": '{"_name_or_path": "base/three"}',
                "tokenizer.json": "{}",
                ".eval_results/a.yaml": "- dataset: {id: a/b, task_id: default}\n  value: 3\n",
                "adapter_model.safetensors": b"\0" * 1000,
            },
        )
        for name in ("one", "two", "three"):
            running.add_model(f"base/{name}", {"model.safetensors": b"\0" * 1000})
        for name in ("one", "two", "three", "four"):
            running.add_dataset(
                f"acme/{name}", {"README.md": DATASET, "data/train.csv": "x"}, croissant={"recordSet": []}
            )
        yield running


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    """A GitHub with a repository of 300 changesets."""
    with forges.running(tmp_path / "forge", token="t") as running:
        made = [Made({f"file{n % 20}.py": f"x = {n}\n"}, f"P {n % PEOPLE}", f"p{n % PEOPLE}@e.org") for n in range(301)]
        project = running.add("acme/code", made)
        project.pulls += [Pull(1, project.commits[-1], [Reviewed("bob")])]
        project.contributors = {"ann": 3}
        yield running


def weigh(hub: Hub, forge: Forge, cache: Path) -> Weighed:
    """The model with everything, as one line of a file."""
    line = Line(1, "tiny", f"{hub.url}/acme/tiny", None, "https://github.com/acme/code")
    environment = Environment(hf_endpoint=hub.url, github_api_url=forge.url, github_token="t")
    (weighed,) = Batch([line], environment, FolderCache(cache)).weigh_all(at_once=1)
    assert isinstance(weighed, Weighed)
    return weighed


def calls(forge: Forge) -> list[str]:
    """The questions to GitHub's API; git's own are the clone."""
    return [asked.path for asked in forge.github.requests if ".git/" not in asked.path]


def test_a_model_with_everything_takes_no_more_calls_than_an_evaluation_has(
    hub: Hub, forge: Forge, tmp_path: Path
) -> None:
    weighed = weigh(hub, forge, tmp_path / "cache")
    missing = {name: one.reasons for name, one in weighed.results.items() if one.status is Status.INCONCLUSIVE}
    assert missing.keys() <= {"tree_score", "code_quality"}, missing
    assert len(calls(forge)) == 7
    assert 20 <= len(hub.requests) + len(calls(forge)) <= EVALUATION_CALLS


def test_a_code_repository_that_cannot_be_read_leaves_room_for_its_substitutes(
    hub: Hub, forge: Forge, tmp_path: Path
) -> None:
    forge.projects["acme/code"].facts["clone_url"] = f"{forge.url}/acme/gone.git"
    weighed = weigh(hub, forge, tmp_path / "cache")
    assert weighed.results["bus_factor"].method == "contributors"
    assert weighed.results["dataset_quality"].status is Status.OK
    # Of GitHub's REST interface up to 60 calls more may be made; the others are as many as ever.
    assert len(hub.requests) <= EVALUATION_CALLS - 8


def test_an_unchanged_model_is_asked_about_once_a_source_and_nothing_is_fetched_again(
    hub: Hub, forge: Forge, tmp_path: Path
) -> None:
    first = weigh(hub, forge, tmp_path / "cache")
    hub.forget_requests()
    forge.github.requests.clear()
    second = weigh(hub, forge, tmp_path / "cache")
    assert {name: one.score for name, one in second.results.items()} == {
        name: one.score for name, one in first.results.items()
    }
    assert {one.status for one in hub.requests} == {304}
    assert all(one.headers["If-None-Match"] for one in hub.requests)
    paths = [one.path for one in hub.requests]
    assert len(paths) == len(set(paths))
    assert calls(forge) == ["/repos/acme/code"]
    assert "if-none-match" in forge.github.requests[0].headers
    # Where its head is, and no more: nothing is cloned.
    assert [asked.path for asked in forge.github.requests if ".git/" in asked.path and asked.method == "POST"] in (
        [],
        ["/acme/code.git/git-upload-pack"],
    )
