"""Metadata, files, evaluations, quarantine."""

from uuid import uuid4

import httpx
import pytest

from tests.conftest import Server, eventually
from tests.doors.rest import Account, fresh, post_package, problem, sha256, small_model, sql
from weighhouse.rules.metrics.net import WEIGHTS


@pytest.fixture(scope="module")
def weighed(uploader: Account) -> dict[str, object]:
    """Metadata of a package that was weighed."""
    answer = post_package(
        uploader.client,
        fresh(),
        files=small_model(),
        fields={
            "description": "A description",
            "model_url": "https://huggingface.co/acme/model",
            "dataset_url": "https://huggingface.co/datasets/acme/data",
            "code_url": "https://github.com/acme/code",
        },
    )
    assert answer.status_code == 201
    metadata: dict[str, object] = uploader.client.get(f"/package/{answer.json()['package_id']}/metadata").json()
    return metadata


def test_metadata_has_the_fields_that_were_promised(weighed: dict[str, object], uploader: Account) -> None:
    promised = (
        "id name version description license size_bytes uploader_id upload_date metrics average_rating metric_details "
        "metrics_version coverage net_low net_high status verdict files components parents model_url dataset_url "
        "code_url downloads ratings"
    )
    assert set(promised.split()) <= weighed.keys()
    assert weighed["uploader_id"] == uploader.user_id
    assert weighed["description"] == "A description"
    assert weighed["license"] == "mit"
    assert weighed["status"] == "evaluated"
    assert weighed["components"] == ["weights", "datasets", "code"]
    assert (weighed["downloads"], weighed["ratings"], weighed["average_rating"]) == (0, 0, None)
    assert weighed["model_url"] == "https://huggingface.co/acme/model"


def test_every_metric_has_its_score_and_its_evidence(weighed: dict[str, object]) -> None:
    metrics, details = weighed["metrics"], weighed["metric_details"]
    assert isinstance(metrics, dict)
    assert isinstance(details, dict)
    assert set(metrics) == {"net_score", "ramp_up", *WEIGHTS}
    assert set(details) == set(WEIGHTS)
    assert metrics["ramp_up"] == metrics["ramp_up_time"]
    for name, record in details.items():
        assert record["metric"] == name
        assert (record["score"] is None) == (record["status"] != "ok")
        assert metrics[name] == record["score"]
        assert record["latency_ms"] >= 1
        assert record["reasons"] or record["status"] == "ok"
    assert "devices" in details["size_score"]["inputs"]


def test_every_file_is_listed_with_its_digest(uploader: Account) -> None:
    files = {f"data/{number:03}.txt": fresh() for number in range(7)} | small_model()
    package_id = post_package(uploader.client, fresh(), files=files).json()["package_id"]
    expected = {path: sha256(text if isinstance(text, bytes) else text.encode()) for path, text in files.items()}
    seen: list[dict[str, object]] = []
    address: str | None = f"/package/{package_id}/files?limit=4"
    while address:
        page = uploader.client.get(address)
        assert page.json()["total"] == len(files)
        seen += page.json()["files"]
        address = page.links["next"]["url"] if page.json()["next_cursor"] else None
    assert [file["path"] for file in seen] == sorted(files)
    assert {file["path"]: file["sha256"] for file in seen} == expected
    assert all(file.keys() == {"path", "size_bytes", "sha256", "component", "verdict", "reasons"} for file in seen)
    shown = uploader.client.get(f"/package/{package_id}/metadata").json()
    assert shown["files"] == seen
    assert shown["size_bytes"] == sum(int(str(file["size_bytes"])) for file in seen)
    for query in ("limit=0", "limit=101", "cursor=%00"):
        problem(uploader.client.get(f"/package/{package_id}/files?{query}"), 422)


def test_a_package_is_weighed_again_and_its_history_kept(uploader: Account, other: Account, reader: Account) -> None:
    package_id = post_package(uploader.client, fresh()).json()["package_id"]
    address = f"/package/{package_id}/evaluations"
    first = uploader.client.get(address).json()["evaluations"]
    assert len(first) == 1
    problem(reader.client.post(f"/package/{package_id}/evaluate"), 403, "permission-missing")
    answer = uploader.client.post(f"/package/{package_id}/evaluate")
    assert answer.status_code == 202
    assert answer.json()["package_id"] == package_id
    assert answer.headers["location"] == f"/package/{package_id}/metadata"
    eventually(lambda: len(reader.client.get(address).json()["evaluations"]) == 2)
    both = reader.client.get(address).json()["evaluations"]
    assert both[1] == first[0]
    assert first[0]["since_previous"] is None
    assert both[0]["since_previous"] == {
        "evaluation_id": first[0]["evaluation_id"],
        "metrics_version": first[0]["metrics_version"],
        "evidence_digest": first[0]["evidence_digest"],
        "method_changed": False,
        "evidence_changed": False,
        "net_score_change": None if first[0]["net_score"] is None else 0.0,
        "metrics": [],
    }
    page = reader.client.get(f"{address}?limit=1")
    assert reader.client.get(page.links["next"]["url"]).json() == {"evaluations": first, "next_cursor": None}
    problem(other.client.post(f"/package/{uuid4()}/evaluate"), 404, "package-not-found")


def test_the_history_tells_what_a_score_changed_with(server: Server, uploader: Account) -> None:
    package_id = post_package(uploader.client, fresh()).json()["package_id"]
    address = f"/package/{package_id}/evaluations"
    (first,) = uploader.client.get(address).json()["evaluations"]
    # As an earlier release, and other evidence, would have recorded it.
    sql(
        server,
        "UPDATE evaluations SET metrics_version = 'wh-metrics/0.9.0', evidence_digest = 'e' WHERE id = %s",
        first["evaluation_id"],
    )
    sql(
        server,
        """UPDATE metrics SET version = 'license/0', score = 0.5, status = 'ok', reasons = '["Narrow terms"]',
           sources = '[{"kind": "hub", "ref": "acme/x@1"}]' WHERE metric = 'license' AND evaluation_id = %s""",
        first["evaluation_id"],
    )
    assert uploader.client.post(f"/package/{package_id}/evaluate").status_code == 202
    eventually(lambda: len(uploader.client.get(address).json()["evaluations"]) == 2)
    newest = uploader.client.get(address).json()["evaluations"][0]
    license_ = uploader.client.get(f"/package/{package_id}/metadata").json()["metric_details"]["license"]
    since = newest["since_previous"]
    assert (since["metrics_version"], since["evidence_digest"]) == ("wh-metrics/0.9.0", "e")
    assert (since["method_changed"], since["evidence_changed"]) == (True, True)
    assert since["metrics"] == [
        {
            "metric": "license",
            "version_before": "license/0",
            "version_after": license_["version"],
            "status_before": "ok",
            "status_after": "ok",
            "score_before": 0.5,
            "score_after": license_["score"],
            "score_change": round(license_["score"] - 0.5, 2),
            "reasons_gone": ["Narrow terms"],
            "reasons_new": license_["reasons"],
            "sources_gone": [{"kind": "hub", "ref": "acme/x@1"}],
            "sources_new": license_["sources"],
        }
    ]


def test_an_unknown_package_is_nowhere(admin: httpx.Client, reader: Account) -> None:
    for client in (admin, reader.client):
        for part in ("metadata", "files", "ratings", "lineage", "evaluations"):
            problem(client.get(f"/package/{uuid4()}/{part}"), 404, "package-not-found")
            problem(client.get(f"/package/{uuid4().hex[:-1]}/{part}"), 422)


@pytest.fixture
def quarantined(server: Server, uploader: Account) -> str:
    """A package that the scanner would call unsafe."""
    name = fresh("danger")
    package_id = str(post_package(uploader.client, name).json()["package_id"])
    sql(server, "UPDATE packages SET verdict = 'unsafe' WHERE id = %s", package_id)
    reasons = (
        "UPDATE files SET verdict = 'unsafe', reasons = '[\"runs code\"]' WHERE package_id = %s AND path = 'model.bin'"
    )
    sql(server, reasons, package_id)
    return package_id


def test_a_quarantined_package_is_seen_by_its_uploader_and_admins_only(
    admin: httpx.Client, uploader: Account, reader: Account, quarantined: str
) -> None:
    for part in ("metadata", "files", "ratings", "lineage", "evaluations", "download-history"):
        problem(reader.client.get(f"/package/{quarantined}/{part}"), 404, "package-not-found")
        assert admin.get(f"/package/{quarantined}/{part}").status_code == 200
        assert uploader.client.get(f"/package/{quarantined}/{part}").status_code == 200
    problem(reader.client.get(f"/package/{quarantined}"), 404, "package-not-found")
    problem(reader.client.put(f"/package/{quarantined}/rate", json={"score": 1}), 404, "package-not-found")
    for client in (admin, uploader.client):
        document = problem(client.get(f"/package/{quarantined}"), 403, "quarantined")
        assert document["reasons"] == ["model.bin: runs code"]
    metadata = uploader.client.get(f"/package/{quarantined}/metadata").json()
    for client in (admin, uploader.client, reader.client):
        found = client.post("/packages", json=[{"name": metadata["name"]}]).json()
        assert (found["total"], found["packages"]) == (0, [])
        assert client.get("/packages", params={"q": metadata["name"]}).json()["packages"] == []


def test_an_admin_releases_a_package_with_a_reason(
    admin: httpx.Client, uploader: Account, reader: Account, quarantined: str
) -> None:
    address = f"/package/{quarantined}/release"
    problem(uploader.client.post(address, json={"reason": "Mine."}), 403, "permission-missing")
    bodies: tuple[object, ...] = ({}, {"reason": ""}, {"reason": None}, {"reason": "x" * 2001}, [])
    for body in bodies:
        problem(admin.post(address, json=body), 422)
    released = admin.post(address, json={"reason": "Looked at by hand."})
    assert released.status_code == 200
    assert released.json()["package_id"] == quarantined
    assert reader.client.get(f"/package/{quarantined}").headers["x-weighhouse-verdict"] == "unsafe"
    assert reader.client.get(f"/package/{quarantined}/metadata").json()["verdict"] == "unsafe"
    problem(admin.post(address, json={"reason": "Again."}), 409, "not-quarantined")
    problem(admin.post(f"/package/{uuid4()}/release", json={"reason": "?"}), 404, "package-not-found")


def test_a_signed_address_ends_when_the_package_turns_unsafe(
    server: Server, uploader: Account, reader: Account, request: pytest.FixtureRequest
) -> None:
    package_id = post_package(uploader.client, fresh(), files=small_model()).json()["package_id"]
    address = str(reader.client.get(f"/package/{package_id}").json()["download_url"])
    url = httpx.URL(server.url).join(address)
    assert httpx.get(url).status_code == 200
    # As a newer scanner would say.
    worse = (
        "UPDATE blob_scans SET verdict = 'unsafe' WHERE sha256 IN "
        "(SELECT sha256 FROM files WHERE package_id = %s AND path = 'model.bin')"
    )
    sql(server, worse, package_id)
    assert uploader.client.post(f"/package/{package_id}/evaluate").status_code == 202
    is_in_bucket = request.config.getoption("--store") == "s3"
    assert is_in_bucket == (not str(url).startswith(server.url))
    eventually(lambda: httpx.get(url).status_code == (404 if is_in_bucket else 403))
    problem(reader.client.get(f"/package/{package_id}"), 404, "package-not-found")
    if not is_in_bucket:
        problem(httpx.get(url), 403, "address-refused")
