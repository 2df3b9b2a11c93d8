"""Packages with a `model.sig`: checked at the upload, shown in the metadata, demanded where a setting says so."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from model_signing import signing as reference

from tests.conftest import Server, eventually, new_environment, start_server, stop_server
from tests.doors.rest import Account, client_of, fresh, post_package, problem, publish, register, small_model
from tests.pki import Identity, identity

QUIET = {
    "WEIGHHOUSE_WORKERS": "1",
    "WEIGHHOUSE_HF_ENDPOINT": "http://127.0.0.1:9",
    "WEIGHHOUSE_GITHUB_API_URL": "http://127.0.0.1:9",
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Identity]:
    """Ann, whose key is trusted; Bob, for whom the trusted root vouches; Eve, whom nobody knows."""
    folder = tmp_path_factory.mktemp("people")
    root = identity(folder, "root", is_authority=True)
    return {
        "root": root,
        "ann": identity(folder, "ann"),
        "bob": identity(folder, "bob", root),
        "eve": identity(folder, "eve"),
    }


@pytest.fixture(scope="module")
def trust(people: Mapping[str, Identity], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the server's setting names."""
    folder = tmp_path_factory.mktemp("trust")
    shutil.copy(people["ann"].public_file, folder)
    shutil.copy(people["root"].certificate_file, folder)
    return folder


@pytest.fixture(scope="module")
def trusting(request: pytest.FixtureRequest, trust: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that trusts Ann and the root."""
    data_dir = tmp_path_factory.mktemp("trusting") / "data"
    running = start_server(data_dir, WEIGHHOUSE_SIGNATURE_TRUST=str(trust), **QUIET, **new_environment(request))
    yield running
    stop_server(running)


@pytest.fixture(scope="module")
def account(trusting: Server) -> Iterator[Account]:
    """A user of it."""
    account = register(trusting, "search", "download", "upload")
    with account.client:
        yield account


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a small model."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path, text in small_model().items():
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weighhouse", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def signed(folder: Path, *words: str | Path) -> Path:
    done = run("sign", folder, *words)
    assert done.returncode == 0, done.stderr
    return folder


def content(folder: Path) -> dict[str, str | bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def found(account: Account, files: Mapping[str, str | bytes]) -> dict[str, object]:
    """What the metadata of a package of these files says of its signature."""
    package_id = publish(account.client, files=files)
    shown: dict[str, object] = account.client.get(f"/package/{package_id}/metadata").json()["signature"]
    return shown


def test_a_package_that_the_reference_signed_is_trusted(
    account: Account, model: Path, people: Mapping[str, Identity]
) -> None:
    bob, root = people["bob"], people["root"]
    make = reference.Config()  # type: ignore[no-untyped-call]  # Their constructor has no types.
    make.use_certificate_signer(
        private_key=bob.key_file, signing_certificate=bob.certificate_file, certificate_chain=[root.certificate_file]
    ).sign(model, model / "model.sig")
    shown = found(account, content(model))
    assert shown["state"] == "trusted", shown
    assert shown["signer"] == {"kind": "certificate", "id": shown["signer"]["id"], "name": "CN=bob"}  # type: ignore[index]
    assert shown["checked_at"]


def test_what_the_command_line_signs_and_sends_is_trusted(
    trusting: Server, account: Account, model: Path, people: Mapping[str, Identity]
) -> None:
    (model / ".hidden").write_text("not sent and not signed")
    signed(model, "--key", people["ann"].key_file)
    name = fresh()
    done = run(
        "upload", model, "--name", name, "--version", "1.0.0", "--server", trusting.url, "--token", account.token
    )
    assert done.returncode == 0, done.stderr
    done = run("show", name, "--server", trusting.url, "--token", account.token)
    assert "trusted" in done.stdout, done.stdout


def test_a_signer_whom_nobody_knows_is_unknown_and_the_upload_goes_on(
    account: Account, model: Path, people: Mapping[str, Identity]
) -> None:
    shown = found(account, content(signed(model, "--key", people["eve"].key_file)))
    assert shown["state"] == "unknown"


@pytest.mark.parametrize("change", ["a file", "the signature", "one file more"])
def test_what_was_changed_after_it_was_signed_is_invalid_and_says_why(
    account: Account, model: Path, people: Mapping[str, Identity], change: str
) -> None:
    files = content(signed(model, "--key", people["ann"].key_file))
    if change == "a file":
        files["model.bin"] = b"another"
        words = "model.bin is not the file that was signed"
    elif change == "the signature":
        files["model.sig"] = b"{}"
        words = "model.sig is no Sigstore bundle"
    else:
        files["more.py"] = "print()"
        words = "more.py was not signed"
    shown = found(account, files)
    assert (shown["state"], words in str(shown["reason"])) == ("invalid", True), shown


def test_a_package_without_a_signature_has_none(account: Account) -> None:
    assert found(account, small_model()) is None


def test_the_bill_of_materials_says_what_the_signature_is_worth(
    account: Account, model: Path, people: Mapping[str, Identity]
) -> None:
    package_id = publish(account.client, files=content(signed(model, "--key", people["ann"].key_file)))
    said = account.client.get(f"/package/{package_id}/bom").json()["metadata"]["component"]["properties"]
    assert {"name": "weighhouse:signature", "value": "trusted"} in said


def test_a_folder_is_verified_without_a_server(model: Path, people: Mapping[str, Identity], tmp_path: Path) -> None:
    bob, root = people["bob"], people["root"]
    signed(model, "--key", bob.key_file, "--certificate", bob.certificate_file, "--chain", root.certificate_file)
    done = run("verify-signature", model, "--trust", root.certificate_file, "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "trusted")
    done = run("verify-signature", model, "--trust", people["ann"].public_file)
    assert (done.returncode, done.stdout.startswith("unknown:")) == (1, True)
    (model / "run.py").unlink()
    assert run("verify-signature", model, "--trust", root.certificate_file, "--partial").returncode == 0
    done = run("verify-signature", model, "--trust", root.certificate_file)
    assert (done.returncode, "run.py was signed and is not there" in done.stdout) == (1, True)


@pytest.mark.parametrize("end", ["pub", "crt"])
def test_what_is_no_private_key_is_refused(model: Path, people: Mapping[str, Identity], end: str) -> None:
    done = run("sign", model, "--key", people["ann"].key_file.with_suffix(f".{end}"))
    assert (done.returncode, "private key cannot be read" in done.stderr) == (1, True)
    assert not (model / "model.sig").exists()


def test_trust_that_changes_counts_from_the_next_evaluation_and_a_demand_from_the_next_upload(
    request: pytest.FixtureRequest, people: Mapping[str, Identity], tmp_path: Path, model: Path
) -> None:
    """One test, because it goes on with one registry through two starts of its server."""
    files = content(signed(model, "--key", people["eve"].key_file))
    own, environment = tmp_path / "data", {**QUIET, **new_environment(request)}
    with _started(own, environment) as client:
        package_id = post_package(client, "signed", files=files).json()["package_id"]
        assert _state(client, package_id) == "unknown"
    environment |= {
        "WEIGHHOUSE_SIGNATURE_TRUST": str(people["eve"].public_file),
        "WEIGHHOUSE_REQUIRE_SIGNATURE": "true",
    }
    with _started(own, environment) as client:
        assert _state(client, package_id) == "unknown"
        assert client.post(f"/package/{package_id}/evaluate").status_code == 202
        eventually(lambda: _state(client, package_id) == "trusted")
        assert post_package(client, "also-signed", files=files).status_code == 201
        without = {path: text for path, text in files.items() if path != "model.sig"}
        refused = problem(post_package(client, "unsigned", files=without), 422, "signature-required")
        assert "weighhouse sign" in refused["detail"]
        changed = files | {"run.py": "print('changed')"}
        refused = problem(post_package(client, "changed", files=changed), 422, "signature-required")
        assert "run.py is not the file that was signed" in refused["detail"]
        assert client.post("/packages", json=[{"name": "*"}]).json()["total"] == 2


@contextlib.contextmanager
def _started(data_dir: Path, environment: Mapping[str, str]) -> Iterator[httpx.Client]:
    """A client of a server that lives as long as the block, as its admin."""
    server = start_server(data_dir, **environment)
    try:
        with client_of(server, server.admin_token) as client:
            yield client
    finally:
        stop_server(server)


def _state(client: httpx.Client, package_id: str) -> str:
    return str(client.get(f"/package/{package_id}/metadata").json()["signature"]["state"])
