"""Repositories made to harm, served over the real protocol: nothing outside is read, nothing runs, and every limit holds."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.git_server import GitServer, Made, git, make_repository, needs_git, serving
from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources import git as git_source
from weighhouse.sources import git_reading
from weighhouse.sources.git import Access, Clone, cloned, head_of

pytestmark = needs_git

SECRET = "a secret of this machine"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving(tmp_path_factory.mktemp("repositories")) as running:
        yield running


def access_to(server: GitServer) -> Access:
    return Access(own=frozenset({server.place}))


def soon() -> float:
    return time.monotonic() + 30


def missing_of(ask: Callable[[], object]) -> Missing:
    with pytest.raises(Missing) as caught:
        ask()
    return caught.value


def in_clone(server: GitServer, name: str, look: Callable[[Clone], object], *, is_blobless: bool = False) -> object:
    url = f"{server.url}/acme/{name}.git"
    with cloned(url, access_to(server), is_blobless=is_blobless, deadline=soon()) as clone:
        return look(clone)


def texts(clone: Clone) -> Mapping[str, bytes]:
    tree = git_reading.tree(clone)
    read = git_reading.contents(clone, [entry.id for entry in tree.values()], limit_bytes=100_000)
    return {path: read[entry.id] for path, entry in tree.items()}


@pytest.mark.parametrize("is_blobless", [False, True])
def test_a_clone_is_read_without_a_checkout(server: GitServer, tmp_path: Path, is_blobless: bool) -> None:
    name = f"plain-{is_blobless}"
    ids = make_repository(server.root / f"acme/{name}.git", [Made({"a.py": "x = 1\n"}), Made({"b.py": "y = 2\n"})])

    def look(clone: Clone) -> None:
        assert git_reading.head(clone) == ids[-1]
        assert texts(clone) == {"a.py": b"x = 1\n", "b.py": b"y = 2\n"}
        assert [one.changes[0].path for one in git_reading.commits(clone)] == ["a.py", "b.py"]
        assert not list(clone.folder.rglob("*.py"))
        assert not list(clone.folder.rglob("hooks/*"))
        seen.append(clone.folder)

    seen: list[Path] = []
    in_clone(server, name, look, is_blobless=is_blobless)
    assert not seen[0].exists()


def test_links_submodules_and_attributes_lead_nowhere(server: GitServer, tmp_path: Path) -> None:
    outside = tmp_path / "secret.py"
    outside.write_text(SECRET)
    marker = tmp_path / "ran"
    evil = f'[filter "evil"]\n\tsmudge = touch {marker}\n\tprocess = touch {marker}\n'
    made = Made(
        {
            ".gitattributes": "*.py filter=evil diff=evil -diff\n*.bin filter=lfs\n",
            ".gitmodules": f'[submodule "s"]\n\tpath = s\n\turl = {server.url}/acme/other.git\n',
            "a.py": "x = 1\n",
            "weights.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "config": evil,
        },
        links={"link.py": str(outside), "up.py": "../../../../etc/passwd"},
        submodules={"s": "1" * 40},
    )
    make_repository(server.root / "acme/links.git", [made])

    def look(clone: Clone) -> None:
        read = texts(clone)
        assert sorted(read) == [".gitattributes", ".gitmodules", "a.py", "config", "weights.bin"]
        assert SECRET.encode() not in b"".join(read.values())
        # What its attributes call binary is still code.
        assert [one.lines for one in git_reading.changesets(clone)] == [1]

    in_clone(server, "links", look)
    assert not marker.exists()
    assert not any("/other.git" in path for _, path, _ in server.asked)


def test_hooks_of_the_server_stay_there(server: GitServer, tmp_path: Path) -> None:
    folder = server.root / "acme/hooks.git"
    make_repository(folder, [Made({"a.py": "x\n"})])
    (folder / "hooks").mkdir(exist_ok=True)
    for name in ("post-checkout", "post-merge", "reference-transaction", "post-index-change"):
        hook = folder / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    assert in_clone(server, "hooks", texts) == {"a.py": b"x\n"}
    assert not (tmp_path / "ran").exists()


def test_hostile_names_are_names(server: GitServer) -> None:
    names: list[str | bytes] = [
        "-rf",
        "--upload-pack=x.py",
        "new\nline.py",
        "tab\there.py",
        b"\xff\xfe.py",
        "A.py",
        "a.py",
    ]
    names += ["@000.py", "R100", '"quoted".py', "\x1b[31mred.py", "\nfirst.py"]
    hostile = Made(dict.fromkeys(names, "x\n"), author="&lt;Eve\x1b[31m", email="eve@example.org")
    make_repository(server.root / "acme/names.git", [hostile, Made({"\nfirst.py": "x\ny\n", "R100": None})])
    shown = sorted(name if isinstance(name, str) else r"\xff\xfe.py" for name in names)

    def look(clone: Clone) -> None:
        assert sorted(git_reading.tree(clone)) == sorted(set(shown) - {"R100"})
        first, second = git_reading.commits(clone)
        assert sorted(change.path for change in first.changes) == shown
        assert {change.path: change.kind for change in second.changes} == {"\nfirst.py": "changed", "R100": "deleted"}
        assert "\x1b[31m" in first.author
        assert [one.lines for one in git_reading.changesets(clone)] == [1, 10]

    in_clone(server, "names", look)


def test_a_look_alike_of_gits_own_folder_is_refused(server: GitServer) -> None:
    folder = server.root / "acme/lookalike.git"
    make_repository(folder, [Made({"a.py": "x\n"})])
    blob = git(folder, "hash-object", "-w", "--stdin", stdin=b"[core]\n").decode().strip()
    inner = git(folder, "mktree", stdin=f"100644 blob {blob}\tconfig\n".encode()).decode().strip()
    tree = git(folder, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=_tree(".GIT", inner))
    commit = git(folder, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-m", "x", tree.decode().strip())
    git(folder, "update-ref", "refs/heads/main", commit.decode().strip())
    assert missing_of(lambda: in_clone(server, "lookalike", texts)).reason is Reason.MALFORMED


def _tree(name: str, inner: str) -> bytes:
    return b"40000 " + name.encode() + b"\0" + bytes.fromhex(inner)


def test_slips_of_old_tools_are_forgiven(server: GitServer) -> None:
    folder = server.root / "acme/old.git"
    make_repository(folder, [Made({"a/b.py": "x\n"})])
    inner = git(folder, "rev-parse", "main:a").decode().strip()
    padded = b"040000 a\0" + bytes.fromhex(inner)
    tree = git(folder, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=padded).decode().strip()
    raw = f"tree {tree}\nauthor Ann <ann@example.org> 1600000000 +051800\ncommitter Ann<ann@x> 1600000000 +0000\n\nx\n"
    commit = git(folder, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw.encode())
    git(folder, "update-ref", "refs/heads/main", commit.decode().strip())
    assert in_clone(server, "old", texts) == {"a/b.py": b"x\n"}


def test_a_repository_without_commits_has_no_head(server: GitServer) -> None:
    make_repository(server.root / "acme/empty.git", [])
    assert head_of(f"{server.url}/acme/empty.git", access_to(server), deadline=soon()) is None


def test_a_repository_whose_head_points_nowhere_has_none(server: GitServer) -> None:
    make_repository(server.root / "acme/headless.git", [Made({"a.py": "x\n"}, branch="dev")])
    assert head_of(f"{server.url}/acme/headless.git", access_to(server), deadline=soon()) is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.FORBIDDEN),
        (403, Reason.FORBIDDEN),
        (404, Reason.UNREACHABLE),
        (429, Reason.RATE_LIMITED),
        (500, Reason.UNREACHABLE),
    ],
)
def test_a_refusal_is_missing_evidence(server: GitServer, status: int, reason: Reason) -> None:
    server.answers[f"/refused/{status}"] = status
    url = f"{server.url}/refused/{status}.git"
    assert missing_of(lambda: head_of(url, access_to(server), deadline=soon())).reason is reason


def test_a_redirect_is_not_followed(server: GitServer, tmp_path: Path) -> None:
    with serving(tmp_path) as other:
        make_repository(tmp_path / "moved/a.git", [Made({"a.py": "x\n"})])
        server.answers["/moved/"] = other.url
        url = f"{server.url}/moved/a.git"
        assert missing_of(lambda: head_of(url, access_to(server), deadline=soon())).reason is Reason.UNREACHABLE
        assert other.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/x",
        "ext::sh -c touch% /tmp/x",
        "ssh://git@127.0.0.1/a.git",
        "git@127.0.0.1:a.git",
        "git://127.0.0.1/a.git",
        "file:///etc",
        "/etc",
        "../etc",
        "https://user:word@example.org/a.git",
        "https://example.org/a/../b.git",
        "https://example.org/a b.git",
        "https://example.org/a.git\n",
        "http://example.org/a.git",
        "https://example.org",
    ],
)
def test_only_addresses_of_the_known_pattern_are_cloned(url: str) -> None:
    assert missing_of(lambda: head_of(url, Access(), deadline=soon())).reason is Reason.FORBIDDEN


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "2130706433", "169.254.169.254"])
def test_addresses_inside_are_refused_but_for_the_operators_own_port(server: GitServer, host: str) -> None:
    before = len(server.asked)
    for access in (Access(), Access(own=frozenset({("127.0.0.1", server.server_port + 1)}))):
        url = f"https://{host}:{server.server_port}/acme/plain.git"
        assert missing_of(lambda url=url, access=access: head_of(url, access, deadline=soon())).reason in {  # type: ignore[misc]  # bound at once
            Reason.FORBIDDEN,
            Reason.UNREACHABLE,
        }
    assert len(server.asked) == before


def test_a_connection_that_breaks_is_no_damaged_repository(server: GitServer) -> None:
    server.pack_breaks = True
    try:
        assert missing_of(lambda: _clone_endless(server)).reason is Reason.UNREACHABLE
    finally:
        server.pack_breaks = False


def test_an_endless_pack_is_stopped_by_size(server: GitServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_source, "CLONE_BYTES", 20_000_000)
    started = time.monotonic()
    missing = missing_of(lambda: _clone_endless(server))
    assert missing.reason is Reason.TOO_LARGE
    assert time.monotonic() - started < 15


def test_a_pack_that_announces_too_many_objects_is_stopped_at_once(
    server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_source, "CLONE_OBJECTS", 1_000_000)
    missing = missing_of(lambda: _clone_endless(server))
    assert (missing.reason, "objects" in missing.advice) == (Reason.TOO_LARGE, True)


def test_an_endless_pack_is_stopped_by_time_and_nothing_stays(
    server: GitServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    started = time.monotonic()
    missing = missing_of(lambda: _clone_endless(server, seconds=1))
    assert missing.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == []
    assert _running_git(str(tmp_path)) == []


def _clone_endless(server: GitServer, seconds: float = 30) -> None:
    folder = server.root / "endless/a.git"
    if not folder.exists():
        make_repository(folder, [Made({"a.py": "x\n"})])
    server.pack_is_endless = True
    try:
        url = f"{server.url}/endless/a.git"
        with cloned(url, access_to(server), is_blobless=False, deadline=time.monotonic() + seconds):
            raise AssertionError("the clone ended")
    finally:
        server.pack_is_endless = False


def _running_git(word: str) -> list[str]:
    listed = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if word in line and "git" in line]


def test_an_answer_over_its_limit_is_stopped(server: GitServer) -> None:
    make_repository(server.root / "acme/wide.git", [Made({f"{number}.py": "x\n" for number in range(2_000)})])

    def look(clone: Clone) -> Missing:
        return missing_of(lambda: list(clone.ask("ls-tree", "-r", "HEAD", limit_bytes=1_000)))

    missing = in_clone(server, "wide", look)
    assert isinstance(missing, Missing)
    assert missing.reason is Reason.TOO_LARGE


def test_a_tree_or_history_of_too_many_files_is_not_half_read(
    server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(server.root / "acme/many.git", [Made({f"{number}.py": "x\n" for number in range(50)})])
    monkeypatch.setattr(git_reading, "MAX_PATHS", 49)
    monkeypatch.setattr(git_reading, "MAX_CHANGES", 49)
    for read in (git_reading.tree, git_reading.commits):
        assert missing_of(lambda read=read: in_clone(server, "many", read)).reason is Reason.TOO_LARGE  # type: ignore[misc]  # bound at once


def test_a_huge_file_is_neither_read_nor_compared(server: GitServer) -> None:
    huge = "0123456789\n" * 1_000_000
    make_repository(
        server.root / "acme/huge.git", [Made({"data.py": huge, "a.py": "x\n"}), Made({"data.py": huge + "x\n"})]
    )

    def look(clone: Clone) -> None:
        tree = git_reading.tree(clone)
        read = git_reading.contents(clone, [entry.id for entry in tree.values()], limit_bytes=200_000)
        assert list(read) == [tree["a.py"].id]
        assert [one.lines for one in git_reading.changesets(clone)] == [0, 1]

    in_clone(server, "huge", look)


def test_settings_of_the_user_and_the_machine_do_not_steer(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(server.root / "acme/steer.git", [Made({"a.py": "x\n"})])
    marker = tmp_path / "ran"
    settings = f'[core]\n\tsshCommand = touch {marker}\n[url "http://127.0.0.1:1/"]\n\tinsteadOf = {server.url}/\n'
    (tmp_path / ".gitconfig").write_text(settings)
    for name, value in {
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"),
        "GIT_ALLOW_PROTOCOL": "ext:file:http:https",
        "GIT_PROXY_COMMAND": f"touch {marker}",
        "GIT_DIR": str(tmp_path),
        "GIT_TRACE": str(tmp_path / "trace"),
    }.items():
        monkeypatch.setenv(name, value)
    assert in_clone(server, "steer", texts) == {"a.py": b"x\n"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitconfig"]


def test_a_machine_without_git_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    access = Access(own=frozenset({("127.0.0.1", 9)}))
    missing = missing_of(lambda: head_of("http://127.0.0.1:9/a/b.git", access, deadline=soon()))
    assert missing.reason is Reason.TOOL_MISSING


def test_local_repositories_are_read_on_the_command_line_only(tmp_path: Path) -> None:
    folder = tmp_path / "local repository"
    ids = make_repository(folder, [Made({"a.py": "x\n"})])
    assert head_of(folder.as_uri(), Access(is_local=True), deadline=soon()) == ids[0]
    with cloned(folder.as_uri(), Access(is_local=True), is_blobless=False, deadline=soon()) as clone:
        assert texts(clone) == {"a.py": b"x\n"}
    assert missing_of(lambda: head_of(folder.as_uri(), Access(), deadline=soon())).reason is Reason.FORBIDDEN


def test_a_token_goes_to_the_repository_and_is_not_among_the_arguments(
    server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    start = subprocess.Popen

    def watched(command: list[str], **options: object) -> object:
        commands.append(command)
        return start(command, **options)  # type: ignore[call-overload]  # handed on as it came

    make_repository(server.root / "acme/private.git", [Made({"a.py": "x\n"})])
    monkeypatch.setattr("weighhouse.sources.git_process.subprocess.Popen", watched)
    access = Access(own=frozenset({server.place}), token="ghp_secret")
    head_of(f"{server.url}/acme/private.git", access, deadline=soon())
    assert "ghp_secret" not in str(commands)
    assert "ghp_secret" not in repr(access)
    assert server.asked[-1][2]["Authorization"] == "Basic eC1hY2Nlc3MtdG9rZW46Z2hwX3NlY3JldA=="


def test_clones_of_a_process_that_was_killed_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import sys, time, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from weighhouse.sources.git import _scratch\n"
        "with _scratch() as folder:\n    print(folder, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        old = time.time() - 3600
        os.utime(folder, (old, old))
        with git_source._scratch():
            assert folder.exists()
        other.kill()
        other.wait()
    os.utime(folder, (old, old))
    with git_source._scratch():
        assert not folder.exists()


def test_git_ends_with_a_process_that_was_killed(server: GitServer, tmp_path: Path) -> None:
    make_repository(server.root / "orphan/a.git", [Made({"a.py": "x\n"})])
    code = (
        "import sys, tempfile, time; tempfile.tempdir = sys.argv[1]\n"
        "from weighhouse.sources.git import Access, cloned\n"
        "access = Access(own=frozenset({('127.0.0.1', int(sys.argv[3]))}))\n"
        "with cloned(sys.argv[2], access, is_blobless=False, deadline=time.monotonic() + 60): pass\n"
    )
    arguments = [str(tmp_path), f"{server.url}/orphan/a.git", str(server.server_port)]
    server.pack_is_endless = True
    try:
        with subprocess.Popen([sys.executable, "-c", code, *arguments]) as worker:
            eventually(lambda: _running_git(str(tmp_path)))
            worker.kill()
        eventually(lambda: not _running_git(str(tmp_path)))
    finally:
        server.pack_is_endless = False
