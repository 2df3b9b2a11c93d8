"""Giving back room in the store, from the command line, beside a server that runs."""

import os
import subprocess
import sys

from tests.conftest import Server


def gc(*options: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHHOUSE_")}
    command = [sys.executable, "-P", "-m", "weighhouse", "gc", *options]
    return subprocess.run(command, env=inherited, capture_output=True, text=True, check=False, timeout=60)


def test_options_of_blobs_and_of_zips_are_not_mixed() -> None:
    for options in (("--zips", "--grace", "48"), ("--older-than", "3")):
        done = gc(*options)
        assert done.returncode == 2
        assert "is for" in done.stderr


def test_a_registry_on_disk_has_no_zips_to_drop(server: Server) -> None:
    done = gc("--zips", "--older-than", "30", "--data-dir", str(server.data_dir))
    assert (done.returncode, done.stdout) == (0, "0 ZIPs (0 bytes) were dropped.\n"), done.stderr
