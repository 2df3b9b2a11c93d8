"""Giving back room in the store, from the command line, beside a server that runs."""

import os
import subprocess
import sys

import psycopg

from tests.conftest import Server
from weighhouse.registry.holding import blobs_held
from weighhouse.store.database import libpq_url, normal_url
from weighhouse.store.embedded import running_url


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


def test_it_is_told_why_nothing_goes_while_a_backup_is_made(server: Server) -> None:
    address = libpq_url(normal_url(running_url(server.data_dir)))
    with psycopg.connect(address, autocommit=True) as connection, blobs_held(connection):
        done = gc("--data-dir", str(server.data_dir))
    assert (done.returncode, done.stdout) == (0, "0 blobs were removed.\n"), done.stderr
    assert "A backup is being made" in done.stderr
    assert "backup" not in gc("--data-dir", str(server.data_dir)).stderr
