"""Evidence of a package from its own files: what is there, what is absent, what could not be had."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.rules.evidence import AS_OF
from tests.sources.asking import reason_of
from tests.sources.test_files import Blobs, manifest_of
from weighhouse.rules.evidence import (
    Changesets,
    CodeTree,
    DatasetFacts,
    Evidence,
    History,
    HubModel,
    Missing,
    Parent,
    Reason,
    Source,
)
from weighhouse.rules.metrics import tree_score
from weighhouse.rules.metrics.result import Status
from weighhouse.rules.parents import ParentRef
from weighhouse.sources.gather import NoHub, NoRepositories, PackageSources

MODEL_URL = "https://huggingface.co/acme/tiny"
CARD = "---\nlicense: mit\n---\n# Tiny\n"


def unknown(references: Sequence[ParentRef]) -> Sequence[Parent]:
    return [Parent(one.name, one.relation, one.named_in) for one in references]


def sources_of(contents: Mapping[str, bytes | str], name: str = "tiny", **facts: Any) -> PackageSources:
    encoded = {path: content.encode() if isinstance(content, str) else content for path, content in contents.items()}
    facts = {"look_up": unknown} | facts
    return PackageSources(name=name, files=manifest_of(encoded), read=Blobs(encoded).read, **facts)


def test_it_is_evidence() -> None:
    evidence: Evidence = sources_of({"a.txt": "x"})
    assert [file.path for file in evidence.files()] == ["a.txt"]
    assert (evidence.text("a.txt"), evidence.read_at("a.txt", 0, 9)) == ("x", b"x")


@pytest.mark.parametrize(
    ("model_url", "model_id"),
    [
        (None, "tiny"),
        ("", "tiny"),
        (MODEL_URL + "/tree/main/", "acme/tiny"),
        ("acme/tiny", "acme/tiny"),
        ("https://example.org/models/acme/tiny", "acme/tiny"),
        ("http://[", "tiny"),
    ],
)
def test_the_model_id_comes_from_the_address(model_url: str | None, model_id: str) -> None:
    assert sources_of({}, model_url=model_url).model_id == model_id


@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (["README.md", "docs/README.md"], "README.md"),
        (["readme.MD"], "readme.MD"),
        (["m/b/README.md", "z/README.md"], "z/README.md"),
    ],
)
def test_the_card_is_the_nearest_readme(paths: list[str], chosen: str) -> None:
    assert sources_of({path: f"# {path}" for path in paths}).card() == f"# {chosen}"


def test_a_card_with_odd_bytes_or_too_long_is_still_an_observation() -> None:
    assert sources_of({"README.md": b"# T\xefny"}).card() == "# T\ufffdny"
    assert len(sources_of({"README.md": b"x" * 2_000_000}).card()) == 1024 * 1024


def test_no_card_is_a_fact_without_address_and_an_outage_with_one() -> None:
    assert sources_of({"model.bin": b""}).card() == ""
    assert reason_of(sources_of({"model.bin": b""}, model_url=MODEL_URL).card) is Reason.UNREACHABLE


@pytest.mark.parametrize(
    ("model_url", "reason"),
    [(None, Reason.NO_EVIDENCE), (MODEL_URL, Reason.UNREACHABLE), ("https://example.org/a/b", Reason.HOST_UNSUPPORTED)],
)
def test_the_hub_says_why_it_is_silent(model_url: str | None, reason: Reason) -> None:
    assert reason_of(sources_of({}, model_url=model_url).hub) is reason


def test_bundled_given_named_and_linked_datasets_come_in_this_order() -> None:
    card = "---\ndatasets: [a/named, b/other]\n---\nTrained on [this](https://huggingface.co/datasets/c/linked).\n"
    sources = sources_of(
        {"data/train.csv": "x", "data/README.md": "# Birds", "README.md": card},
        dataset_url="https://huggingface.co/datasets/d/given",
    )
    assert [(one.id, one.named_by, one.state) for one in sources.datasets()] == [
        ("data", "bundled", "bundled"),
        ("d/given", "given", "unknown"),
        ("a/named", "card", "unknown"),
    ]
    assert sources.datasets()[0].card == "# Birds"
    missing = sources.datasets()[1].missing
    assert missing is not None
    assert missing.reason is Reason.UNREACHABLE


def test_datasets_are_named_once_and_links_last() -> None:
    card = "---\ndatasets: a/b\n---\n[x](https://huggingface.co/datasets/A/B) [y](https://huggingface.co/datasets/c/d/tree/main)\n"
    assert [(one.id, one.named_by) for one in sources_of({"README.md": card}).datasets()] == [
        ("a/b", "card"),
        ("c/d", "link"),
    ]


def test_bundled_data_is_grouped_by_folder_with_its_croissant() -> None:
    contents = {
        "datasets/one/a.csv": "xx",
        "datasets/one/load.py": "pass",
        "datasets/two/b.jsonl": "x",
        "datasets/two/croissant.json": '{"recordSet": []}',
        "train.parquet": "xxxx",
        "model.safetensors": "x",
        "vocab.csv": "x",
    }
    found = {one.id: one for one in sources_of(contents).datasets()}
    assert {name: sorted(one.file_sizes) for name, one in found.items()} == {
        "data files of the package": ["train.parquet"],
        "datasets/one": ["datasets/one/a.csv", "datasets/one/load.py"],
        "datasets/two": ["datasets/two/b.jsonl", "datasets/two/croissant.json"],
    }
    assert found["datasets/two"].croissant == {"recordSet": []}


def test_no_dataset_is_a_fact() -> None:
    assert sources_of({"README.md": CARD}).datasets() == ()


def test_code_is_the_packages_own_unless_a_repository_is_given() -> None:
    tree = sources_of({"run.py": "import torch\n", "README.md": CARD}).code()
    assert (tree.origin, list(tree.texts), list(tree.paths)) == ("package", ["run.py"], ["README.md", "run.py"])
    assert sources_of({"README.md": CARD}).code().texts == {}
    given = sources_of({"run.py": "pass"}, code_url="https://github.com/acme/tiny")
    assert reason_of(given.code) is Reason.UNREACHABLE


def test_parents_are_what_the_registry_knows_of_the_names() -> None:
    asked: list[Sequence[ParentRef]] = []

    def look_up(references: Sequence[ParentRef]) -> Sequence[Parent]:
        asked.append(references)
        return [Parent(one.name, one.relation, one.named_in, in_registry=True, net_score=0.8) for one in references]

    sources = sources_of({"config.json": '{"_name_or_path": "a/b"}', "README.md": CARD}, look_up=look_up)
    before = sources.evidence_digest()
    assert [parent.net_score for parent in sources.parents()] == [0.8]
    assert sources.parents() is sources.parents()
    assert [[one.name for one in references] for references in asked] == [["a/b"]]
    assert sources.evidence_digest() != before


def test_no_parent_is_a_fact_only_when_the_files_could_be_read() -> None:
    assert sources_of({"README.md": CARD, "config.json": "{"}).parents() == ()
    too_large: dict[str, bytes | str] = {"README.md": CARD, "config.json": b" " * (1024 * 1024 + 1)}
    assert reason_of(sources_of(too_large).parents) is Reason.TOO_LARGE
    named = too_large | {"adapter_config.json": '{"base_model_name_or_path": "a/b"}'}
    assert [one.name for one in sources_of(named).parents()] == ["a/b"]
    assert reason_of(sources_of({"config.json": "{}"}, model_url=MODEL_URL).parents) is Reason.UNREACHABLE


@pytest.mark.parametrize("path", ["/home/ann/checkpoints/tiny", "../tiny", "acme/tiny", "tiny", "bert"])
def test_a_path_or_the_models_own_id_is_no_parent(path: str) -> None:
    config = json.dumps({"_name_or_path": path})

    def look_up(references: Sequence[ParentRef]) -> Sequence[Parent]:
        """As a registry answers that has no package of that name."""
        return unknown([one for one in references if not one.maybe_local_name])

    evidence = sources_of({"README.md": CARD, "config.json": config}, model_url=MODEL_URL, look_up=look_up)
    result = tree_score.measure(evidence, AS_OF)
    assert (result.status, result.reason_code) == (Status.NOT_APPLICABLE, Reason.NO_PARENTS)


def test_claims_come_from_card_and_evaluation_files() -> None:
    card = (
        "---\nmodel-index:\n- name: x\n  results:\n  - task: {type: t}\n    dataset: {name: d, type: d}\n"
        "    metrics: [{type: f1, value: 1}]\n---\n"
    )
    evaluation = "- dataset: {id: a/b, task_id: default}\n  value: 3\n"
    sources = sources_of({"README.md": card, ".eval_results/x.yaml": evaluation})
    assert [claim.origin for claim in sources.claims()] == ["eval-results", "model-index"]
    assert sources_of({"README.md": CARD}).claims() == []
    assert reason_of(sources_of({"a.bin": b""}, model_url=MODEL_URL).claims) is Reason.UNREACHABLE


class OneModelHub(NoHub):
    """A hub that knows one model and counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def model(self, model_id: str) -> HubModel:
        self.asked.append(model_id)
        return HubModel(model_id, "f" * 40, base_models=("base/one", "acme/tiny"))

    def listed(self, model_id: str) -> HubModel:
        return self.model(model_id)

    def card(self, model_id: str) -> str:
        return f"# {model_id} of the hub"

    def dataset(self, address: str, named_by: Any) -> DatasetFacts:
        return DatasetFacts(address, named_by, "public")


def test_a_hub_fills_the_gaps_once() -> None:
    hub = OneModelHub()
    sources = sources_of({"a.bin": b""}, model_url=MODEL_URL, dataset_url="x/y", hub=hub)
    assert sources.card() == "# acme/tiny of the hub"
    assert [parent.name for parent in sources.parents()] == ["base/one"]
    assert sources.hub().sha == "f" * 40
    assert [one.state for one in sources.datasets()] == ["public"]
    # Once about the model, and once about the parent that this registry knows nothing of.
    assert hub.asked == ["acme/tiny", "base/one"]
    assert Source("hub", "acme/tiny@" + "f" * 40) in sources.sources()


class OneRepository(NoRepositories):
    """Repositories that all hold one empty tree."""

    def tree(self, code_url: str) -> CodeTree:
        return CodeTree("repository", Source("git", f"{code_url}@1"), (), {}, {}, ())


def test_the_digest_changes_with_what_was_seen_and_with_nothing_else() -> None:
    contents = {"README.md": CARD}
    first = sources_of(contents, code_url="https://github.com/a/b", repositories=OneRepository())
    second = sources_of(contents, code_url="https://github.com/a/b", repositories=OneRepository())
    assert first.evidence_digest() == second.evidence_digest() != sources_of({"README.md": "x"}).evidence_digest()
    first.code()
    assert first.evidence_digest() != second.evidence_digest()
    second.code()
    assert first.evidence_digest() == second.evidence_digest()


def test_many_threads_get_one_answer() -> None:
    contents = {
        "README.md": "---\nbase_model: a/b\n---\n# Tiny",
        "config.json": "{}",
        "run.py": "x = 1\n",
        "data/a.csv": "x",
    }
    looked_up: list[int] = []

    def look_up(references: Sequence[ParentRef]) -> Sequence[Parent]:
        looked_up.append(1)
        return unknown(references)

    sources = sources_of(contents, look_up=look_up)
    asks: list[Callable[[], object]] = [
        sources.parents,
        sources.card,
        sources.datasets,
        sources.code,
        sources.claims,
    ] * 8
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda ask: ask(), asks))
    assert looked_up == [1]
    assert answers[0] is answers[5]
    assert sources.undefined_names("print(bird)") == ("bird",)


class OneProject(NoRepositories):
    """Repositories that all have one history and no tree; a name that ends in `gone` is a dead link."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def tree(self, code_url: str) -> CodeTree:
        self.asked.append(code_url)
        if code_url.endswith("gone"):
            raise Missing(Reason.NO_CODE_REPO, "It is not there")
        return CodeTree("repository", Source("git", "a/b@1"), (), {}, {}, ())

    def history(self, code_url: str) -> History:
        self.asked.append(code_url)
        return History(Source("git", "a/b@1"), (), ())

    def changesets(self, code_url: str) -> Changesets:
        self.asked.append(code_url)
        return Changesets(Source("github", "a/b@1 reviews"), ())


def test_people_and_reviews_are_those_of_the_code_repository_asked_once() -> None:
    project = OneProject()
    sources = sources_of({"README.md": CARD}, code_url="https://github.com/a/b", repositories=project)
    assert sources.history() is sources.history()
    assert sources.changesets() is sources.changesets()
    assert len(project.asked) == 2
    assert {Source("git", "a/b@1"), Source("github", "a/b@1 reviews")} <= set(sources.sources())
    assert reason_of(sources.contributors) is Reason.UNREACHABLE


def test_without_addresses_there_is_no_repository() -> None:
    sources = sources_of({"README.md": CARD})
    for ask in (sources.history, sources.contributors, sources.hub_history):
        assert reason_of(ask) is Reason.NO_CODE_REPO
    assert reason_of(sources.changesets) is Reason.NO_GITHUB_REPO
    assert reason_of(sources_of({"a.txt": ""}, model_url=MODEL_URL).hub_history) is Reason.UNREACHABLE


def test_a_dead_link_leaves_the_packages_own_code() -> None:
    sources = sources_of({"run.py": "x = 1\n"}, code_url="https://github.com/a/gone", repositories=OneProject())
    assert (sources.code().origin, list(sources.code().texts)) == ("package", ["run.py"])
    assert reason_of(lambda: sources.linked_code("https://github.com/b/gone")) is Reason.NO_CODE_REPO
    assert sources.linked_code("https://github.com/b/there").origin == "repository"
