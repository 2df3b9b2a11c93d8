"""What could be regretted is asked for on a terminal, and trouble is one sentence."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from weighhouse.doors.cli.asking import RemoteCommand, confirm, connected, read_password
from weighhouse.doors.cli.client import DEFAULT_SERVER
from weighhouse.doors.cli.credentials import Credentials, SignIn
from weighhouse.rules.errors import Malformed

_CONFIRM = """
from weighhouse.doors.cli.asking import RemoteCommand, confirm

RemoteCommand("x", callback=lambda: confirm("bert@1.0.0", "This deletes it.")).main([])
"""


@pytest.mark.parametrize(("typed", "code"), [("bert@1.0.0\n", 0), ("yes\n", 1), ("\n", 1)])
def test_harm_is_done_only_when_its_name_is_typed(typed: str, code: int) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", _CONFIRM],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(theirs)
    shown = b""
    with child:
        while b"to go on" not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, typed.encode())
        assert child.wait(20) == code
    shown += os.read(ours, 1000)
    os.close(ours)
    assert b"This deletes it." in shown
    assert (b"Nothing was changed." in shown) is (code == 1)


def test_without_a_terminal_nothing_is_asked() -> None:
    for ask in (lambda: confirm("x", "y"), lambda: read_password("Password", from_stdin=False)):
        result = CliRunner().invoke(RemoteCommand("x", callback=ask))
        assert result.exit_code == 2
        assert "There is no terminal" in result.stderr


def test_a_password_from_standard_input_is_its_first_line_whole() -> None:
    def show() -> None:
        click.echo(repr([read_password("Password", from_stdin=True) for _ in range(3)]))

    shown = CliRunner().invoke(RemoteCommand("x", callback=show), input=" one \r\ntwo\n").stdout
    assert shown == "[' one ', 'two', '']\n"


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied.\n"),
        (Malformed("The path is bad."), 1, "The path is bad.\n"),
    ],
)
def test_trouble_is_one_sentence(error: BaseException, code: int, told: str) -> None:
    result = CliRunner().invoke(RemoteCommand("x", callback=lambda: _raise(error)))
    assert (result.exit_code, result.stderr) == (code, told)


def test_an_option_goes_before_the_login_and_the_login_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with connected(None, None, False) as remote:
        assert (remote.server.url, remote.server.token) == (DEFAULT_SERVER, "")
    Credentials().remember("http://one", SignIn("1"))
    Credentials().remember("http://two", SignIn("2"))
    with connected(None, None, False) as remote:
        assert (remote.server.url, remote.server.token) == ("http://two", "2")
    with connected("http://ONE/", "", False) as remote:
        assert (remote.server.url, remote.server.token) == ("http://one", "1")
    with connected("http://three", "3", False) as remote:
        assert (remote.server.url, remote.server.token) == ("http://three", "3")
    with connected("http://three", None, False) as remote:
        assert remote.server.token == ""
