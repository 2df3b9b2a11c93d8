"""A model of the hub without a package: which of its files are read, and what is no evidence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import Hub
from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources.budget import Budget
from weighhouse.sources.cache import FolderCache
from weighhouse.sources.files import PackageFiles
from weighhouse.sources.hub import HubSource
from weighhouse.sources.hub_answers import HubFile
from weighhouse.sources.hub_package import OnlyHub, hub_package, small_files


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def source(hub: Hub, tmp_path: Path) -> Iterator[HubSource]:
    cache = FolderCache(tmp_path)
    with HubSource(endpoint=hub.url, token=None, cache=cache, budget=Budget()) as source:
        yield source


def _listed(*paths: str, size_bytes: int = 10) -> list[HubFile]:
    return [HubFile(path, size_bytes, None, "0" * 40) for path in paths]


def test_a_license_a_configuration_and_results_are_worth_a_question_each() -> None:
    listed = _listed(
        "README.md",
        "COPYING",
        "LICENSE",
        "vendor/LICENSE",
        "config.json",
        "adapter_config.json",
        "all_results.json",
        ".eval_results/a.yaml",
        "model.safetensors",
    )
    assert [file.path for file in small_files(listed)] == [
        "COPYING",
        "adapter_config.json",
        "config.json",
        ".eval_results/a.yaml",
    ]
    assert [file.path for file in small_files(_listed("config.json", "sub/eval_results.json"))] == [
        "config.json",
        "sub/eval_results.json",
    ]
    assert small_files(_listed("LICENSE", "config.json", size_bytes=2_000_000)) == []


def test_the_files_read_as_the_hub_has_them(hub: Hub, source: HubSource) -> None:
    hub.add_model("acme/tiny", {"README.md": "# Tiny", "LICENSE": "MIT, as it were", "config.json": '{"a": "ä"}'})
    found = hub_package(source, "acme/tiny")
    files = PackageFiles(found.files, found.read)
    assert [file.path for file in files.all] == ["LICENSE", "config.json"]
    assert files.text("config.json") == '{"a": "ä"}'
    assert files.read_at("LICENSE", 5, 2) == b"as"


def test_files_that_are_not_for_us_are_as_good_as_not_listed(hub: Hub, source: HubSource) -> None:
    hub.add_model("acme/gated", {"README.md": "# Gated", "LICENSE": "own terms"}, gated=True)
    assert list(hub_package(source, "acme/gated").files) == []


def test_a_file_that_could_not_be_had_is_missing_when_it_is_asked_for(hub: Hub, source: HubSource) -> None:
    hub.add_model("acme/tiny", {"LICENSE": "MIT"})
    hub.fail("LICENSE", status=500)
    found = hub_package(source, "acme/tiny")
    with pytest.raises(Missing) as missing:
        PackageFiles(found.files, found.read).text("LICENSE")
    assert missing.value.reason is Reason.UNREACHABLE


def test_a_model_that_is_not_there_is_no_evidence_and_not_a_model_without_a_card(hub: Hub, source: HubSource) -> None:
    hub.tokens["known"] = "someone"
    hub.add_model("acme/bare", {"config.json": "{}"})
    with HubSource(endpoint=hub.url, token="known", cache=FolderCache(Path("/dev/null")), budget=Budget()) as asked:
        assert OnlyHub(asked).card("acme/bare") == ""
        assert list(hub_package(asked, "acme/gone").files) == []
        with pytest.raises(Missing) as missing:
            OnlyHub(asked).card("acme/gone")
    assert missing.value.reason is Reason.NO_EVIDENCE
