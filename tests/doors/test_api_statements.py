"""Signed statements of scores: got from a server, verified without one."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # Its module says so in a comment only.

from tests.conftest import Server
from tests.doors.rest import Account, fresh, post_package, problem, sha256, small_model, sql
from weighhouse.rules.keys import new_key, private_pem, public_pem


def run(*words: str | Path, server: Server | None = None, token: str = "") -> subprocess.CompletedProcess[str]:
    """The command line; without a server it is told of none."""
    remote = ("--server", server.url, "--token", token) if server else ()
    command = [sys.executable, "-m", "weighhouse", *map(str, words), *remote]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class Weighed:
    """A package whose statement and keys are in files, and whose files are in a folder."""

    def __init__(self, server: Server, uploader: Account, folder: Path) -> None:
        self.files = {path: text if isinstance(text, bytes) else text.encode() for path, text in small_model().items()}
        self.name = fresh()
        answer = post_package(uploader.client, self.name, files=self.files)
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["package_id"]
        self.statement, self.keys, self.model = folder / "statement.json", folder / "keys.pem", folder / "model"
        for words in (("statement", self.name, "-o", self.statement), ("keys", "-o", self.keys)):
            done = run(*words, server=server, token=uploader.token)
            assert done.returncode == 0, done.stderr
        self.model.mkdir()
        for path, content in self.files.items():
            (self.model / path).write_bytes(content)

    @property
    def envelope(self) -> dict[str, Any]:
        """The statement as it was sent."""
        document: dict[str, Any] = json.loads(self.statement.read_text("utf-8"))
        return document

    def verify(self, *more: str | Path) -> subprocess.CompletedProcess[str]:
        """What the command line makes of it, with no server."""
        return run("verify-statement", self.statement, "--key", self.keys, *more)


@pytest.fixture
def weighed(server: Server, uploader: Account, tmp_path: Path) -> Weighed:
    """A new one for each test, which may spoil it."""
    return Weighed(server, uploader, tmp_path)


def test_a_statement_says_which_files_scored_what_and_why(weighed: Weighed, uploader: Account) -> None:
    stated = json.loads(base64.b64decode(weighed.envelope["payload"]))
    shown = uploader.client.get(f"/package/{weighed.id}/metadata").json()
    assert stated["_type"] == "https://in-toto.io/Statement/v1"
    assert {one["name"]: one["digest"]["sha256"] for one in stated["subject"]} == {
        path: sha256(content) for path, content in weighed.files.items()
    }
    predicate = stated["predicate"]
    assert predicate["package"]["manifest_sha256"] == shown["manifest_sha256"]
    assert {key: predicate[key] for key in ("net_score", "coverage", "verdict", "metrics_version", "evaluated_at")} == {
        "net_score": shown["metrics"]["net_score"],
        "coverage": shown["coverage"],
        "verdict": shown["verdict"],
        "metrics_version": shown["metrics_version"],
        "evaluated_at": shown["evaluated_at"],
    }
    assert {metric["metric"]: (metric["score"], metric["reasons"]) for metric in predicate["metrics"]} == {
        name: (detail["score"], detail["reasons"]) for name, detail in shown["metric_details"].items()
    }


def test_another_implementation_verifies_it_with_the_published_key(weighed: Weighed, anonymous: httpx.Client) -> None:
    envelope = Envelope.from_dict(weighed.envelope)
    (shown, *_) = anonymous.get("/.well-known/weighhouse-keys").json()["keys"]
    assert shown["is_current"]
    assert weighed.envelope["signatures"][0]["keyid"] == shown["key_id"] == sha256(shown["public_key"].encode())
    key = SSlibKey.from_crypto(load_pem_public_key(shown["public_key"].encode()), shown["key_id"])
    assert envelope.verify([key], 1)
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


def test_a_consumer_verifies_statement_and_files_without_a_server(weighed: Weighed) -> None:
    done = weighed.verify("--folder", weighed.model)
    assert done.returncode == 0, done.stderr
    assert f"{weighed.name} 1.0.0" in done.stdout
    assert "every file in the folder is one of them" in done.stdout
    stated = json.loads(weighed.verify("--json").stdout)
    assert stated["predicate"]["package"]["name"] == weighed.name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("a file is changed", "model.bin is not the file that was signed"),
        ("a file is more", "extra.py is in the folder, and nothing was signed about it"),
        ("a file is less", "run.py was signed and is not in the folder"),
    ],
)
def test_other_files_than_those_that_were_weighed_are_refused(weighed: Weighed, change: str, words: str) -> None:
    if change == "a file is changed":
        (weighed.model / "model.bin").write_bytes(b"another")
    elif change == "a file is more":
        (weighed.model / "extra.py").write_text("print()")
    else:
        (weighed.model / "run.py").unlink()
    done = weighed.verify("--folder", weighed.model)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_some_of_the_files_are_enough_when_that_is_said(weighed: Weighed) -> None:
    (weighed.model / "run.py").unlink()
    assert weighed.verify("--folder", weighed.model, "--partial").returncode == 0


def test_a_statement_that_was_changed_or_that_another_key_signed_is_refused(weighed: Weighed, tmp_path: Path) -> None:
    envelope = weighed.envelope
    payload = (
        base64.b64decode(envelope["payload"]).replace(b'"suspicious"', b'"safe"').replace(b'"unscanned"', b'"safe"')
    )
    weighed.statement.write_text(json.dumps(envelope | {"payload": base64.b64encode(payload).decode()}))
    done = weighed.verify()
    assert (done.returncode, "it was changed, or another key signed it" in done.stderr) == (1, True), done.stderr
    weighed.statement.write_text(json.dumps(envelope))
    other = tmp_path / "other.pem"
    other.write_bytes(public_pem(new_key().public_key()))
    done = run("verify-statement", weighed.statement, "--key", other)
    assert (done.returncode, "another key signed it" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"payload": 1}', '{"payload":"e30","payloadType":"x","signatures":[]}']
)
def test_what_is_no_statement_is_told_from_one(weighed: Weighed, content: str) -> None:
    weighed.statement.write_text(content)
    done = weighed.verify()
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") or done.stderr
    assert "Traceback" not in done.stderr


def test_a_private_key_in_place_of_the_public_one_is_noticed(weighed: Weighed) -> None:
    weighed.keys.write_bytes(private_pem(new_key()))
    done = weighed.verify()
    assert (done.returncode, "holds no public key" in done.stderr) == (1, True), done.stderr


def test_statements_of_before_a_rotation_are_verified_with_the_keys_of_after_it(
    weighed: Weighed, server: Server, uploader: Account
) -> None:
    before = weighed.envelope["signatures"][0]["keyid"]
    done = run("rotate-key", "--data-dir", server.data_dir)
    assert done.returncode == 0, done.stderr
    for words in (("statement", weighed.name, "-o", weighed.model / "new.json"), ("keys", "-o", weighed.keys)):
        assert run(*words, server=server, token=uploader.token).returncode == 0
    assert weighed.verify().returncode == 0
    after = json.loads((weighed.model / "new.json").read_text())["signatures"][0]["keyid"]
    assert after != before
    assert after in done.stdout
    assert run("verify-statement", weighed.model / "new.json", "--key", weighed.keys).returncode == 0
    kept = sql(server, "SELECT subject FROM audit_log WHERE action = 'rotate key' ORDER BY id DESC LIMIT 1")
    assert kept == [(f"statement key {after}",)]


def test_a_package_that_is_not_weighed_has_no_statement(server: Server, weighed: Weighed, uploader: Account) -> None:
    sql(server, "UPDATE packages SET evaluation_id = NULL WHERE id = %s", weighed.id)
    problem(uploader.client.get(f"/package/{weighed.id}/statement"), 409, "not-weighed")
