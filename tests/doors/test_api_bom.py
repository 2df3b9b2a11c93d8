"""Bills of materials, against the schema that CycloneDX publishes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.conftest import Server
from tests.doors.rest import Account, fresh, post_package, problem, publish, sha256, small_model

ORIGIN = {
    "model_url": "https://huggingface.co/acme/model",
    "dataset_url": "https://huggingface.co/datasets/acme/data",
    "code_url": "https://github.com/acme/code",
    "description": "A model that knows a few words",
}


def require_valid(text: str) -> None:
    """Fails with what is wrong when this is no CycloneDX document."""
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert found is None, found


def properties(owner: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in owner["properties"]}


@pytest.fixture(scope="module")
def parent(uploader: Account) -> str:
    """Name of a package that others are made from."""
    name = fresh("parent")
    publish(uploader.client, name)
    return name


def test_a_bill_names_files_license_parents_data_and_scores(uploader: Account, parent: str) -> None:
    card = f"---\nlicense: mit\nbase_model:\n- {parent}\n- somebody/else\n---\n# A model\n"
    files = small_model() | {"README.md": card}
    package_id = post_package(uploader.client, fresh(), files=files, fields=ORIGIN).json()["package_id"]
    answer = uploader.client.get(f"/package/{package_id}/bom")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.cyclonedx+json; version=1.6"
    require_valid(answer.text)
    bill = answer.json()
    shown = uploader.client.get(f"/package/{package_id}/metadata").json()
    assert {part["name"]: part["hashes"][0]["content"] for part in bill["components"]} == {
        path: sha256(text if isinstance(text, bytes) else text.encode()) for path, text in files.items()
    }
    assert [part["name"] for part in bill["components"] if part["type"] == "data"] == ["train.csv"]
    model = bill["metadata"]["component"]
    assert (model["name"], model["version"], model["type"]) == (shown["name"], "1.0.0", "machine-learning-model")
    assert model["licenses"] == [{"expression": "MIT"}]
    assert {(one["name"], one.get("version")) for one in model["pedigree"]["ancestors"]} == {
        (parent, "1.0.0"),
        ("somebody/else", None),
    }
    assert properties(model)["weighhouse:manifest_sha256"] == shown["manifest_sha256"]
    data = model["modelCard"]["modelParameters"]["datasets"]
    assert [one["contents"]["url"] for one in data] == [ORIGIN["dataset_url"]]
    figures = {one["type"]: one["value"] for one in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    scores = {name: score for name, score in shown["metrics"].items() if score is not None and name != "ramp_up"}
    assert figures == {f"weighhouse:{name}": str(score) for name, score in scores.items()}
    reasons = [one["value"] for one in model["modelCard"]["properties"] if one["name"] == "weighhouse:license:reason"]
    assert reasons == shown["metric_details"]["license"]["reasons"]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("apache-2.0", {"expression": "Apache-2.0"}),
        ("llama3.1", {"license": {"name": "llama3.1"}}),
        ("a license of our own", {"license": {"name": "a license of our own"}}),
    ],
)
def test_a_license_is_an_expression_where_it_has_a_name_of_spdx(
    uploader: Account, stated: str, expected: dict[str, Any]
) -> None:
    files = small_model() | {"README.md": f"---\nlicense: {stated}\n---\n# A model\n"}
    package_id = publish(uploader.client, files=files)
    answer = uploader.client.get(f"/package/{package_id}/bom")
    require_valid(answer.text)
    assert answer.json()["metadata"]["component"]["licenses"] == [expected]


def test_a_package_that_says_nothing_has_a_bill_too(uploader: Account) -> None:
    package_id = publish(uploader.client, files={"données/weights 1.bin": b"x"})
    answer = uploader.client.get(f"/package/{package_id}/bom")
    require_valid(answer.text)
    assert "licenses" not in answer.json()["metadata"]["component"]


def test_a_bill_that_a_client_has_is_not_sent_again_until_something_changed(uploader: Account) -> None:
    name = fresh()
    package_id = post_package(uploader.client, name, files=small_model()).json()["package_id"]
    address = f"/package/{package_id}/bom"
    first = uploader.client.get(address)
    again = uploader.client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert uploader.client.get(address).content == first.content
    other = post_package(uploader.client, name, "1.0.1", files=small_model()).json()["package_id"]
    assert uploader.client.get(f"/package/{other}/bom").headers["etag"] != first.headers["etag"]


def test_a_bill_lists_more_files_than_metadata_does(uploader: Account) -> None:
    files = {f"data/{number:04}.txt": str(number) for number in range(1200)}
    package_id = publish(uploader.client, files=files)
    assert len(uploader.client.get(f"/package/{package_id}/bom").json()["components"]) == 1200


def test_a_bill_is_for_those_who_may_see_the_package(uploader: Account, powerless: Account) -> None:
    package_id = publish(uploader.client)
    problem(powerless.client.get(f"/package/{package_id}/bom"), 403, "permission-missing")
    problem(uploader.client.get(f"/package/{'0' * 8}-0000-7000-8000-{'0' * 12}/bom"), 404, "package-not-found")


def test_the_command_line_writes_it_to_a_file(server: Server, uploader: Account, tmp_path: Path) -> None:
    name = fresh()
    publish(uploader.client, name)
    target = tmp_path / "bill.cdx.json"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "weighhouse",
            "bom",
            name,
            "-o",
            target,
            "--server",
            server.url,
            "--token",
            uploader.token,
        ],
        check=True,
        timeout=60,
    )
    require_valid(target.read_text("utf-8"))
    assert json.loads(target.read_text("utf-8"))["metadata"]["component"]["name"] == name
