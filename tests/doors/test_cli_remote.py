"""The command line against a running server: what a person types, and what comes of it."""

import hashlib
import json
import stat
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from tests.conftest import Server
from tests.doors.rest import client_of, from_stream
from tests.kept import blob, damage
from weighhouse.doors.cli.remote import commands

WITHOUT_A_SERVER = {"sign", "verify-signature", "verify-statement"}

_TREE = click.Group("weighhouse", commands=list(commands))

Run = Callable[..., Result]


@pytest.fixture
def run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, in an empty folder and with no credentials but the admin's token."""
    monkeypatch.chdir(tmp_path)
    env = {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "WEIGHHOUSE_SERVER": server.url,
        "WEIGHHOUSE_TOKEN": server.admin_token,
    }

    def call(*arguments: str, typed: str = "", **changed: str) -> Result:
        return CliRunner(env=env | changed).invoke(_TREE, list(arguments), input=typed, prog_name="weighhouse")

    return call


@pytest.fixture
def name() -> str:
    return f"cli-{uuid.uuid4().hex[:12]}"


def _ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def _no(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


def _answer(result: Result) -> Any:
    return json.loads(_ok(result))


_FILES = {
    "README.md": "---\nlicense: mit\n---\n# A model\n\nIt sorts letters into two heaps.\n",
    "config.json": '{"model_type": "bert"}',
    "train.py": "print('training')\n",
    "data/letters.csv": "letter,heap\na,1\nb,2\n",
    "model.bin.txt": "w" * 5000,
}


def _folder(path: Path, **changed: str) -> Path:
    for relative, text in (_FILES | changed).items():
        (path / relative).parent.mkdir(parents=True, exist_ok=True)
        (path / relative).write_text(text)
    (path / "weights.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return path


def _upload(run: Run, folder: Path, name: str, version: str = "1.0.0", *more: str) -> dict[str, Any]:
    answer: dict[str, Any] = _answer(run("upload", str(folder), "--name", name, "--version", version, "--json", *more))
    return answer


def test_a_folder_is_uploaded_weighed_and_shown(run: Run, server: Server, tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path / name)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    shown = _ok(run("upload", str(folder), "--version", "1.0.0", "--description", "sorts [letters]"))
    assert f"{name} 1.0.0" in shown
    assert "status      evaluated" in shown
    card = _ok(run("show", name))
    assert "sorts [letters]" in card
    assert "license" in card
    assert "reproducibility" in card
    assert "What would raise the score most" in card
    assert _ok(run("show", name, "--reasons")).count("\n") >= card.count("\n")
    metadata = _answer(run("show", f"{name}@1.0.0", "--json"))
    assert {file["path"] for file in metadata["files"]} == {*_FILES, "weights.safetensors"}
    direct = httpx.get(
        f"{server.url}/package/{metadata['id']}/metadata", headers={"X-Authorization": server.admin_token}
    )
    assert run("show", metadata["id"], "--json").stdout.strip() == direct.text


def test_a_zip_is_uploaded_as_it_is(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", '{"version": "3.1.0"}')
    answer = _answer(run("upload", str(path), "--json"))
    assert (answer["name"], answer["version"], answer["status"]) == (name, "3.1.0", "evaluated")
    (tmp_path / "other.txt").write_text("no ZIP")
    assert "neither a folder nor a ZIP" in _no(run("upload", str(tmp_path / "other.txt")))


def test_a_version_that_is_there_is_told_apart_from_another_content(run: Run, tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path / "model")
    package_id = _upload(run, folder, name)["package_id"]
    again = ("upload", str(folder), "--name", name.upper(), "--version", "1.0.0")
    told = _no(run(*again))
    assert f"already there with exactly these files ({package_id})" in told
    assert "nothing to upload" in _ok(run(*again, "--skip-existing"))
    packed = tmp_path / "same.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, str(file.relative_to(folder)))
    assert "exactly these files" in _no(run("upload", str(packed), "--name", name, "--version", "1.0.0"))
    (folder / "train.py").write_text("print('other')\n")
    told = _no(run(*again, "--skip-existing"))
    assert "exactly these files" not in told
    assert "1.0.0" in told


def test_an_upload_need_not_wait(run: Run, tmp_path: Path, name: str) -> None:
    answer = _upload(run, _folder(tmp_path / "model"), name, "1.0.0", "--no-wait")
    assert answer["status"] in ("evaluating", "evaluated")
    assert _answer(run("show", answer["package_id"], "--json"))["version"] == "1.0.0"


def test_a_refused_upload_says_what_the_server_said(run: Run, tmp_path: Path) -> None:
    told = _no(run("upload", str(_folder(tmp_path / "model")), "--name", "api", "--version", "1.0.0"))
    assert "api" in told
    assert "without saying why" not in told


def test_a_name_is_found_in_any_case_newest_first_and_never_by_a_part(run: Run, tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path / "model")
    for version in ("1.9.0", "1.10.0"):
        _upload(run, folder, name, version)
    _upload(run, folder, f"{name}-large", "1.0.0")
    assert _answer(run("show", name.upper(), "--json"))["version"] == "1.10.0"
    assert _answer(run("show", f"{name}@1.9.0", "--json"))["version"] == "1.9.0"
    told = _no(run("show", name[:-1]))
    assert f"No package is named {name[:-1]}" in told
    assert f"{name}, {name}-large" in told
    assert f"{name} has no version 7. It has 1.10.0, 1.9.0." in _no(run("show", f"{name}@7"))
    assert "No package" in _no(run("show", "."))


def test_search_lists_pages_and_rows(run: Run, tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path / "model")
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        _upload(run, folder, name, version)
    page = _answer(run("search", "--name", name, "--limit", "2", "--json"))
    assert len(page["packages"]) == 2
    assert page["next_cursor"]
    rows = [
        json.loads(line) for line in _ok(run("search", "--name", name, "--limit", "2", "--all", "--json")).splitlines()
    ]
    assert {row["version"] for row in rows} == {"1.0.0", "1.1.0", "2.0.0"}
    result = run("search", "--name", name, "--limit", "2")
    assert _ok(result).count(name) == 2
    assert "--all shows the rest" in result.stderr
    assert _ok(run("search", "--name", name, "--version", "^1.0", "--all")).count(name) == 2
    assert _ok(run("search", "heaps", "--name", name, "--license", "MIT", "--all")).count(name) == 3
    assert _ok(run("search", "--name", name, "--min-net-score", "1")).count(name) == 0
    assert "(" in _no(run("search", "--regex", "("))


def test_a_download_is_verified_and_unpacked(run: Run, tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path / "model")
    _upload(run, folder, name)
    assert "6 files" in _ok(run("download", name))
    packed = tmp_path / f"{name}-1.0.0.zip"
    with zipfile.ZipFile(packed) as archive:
        assert {info.filename: archive.read(info) for info in archive.infolist()} == _contents(folder)
    assert "is there already" in _no(run("download", name))
    _ok(run("download", name, "--force"))
    _ok(run("download", name, "--unpack", "out"))
    assert _contents(tmp_path / "out") == _contents(folder)
    assert "not empty" in _no(run("download", name, "--unpack", "out"))
    leftovers = [entry.name for entry in tmp_path.iterdir() if "part" in entry.name or entry.name.startswith(".")]
    assert leftovers == []


def test_a_byte_that_changed_in_the_store_is_noticed(run: Run, server: Server, tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path / "model", **{"train.py": f"print('{name}')\n"})
    package_id = _upload(run, folder, name)["package_id"]
    digest = hashlib.sha256((folder / "train.py").read_bytes()).hexdigest()
    content = bytearray(blob(server, digest) or b"")
    content[-3] ^= 1
    damage(server, digest, bytes(content))
    if server.place is not None:
        # Composed when the byte was right, perhaps; the stream reads the file itself.
        with client_of(server, server.admin_token) as client:
            from_stream(server, client, package_id)
    for more in ([], ["--unpack", "out"]):
        assert "Traceback" not in _no(run("download", name, *more))
        assert [entry.name for entry in tmp_path.iterdir() if entry.name != "model"] == []


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_part_of_a_package_is_downloaded_alone(run: Run, tmp_path: Path, name: str) -> None:
    _upload(run, _folder(tmp_path / "model"), name)
    answer = _answer(run("download", name, "--code", "--datasets", "-o", "some.zip", "--json"))
    assert answer["components_included"] == ["datasets", "code"]
    with zipfile.ZipFile(tmp_path / "some.zip") as archive:
        names = set(archive.namelist())
    assert {"train.py", "data/letters.csv", "README.md"} <= names
    assert "weights.safetensors" not in names


def test_a_download_goes_on_from_what_is_there(run: Run, server: Server, tmp_path: Path, name: str) -> None:
    package_id = _upload(run, _folder(tmp_path / "model"), name)["package_id"]
    _ok(run("download", name, "-o", "whole.zip"))
    whole = (tmp_path / "whole.zip").read_bytes()
    address = _answer(run("download", name, "-o", "again.zip", "--json"))["download_url"]
    etag = httpx.get(urljoin(server.url, address)).headers["ETag"]
    (tmp_path / "p.zip.part").write_bytes(whole[:100] + b"\0" + whole[101:2000])
    mark = {"identity": package_id, "etag": etag, "size_bytes": len(whole)}
    (tmp_path / "p.zip.part.json").write_text(json.dumps(mark))
    # The wrong byte shows that the first 2,000 were not fetched again, and that no wrong byte is let through.
    told = _no(run("download", name, "-o", "p.zip"))
    assert "removed" in told
    assert not list(tmp_path.glob("p.zip*"))
    (tmp_path / "p.zip.part").write_bytes(whole[:2000])
    (tmp_path / "p.zip.part.json").write_text(json.dumps(mark))
    _ok(run("download", name, "-o", "p.zip"))
    assert (tmp_path / "p.zip").read_bytes() == whole


def test_files_are_listed_with_their_digests(run: Run, tmp_path: Path, name: str) -> None:
    _upload(run, _folder(tmp_path / "model"), name)
    rows = [json.loads(line) for line in _ok(run("files", name, "--all", "--limit", "2", "--json")).splitlines()]
    assert {row["path"] for row in rows} == {*_FILES, "weights.safetensors"}
    assert all(len(row["sha256"]) == 64 for row in rows)
    assert "train.py" in _ok(run("files", name))


def test_ratings_are_given_and_listed(run: Run, tmp_path: Path, name: str) -> None:
    _upload(run, _folder(tmp_path / "model"), name)
    _ok(run("rate", name, "2"))
    assert "4 stars given; 4.00 on average" in _ok(run("rate", name, "4", "--review", "good \x1b[31mcard"))
    shown = _ok(run("ratings", name))
    assert "★★★★☆" in shown
    assert "good [31mcard" in shown
    assert run("rate", name, "6").exit_code == 2


def test_evaluations_history_and_lineage_are_shown(run: Run, tmp_path: Path, name: str) -> None:
    _upload(run, _folder(tmp_path / "base"), f"{name}-base")
    child = _folder(
        tmp_path / "child", **{"README.md": f"---\nlicense: mit\nbase_model: {name}-base\n---\n# A child\n"}
    )
    _upload(run, child, name)
    assert f"made from\n    └── {name}-base 1.0.0" in _ok(run("lineage", name))
    assert f"made into\n    └── {name} 1.0.0" in _ok(run("lineage", f"{name}-base", "--direction", "descendants"))
    assert _answer(run("lineage", name, "--json"))["lineage"][0]["depth"] == 0
    _ok(run("evaluate", name))
    told = _ok(run("evaluations", name))
    assert "wh-metrics/" in told
    assert "the first evaluation" in told
    _ok(run("download", name))
    shown = _ok(run("history", name))
    assert "weighhouse/" in shown
    assert "127.0.0.1" in shown


def test_a_deleted_version_is_gone_and_only_on_a_clear_word(run: Run, tmp_path: Path, name: str) -> None:
    _upload(run, _folder(tmp_path / "model"), name)
    assert run("delete", f"{name}@1.0.0").exit_code == 2
    assert "Name the version" in _no(run("delete", name, "--yes"))
    assert "is deleted" in _ok(run("delete", f"{name}@1.0.0", "--yes"))
    assert "No package is named" in _no(run("show", name))


def test_a_sign_in_is_remembered_for_its_owner_alone_and_forgotten(run: Run, server: Server, tmp_path: Path) -> None:
    user = f"u{uuid.uuid4().hex[:10]}"
    _ok(run("users", "add", user, "-p", "search", "--password-stdin", typed="a long password\n"))
    nobody = {"WEIGHHOUSE_TOKEN": ""}
    told = _no(run("whoami", **nobody))
    assert f"weighhouse login --server {server.url}" in told
    wrong = _no(run("login", "--username", user, "--password-stdin", typed="wrong\n", **nobody))
    assert "weighhouse login" not in wrong
    assert f"as {user}" in _ok(
        run("login", "--username", user, "--password-stdin", typed="a long password\n", **nobody)
    )
    kept = tmp_path / "config" / "weighhouse" / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    token = json.loads(kept.read_text())["servers"][server.url]["token"]
    # The server is remembered with the token.
    assert user in _ok(run("whoami", WEIGHHOUSE_SERVER="", **nobody))
    assert _answer(run("whoami", "--json", **nobody))["permissions"] == ["search"]
    _ok(run("logout", **nobody))
    assert token not in kept.read_text()
    assert httpx.get(f"{server.url}/user/me", headers={"X-Authorization": token}).status_code == 401
    assert "Nobody is signed in" in _no(run("logout", **nobody))


def test_users_are_listed_changed_and_deleted(run: Run) -> None:
    user = f"u{uuid.uuid4().hex[:10]}"
    _ok(run("users", "add", user, "--password-stdin", typed="first password\n"))
    assert user in _no(run("users", "add", user, "--password-stdin", typed="another password\n"))
    _ok(run("users", "permissions", user, "search", "download"))
    listed = [json.loads(line) for line in _ok(run("users", "list", "--all", "--json")).splitlines()]
    assert next(row["permissions"] for row in listed if row["username"] == user) == ["search", "download"]
    _ok(run("users", "password", user, "--password-stdin", typed="second password\n"))
    signed_in = run("login", "--username", user, "--password-stdin", typed="second password\n", WEIGHHOUSE_TOKEN="")
    _ok(signed_in)
    changed = run("users", "password", "--password-stdin", typed="second password\nthird one\n", WEIGHHOUSE_TOKEN="")
    _ok(changed)
    assert "run `weighhouse login`" in changed.stderr
    assert run("users", "delete", user).exit_code == 2
    _ok(run("users", "delete", user, "--yes"))
    assert f"There is no user {user}" in _no(run("users", "delete", user, "--yes"))


def test_tokens_are_listed_and_revoked(run: Run) -> None:
    user = f"u{uuid.uuid4().hex[:10]}"
    _ok(run("users", "add", user, "-p", "search", "--password-stdin", typed="a long password\n"))
    _ok(run("login", "--username", user, "--password-stdin", typed="a long password\n", WEIGHHOUSE_TOKEN=""))
    page = _answer(run("tokens", "list", "--user", user, "--json"))
    (row,) = page["tokens"]
    token_id = row["token_id"]
    assert token_id in _ok(run("tokens", "list", "--user", user))
    assert "is no token's id" in _no(run("tokens", "revoke", "../me"))
    _ok(run("tokens", "revoke", token_id, "--user", user))
    assert "weighhouse login" in _no(run("whoami", WEIGHHOUSE_TOKEN=""))


def test_health_and_logs_are_shown(run: Run, name: str) -> None:
    assert "healthy" in _ok(run("health"))
    assert "total requests" in _ok(run("health", "--detailed"))
    assert set(_answer(run("health", "--json"))) >= {"status", "timestamp", "components"}
    _no(run("show", str(uuid.uuid4())))
    assert "logs" in _answer(run("logs", "--level", "warning", "--limit", "5", "--json"))
    assert run("logs", "--limit", "0").exit_code == 2


def test_a_reset_needs_its_word(run: Run) -> None:
    assert run("reset").exit_code == 2
    assert "Nothing was changed" in _no(run("reset", "--confirm", "yes"))


def test_every_command_teaches_with_an_example() -> None:
    def leaves(group: click.Group) -> list[click.Command]:
        return [
            leaf
            for command in group.commands.values()
            for leaf in (leaves(command) if isinstance(command, click.Group) else [command])
        ]

    for command in leaves(_TREE):
        assert command.help is not None
        assert "Example:\n" in command.help, command.name
        options = {name for param in command.params for name in param.opts}
        if command.name in WITHOUT_A_SERVER:
            assert not {"--server", "--token"} & options, command.name
        else:
            assert {"--server", "--token", "--json"} <= options, command.name
