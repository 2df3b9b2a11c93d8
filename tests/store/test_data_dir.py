"""The lock on a data directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weighhouse.store.data_dir import DataDirInUse, DataDirUnusable, claim


def test_a_second_server_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    held = claim(tmp_path)
    held.announce("http://127.0.0.1:8123")
    with pytest.raises(DataDirInUse, match=rf"process {os.getpid()}, http://127\.0\.0\.1:8123.*--data-dir"):
        claim(tmp_path)
    held.release()
    claim(tmp_path).release()


def test_a_server_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from weighhouse.store.data_dir import claim;"
    code += "held = claim(Path(sys.argv[1])); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
    claim(tmp_path).release()


def test_a_child_process_does_not_hold_it(tmp_path: Path) -> None:
    held = claim(tmp_path)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    held.release()
    claim(tmp_path).release()
    child.kill()
    child.wait()


def test_a_lock_without_word_of_its_holder_refuses_all_the_same(tmp_path: Path) -> None:
    held = claim(tmp_path)
    (tmp_path / "lock").write_text("")
    with pytest.raises(DataDirInUse, match="Another server uses"):
        claim(tmp_path)
    held.release()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnusable, match="--data-dir"):
        claim(tmp_path / "file" / "data")
