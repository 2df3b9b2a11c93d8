"""The command that scans files of this machine."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import payloads
from weighhouse.doors.cli.main import tree


def run(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(tree, ["scan", *map(str, words)])
    return result.exit_code, result.stdout


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "README.md").write_text("# A card\n")
    (tmp_path / "deep" / "model.pt").write_bytes(payloads.torch_zip(payloads.running_pickle()))
    (tmp_path / "other.xyz").write_bytes(bytes(range(255, 1, -1)))
    return tmp_path


def test_a_folder_is_scanned_whole_with_reasons_and_places(model: Path) -> None:
    code, shown = run(model)
    assert code == 1
    assert f"unsafe      {model / 'deep' / 'model.pt'}" in shown
    assert "unsafe: The pickle imports posix.system, which runs commands. (archive/data.pkl, byte 40)" in shown
    assert shown.endswith("3 files: unsafe.\n")


@pytest.mark.parametrize(("name", "code"), [("README.md", 0), ("other.xyz", 3), ("deep/model.pt", 1)])
def test_the_exit_code_says_the_verdict(model: Path, name: str, code: int) -> None:
    assert run(model / name)[0] == code


def test_json_is_one_object_a_file(model: Path) -> None:
    code, shown = run(model / "README.md", model / "deep", "--json")
    assert code == 1
    first, second = map(json.loads, shown.splitlines())
    assert first == {"path": str(model / "README.md"), "verdict": "safe", "reasons": []}
    assert second["verdict"] == "unsafe"
    [reason] = [one for one in second["reasons"] if one["level"] == "unsafe"]
    assert (reason["kind"], reason["position"], reason["inner_path"]) == ("pickle-import", 40, "archive/data.pkl")


def test_a_path_that_is_not_there_is_not_understood(tmp_path: Path) -> None:
    assert run(tmp_path / "nowhere")[0] == 2
