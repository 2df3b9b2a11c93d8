"""The whole database in one file: written and read by PostgreSQL's own programs."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.engine import URL

from weighhouse.rules.errors import Away
from weighhouse.store.cluster import binary, environment
from weighhouse.store.database import libpq_url


class DumpFailed(Away):
    """The database could not be written to a file, or read from one."""


def dump(url: URL, file: Path, *, snapshot: str) -> None:
    """Writes the database as it is in a snapshot that another connection exported and keeps open.

    Raises:
        DumpFailed: The program fails; the detail ends with its last words.
    """
    _run(url, "pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={file}")


def load(url: URL, file: Path) -> None:
    """Reads a file into an empty database: all of it or nothing.

    Raises:
        DumpFailed: The program fails; the detail ends with its last words.
    """
    _run(url, "pg_restore", "--single-transaction", "--exit-on-error", str(file))


def _run(url: URL, program: str, *options: str) -> None:
    # The password goes by the environment: others can read the command line of every process.
    target = f"--dbname={libpq_url(url.set(password=None))}"
    common: Sequence[str] = ("--no-password", "--no-owner", "--no-privileges", "--no-comments")
    done = subprocess.run(
        [binary(program), *common, target, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment() | ({"PGPASSWORD": url.password} if url.password else {}),
        check=False,
    )
    if done.returncode != 0:
        words = "\n".join(done.stderr.strip().splitlines()[-6:])
        # A program reads no database that is newer than itself.
        hint = " Use the programs of that PostgreSQL itself." if "server version mismatch" in words else ""
        raise DumpFailed(f"PostgreSQL's {program} failed.{hint} Its last words were:\n{words}")
