"""A registry that is lost whole and comes back from its backup, and what is noticed when something of it is harmed."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, eventually, start_server, stop_server
from tests.doors.rest import client_of, fresh, publish, register, sha256, sign_in, small_model, sql
from weighhouse.store.blobs import blob_key


def run(*words: str, status: int = 0) -> str:
    """What a command prints, once it ended with this status."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHHOUSE_")}
    command = [sys.executable, "-P", "-m", "weighhouse", *words]
    done = subprocess.run(command, env=inherited, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def files_of(server: Server, package_id: str) -> dict[str, bytes]:
    """The files of a package, as a download has them."""
    with client_of(server, server.admin_token) as client:
        url = client.get(f"/package/{package_id}").json()["download_url"]
        with zipfile.ZipFile(io.BytesIO(client.get(url).content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of this file share: each has content of its own, and leaves the store whole."""
    running = start_server(tmp_path_factory.mktemp("own") / "data", WEIGHHOUSE_WORKERS="1")
    yield running
    stop_server(running)


class Uploading:
    """Uploads one after the other until it is told to stop."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.published: list[str] = []

    def _run(self) -> None:
        with client_of(self._server, self._server.admin_token) as client:
            while not self._stop.is_set():
                self.published.append(publish(client))

    def __enter__(self) -> "Uploading":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_registry_that_is_lost_whole_comes_back_from_a_backup_made_while_uploads_went_on(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    lost = start_server(tmp_path / "data", WEIGHHOUSE_WORKERS="1")
    try:
        ada = register(lost, "search", "download", "upload")
        files = small_model()
        with ada.client:
            before = publish(ada.client, fresh(), files=files)
            keys = ada.client.get("/.well-known/weighhouse-keys").json()
        with Uploading(lost) as uploading:
            eventually(lambda: len(uploading.published) > 2, seconds=60)
            first = run("backup", str(backups), "--data-dir", str(lost.data_dir))
            count = len(uploading.published)
            eventually(lambda: len(uploading.published) > count + 2, seconds=60)
            last = run("backup", str(backups), "--data-dir", str(lost.data_dir))
        assert "the database, and a list of" in first
        assert "the database, and a list of" in last
        signing = sql(lost, "SELECT value FROM secrets WHERE name = 'signing'")
    finally:
        stop_server(lost)
    shutil.rmtree(lost.data_dir)

    restored_dir = tmp_path / "restored"
    assert "blobs are back" in run("restore", str(backups), "--data-dir", str(restored_dir))
    assert "all is well" in run("verify", "--data-dir", str(restored_dir))
    # The chain is that of the backup; what came after goes on from there.
    (*_, summary) = sorted(backups.glob("[0-9]*/backup.json"))
    head = json.loads(summary.read_text())["audit_head"]
    assert "all is well" in run("audit", "verify", "--head", head, "--data-dir", str(restored_dir))
    back = start_server(restored_dir, WEIGHHOUSE_WORKERS="1")
    try:
        content = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
        assert files_of(back, before) == content
        assert sql(back, "SELECT value FROM secrets WHERE name = 'signing'") == signing
        with client_of(back, ada.token) as client:
            assert client.get("/user/me").json()["username"] == ada.username
            assert client.get("/.well-known/weighhouse-keys").json() == keys
        assert sign_in(back, ada.username)
        there = [str(row[0]) for row in sql(back, "SELECT id FROM packages")]
        # What was acknowledged before the last backup began is in it; of what followed, each is there whole or not at all.
        assert {before, *uploading.published[: count + 2]} <= set(there)
        assert all(files_of(back, package_id) for package_id in there)
        acts = {row[0] for row in sql(back, "SELECT action FROM audit_log")}
        assert {"upload package", "make backup", "restore backup", "verify registry"} <= acts
        eventually(lambda: not sql(back, "SELECT FROM audit_pending"), seconds=20)
        said = run("audit", "verify", "--head", head, "--data-dir", str(restored_dir))
        assert "all is well" in said
        lines = run("audit", "export", "--data-dir", str(restored_dir)).splitlines()
        assert f"{json.loads(lines[-1])['seq']} entries were looked at" in said
        first = json.loads(lines[0])["id"]
        for change in (
            "ALTER TABLE audit_log DISABLE TRIGGER USER",
            "UPDATE audit_log SET actor = 'nobody at all' WHERE id = (SELECT entry_id FROM audit_seals WHERE seq = 1)",
        ):
            sql(back, change)
        broken = json.loads(run("audit", "verify", "--json", "--data-dir", str(restored_dir), status=1))
        assert broken["broken"]["seq"] == 1
        assert first == str(sql(back, "SELECT entry_id FROM audit_seals WHERE seq = 1")[0][0])
    finally:
        stop_server(back)


def test_a_second_backup_copies_only_what_is_new(own: Server, tmp_path: Path) -> None:
    backups = str(tmp_path / "backups")
    with client_of(own, own.admin_token) as client:
        publish(client, files={"a.txt": "one"})
        run("backup", backups, "--data-dir", str(own.data_dir))
        publish(client, files={"a.txt": "one", "b.txt": "two and more"})
        assert "1 of the blobs (12 bytes) are new" in run("backup", backups, "--data-dir", str(own.data_dir))


def test_a_package_that_was_deleted_after_the_backup_comes_back_with_it(own: Server, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    with client_of(own, own.admin_token) as client:
        package_id = publish(client, files={"a.txt": "dear to somebody"})
        run("backup", str(backups), "--data-dir", str(own.data_dir))
        assert client.delete(f"/package/{package_id}").status_code == 200
    run("restore", str(backups), "--data-dir", str(tmp_path / "restored"))
    assert "all is well" in run("verify", "--data-dir", str(tmp_path / "restored"))


def test_a_registry_in_use_is_not_restored_over(own: Server, tmp_path: Path) -> None:
    run("backup", str(tmp_path / "backups"), "--data-dir", str(own.data_dir))
    assert "uses the data directory" in run(
        "restore", str(tmp_path / "backups"), "--data-dir", str(own.data_dir), status=1
    )
    used = tmp_path / "used"
    used.mkdir()
    (used / "letter.txt").write_text("do not lose me")
    said = run("restore", str(tmp_path / "backups"), "--data-dir", str(used), status=1)
    assert "is not empty: it holds letter.txt" in said
    assert (used / "letter.txt").read_text() == "do not lose me"


def test_a_backup_that_is_killed_leaves_nothing_that_looks_whole(own: Server, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    with client_of(own, own.admin_token) as client:
        for _ in range(3):
            publish(client)
    command = [sys.executable, "-P", "-m", "weighhouse", "backup", str(backups), "--data-dir", str(own.data_dir)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        # It may be whole between two looks.
        eventually(lambda: [*backups.glob("unfinished-*/database.dump"), *backups.glob("[0-9]*")], seconds=60)
        killed.send_signal(signal.SIGKILL)
    whole = list(backups.glob("[0-9]*"))
    # Had it been quicker than the signal, it would be whole.
    for path in whole:
        assert json.loads((path / "backup.json").read_text())["format"] == 1
    if not whole:
        assert "holds no backup" in run("restore", str(backups), "--data-dir", str(tmp_path / "restored"), status=1)
    run("backup", str(backups), "--data-dir", str(own.data_dir))
    assert not list(backups.glob("unfinished-*"))
    run("restore", str(backups), "--data-dir", str(tmp_path / "again"))


def test_a_backup_that_was_changed_is_refused_and_a_damaged_blob_in_it_is_named(own: Server, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    with client_of(own, own.admin_token) as client:
        publish(client, files={"a.txt": "will be damaged"})
    run("backup", str(backups), "--data-dir", str(own.data_dir))
    blob = backups / blob_key(sha256(b"will be damaged"))
    blob.unlink()
    blob.write_text("will be DAMAGED")
    said = run("restore", str(backups), "--data-dir", str(tmp_path / "one"), status=1)
    assert f"missing: {blob.name}" in said
    assert f"missing: {blob.name}" in run("verify", "--data-dir", str(tmp_path / "one"), status=1)
    (contents,) = backups.glob("[0-9]*/blobs.txt")
    contents.write_text("")
    assert "was changed" in run("restore", str(backups), "--data-dir", str(tmp_path / "two"), status=1)
    assert not (tmp_path / "two").exists()


def test_verify_and_gc_work_beside_a_server(own: Server) -> None:
    where = ("--data-dir", str(own.data_dir))
    with client_of(own, own.admin_token) as client:
        publish(client, files={"a.txt": "all is well"})
    blob = own.data_dir / "store" / blob_key(sha256(b"all is well"))
    assert "packages were looked at: all is well." in run("verify", *where)
    blob.chmod(0o600)
    blob.write_bytes(b"all is WELL")
    said = run("verify", *where, status=1)
    assert f"corrupt: {blob.name}: its bytes have the SHA-256" in said
    assert "1 corrupt. Remove the damaged file" in said
    report = json.loads(run("verify", "--json", "--sample", "100%", "--rate", "100", *where, status=1))
    assert report["counts"] == {"missing": 0, "corrupt": 1, "orphaned": 0, "contradictory": 0}
    assert run("verify", "--sample", "0", *where).endswith("all is well.\n")
    orphan = own.data_dir / "store" / blob_key("ab" * 32)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"nobody's")
    os.utime(orphan, (0, 0))
    assert f"8 bytes  {'ab' * 32}\n1 blobs (8 bytes) would be removed." in run("gc", "--dry-run", *where)
    assert orphan.exists()
    assert run("gc", *where).startswith("1 blobs were removed.\n")
    assert not orphan.exists()
    assert blob.exists()
    blob.write_bytes(b"all is well")
    assert "all is well." in run("verify", *where)
