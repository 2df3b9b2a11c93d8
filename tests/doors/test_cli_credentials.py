"""Sign-ins are kept for their owner alone, whole, and by server."""

import os
import stat
from pathlib import Path

import pytest

from weighhouse.doors.cli.asking import refuse_plain_password
from weighhouse.doors.cli.client import Refused
from weighhouse.doors.cli.credentials import Credentials, SignIn


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "weighhouse" / "credentials.json"


def test_only_the_owner_can_read_them_whatever_the_umask(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o755)
    before = os.umask(0)
    try:
        Credentials(path).remember("http://one", SignIn("token"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["credentials.json"]


def test_several_servers_are_remembered_and_the_last_is_current(path: Path) -> None:
    Credentials(path).remember("http://one", SignIn("1", "ada", "2026-01-01T00:00:00Z"))
    Credentials(path).remember("http://two", SignIn("2"))
    again = Credentials(path)
    assert again.current == "http://two"
    assert again.servers["http://one"] == SignIn("1", "ada", "2026-01-01T00:00:00Z")
    again.forget("http://two")
    assert Credentials(path).current == "http://one"
    Credentials(path).forget("http://one")
    assert Credentials(path).servers == {}


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(path: Path) -> None:
    Credentials(path).remember("http://one", SignIn("1"))
    before = path.read_bytes()
    broken = Credentials(path)
    with pytest.raises(TypeError):
        broken.remember("http://two", SignIn(token=b"2"))  # type: ignore[arg-type]  # what JSON cannot hold
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["credentials.json"]


def test_a_file_that_is_not_ours_is_explained(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"current": "", "servers": {"http://one": {"other": 1}}}'):
        path.write_text(text)
        with pytest.raises(Refused, match="cannot be understood"):
            Credentials(path)


def test_the_configuration_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert Credentials().path == tmp_path / "weighhouse" / "credentials.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Credentials().path == tmp_path / "home" / ".config" / "weighhouse" / "credentials.json"


@pytest.mark.parametrize("url", ["http://models.example.org", "http://10.0.0.1:8000", "http://localhost.example.org"])
def test_a_password_does_not_travel_in_the_open(url: str) -> None:
    with pytest.raises(Refused, match="could be read on the way"):
        refuse_plain_password(url, insecure=False)
    refuse_plain_password(url, insecure=True)
    refuse_plain_password(url.replace("http:", "https:"), insecure=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8000"])
def test_a_password_may_go_to_this_machine(url: str) -> None:
    refuse_plain_password(url, insecure=False)
