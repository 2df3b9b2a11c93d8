"""The git program, run so that no repository, address or setting of a user steers it."""

import base64
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources.addresses import checked_addresses, is_proxied, place_of
from weighhouse.sources.git_process import OUTPUT_BYTES, run_git

CLONE_SECONDS = 60.0
CLONE_BYTES = 1_000_000_000
CLONE_OBJECTS = 10_000_000
HEAD_SECONDS = 20.0

_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,255}/[A-Za-z0-9._~/+-]{1,1000}")
_HEAD = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64})\tHEAD\n")
_PROXIES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
_SCRATCH = "weighhouse-git-"
_STALE_SECONDS = 10


@dataclass(frozen=True)
class Access:
    """What git may reach.

    Args:
        own: The operator's hosts and ports: the only ones that may speak http or have an address that is not public.
        token: Sent to the repository's own address and nowhere else.
        is_local: Whether paths of this machine may be read; on the command line only.
    """

    own: frozenset[tuple[str, int]] = frozenset()
    token: str | None = field(default=None, repr=False)
    is_local: bool = False


@dataclass(frozen=True)
class Clone:
    """A bare clone; its files are read out of it, never checked out."""

    folder: Path
    is_blobless: bool
    access: Access
    url: str
    deadline: float

    def ask(self, *arguments: str, stdin: bytes = b"", limit_bytes: int = OUTPUT_BYTES) -> Iterator[bytes]:
        """What git answers, piece by piece; it is stopped at the limit and when the caller stops reading.

        Raises:
            Missing: It failed (`malformed`), or answered too much (`too_large`) or too late (`timeout`).
        """
        command = ["--git-dir", str(self.folder), *arguments]
        try:
            yield from run_git(command, _environment(self.access, self.url), self.deadline, stdin, limit_bytes)
        except Missing as missing:
            if missing.reason in {Reason.TOO_LARGE, Reason.TIMEOUT, Reason.TOOL_MISSING}:
                raise
            raise Missing(Reason.MALFORMED, "The code repository is damaged: git cannot read its clone") from missing

    def fetch_objects(self, ids: Sequence[str]) -> None:
        """Fetches the contents that a blobless clone lacks, in one request.

        Raises:
            Missing: They could not be had.
        """
        options = _network_options(self.url, self.access)
        arguments = ("fetch", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--filter=blob:none")
        # Without this git would offer its whole history first, as if it looked for commits.
        command = ["-c", "fetch.negotiationAlgorithm=noop", *options, "--git-dir", str(self.folder), *arguments]
        wanted = "".join(f"{one}\n" for one in ids).encode()
        output = run_git(
            [*command, "--progress", "--stdin", "--", "origin"],
            _environment(self.access, self.url),
            self.deadline,
            wanted,
            look=lambda: _excess(self.folder),
        )
        for _ in output:
            pass


def head_of(url: str, access: Access, *, deadline: float) -> str | None:
    """The commit at the head of the default branch; `None` for a repository without one.

    Args:
        deadline: By the monotonic clock.

    Raises:
        Missing: It could not be asked.
    """
    command = [*_network_options(url, access), "ls-remote", "--", url, "HEAD"]
    output = b"".join(run_git(command, _environment(access, url), min(deadline, time.monotonic() + HEAD_SECONDS)))
    found = _HEAD.match(output)
    return found[1].decode() if found else None


@contextmanager
def cloned(url: str, access: Access, *, is_blobless: bool, deadline: float) -> Iterator[Clone]:
    """A bare clone of the default branch's history, gone at the end of the block.

    Args:
        is_blobless: Leave the contents of files out.
        deadline: By the monotonic clock; one minute from now when that is sooner.

    Raises:
        Missing: It could not be had, or not within one minute and 1 GB.
    """
    options = _network_options(url, access)
    with _scratch() as folder:
        target = folder / "clone"
        command = [*options, "clone", "--bare", "--single-branch", "--no-tags", "--no-recurse-submodules", "--progress"]
        command += ["--template=", *(["--filter=blob:none"] if is_blobless else []), "--", url, str(target)]
        until = min(deadline, time.monotonic() + CLONE_SECONDS)
        for _ in run_git(command, _environment(access, url), until, look=lambda: _excess(target)):
            pass
        yield Clone(target, is_blobless, access, url, deadline)


def _check_url(url: str, access: Access) -> None:
    """Lets through what our own pattern knows, so that no address is read as an option, a command or a helper's name."""
    if access.is_local and (url.startswith("/") or url.startswith("file:///")) and "\0" not in url:
        return
    is_own = False
    with contextlib.suppress(ValueError):
        is_own = place_of(url) in access.own
    if not _URL.fullmatch(url) or (url.startswith("http://") and not is_own) or ".." in url:
        raise Missing(Reason.FORBIDDEN, f"{url[:80]!r} is no address that this server clones from")


def _network_options(url: str, access: Access) -> list[str]:
    """Options that tie the connection to the addresses that were checked.

    Raises:
        Missing: The address is not allowed, or its name does not resolve.
    """
    _check_url(url, access)
    if urlsplit(url).scheme not in {"http", "https"}:
        return []
    if is_proxied(url):
        return []
    host, port = place_of(url)
    addresses = checked_addresses(host, port, own=access.own)
    if host in addresses:
        return []
    joined = ",".join(f"[{one}]" if ":" in one else one for one in addresses)
    # Needs git 2.37; an older one resolves the name again.
    return ["-c", f"http.curloptResolve={host}:{port}:{joined}"]


def _environment(access: Access, url: str) -> dict[str, str]:
    """The whole environment of git: of ours it gets what it needs to start, to connect and to trust certificates."""
    passed = ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", *(_PROXIES if is_proxied(url) else ()))
    plain = urlsplit(url).scheme == "http"
    protocols = ["https", *(["http"] if plain else []), *(["file"] if access.is_local else [])]
    settings = {
        "HOME": os.devnull,
        "XDG_CONFIG_HOME": os.devnull,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        # One object that claims to unpack to more ends git instead of this machine.
        "GIT_ALLOC_LIMIT": "512m",
    }
    environment = {name: os.environ[name] for name in passed if name in os.environ} | settings
    if access.token and urlsplit(url).scheme in {"http", "https"}:
        # In the environment, which only this user can see, and not among the arguments, which everybody can.
        credentials = base64.b64encode(f"x-access-token:{access.token}".encode()).decode()
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{url}.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {credentials}",
        }
    return environment


def _excess(folder: Path) -> str:
    """What of a clone in the making is too large, in a sentence; empty for nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            # Files come and go while git works.
            with contextlib.suppress(OSError):
                total += path.stat().st_size
                if name.startswith("tmp_pack_") and _objects_announced(path) > CLONE_OBJECTS:
                    return f"The repository has more than {CLONE_OBJECTS:,} objects"
    if total > CLONE_BYTES:
        return f"The repository is larger than {CLONE_BYTES / 1e9:g} GB; point code_url at a smaller one"
    return ""


def _objects_announced(pack: Path) -> int:
    """How many objects a pack says it holds (gitformat-pack: signature, version, count)."""
    with pack.open("rb") as file:
        head = file.read(12)
    return int.from_bytes(head[8:12], "big") if len(head) == 12 else 0


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that is gone at the end; those of processes that were killed go with it.

    Raises:
        Missing: There is no room for it.
    """
    parent = Path(tempfile.gettempdir())
    for old in parent.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError), _locked(old):
            # Young ones may be about to be locked by their maker.
            if time.time() - old.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH))
    except OSError as error:
        raise Missing(
            Reason.TOO_LARGE, "This server has no room to clone a repository; let the operator make some"
        ) from error
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a lock on a folder that the system frees when this process ends.

    Raises:
        OSError: Another process holds it, or the folder is not ours.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(held)
