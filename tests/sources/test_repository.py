"""Repositories of code behind addresses: asked and cloned once, not at all when unchanged, and never from elsewhere."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forge as forges
from tests.forge import Forge
from tests.git_server import Made, git, make_repository, needs_git, serving
from tests.sources.asking import reason_of
from weighhouse.rules.evidence import Missing, Reason
from weighhouse.sources import git_reading, repository
from weighhouse.sources.budget import Budget
from weighhouse.sources.cache import Cache, FolderCache
from weighhouse.sources.repository import GitRepositories

pytestmark = needs_git

URL = "https://github.com/acme/tiny"
CLONE = r"/acme/tiny\.git/git-upload-pack"


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with forges.running(tmp_path / "forge") as running:
        yield running


_opened: list[GitRepositories] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def reading(forge: Forge, *, cache: Cache | None = None, token: str | None = None, **options: bool) -> GitRepositories:
    _opened.append(GitRepositories(api_url=forge.url, token=token, cache=cache, budget=Budget(), **options))
    return _opened[-1]


def test_one_clone_answers_every_question(forge: Forge) -> None:
    project = forge.add(
        "acme/tiny",
        [Made({"a.py": "x = 1\n", "requirements.txt": "torch==2\n"}), Made({"b.md": "# B\n"}, author="Bob B")],
    )
    asked = reading(forge)
    tree, history, changesets = asked.tree(URL), asked.history(URL), asked.changesets(URL)
    assert (tree.origin, list(tree.paths)) == ("repository", ["a.py", "b.md", "requirements.txt"])
    assert (tree.texts, tree.extras) == ({"a.py": "x = 1\n"}, {"requirements.txt": "torch==2\n"})
    assert [commit.author for commit in history.commits] == ["Ann Lee", "Bob B"]
    assert sorted(history.paths) == sorted(tree.paths)
    assert len(changesets.changesets) == 2
    assert tree.source.ref == f"acme/tiny@{project.commits[-1]}"
    assert asked.tree(URL) is tree
    assert forge.asked(r"^/repos/acme/tiny$") == 1
    # One question for the head, two for the clone.
    assert forge.asked(CLONE) == 3


def test_an_unchanged_repository_is_not_cloned_again(forge: Forge, tmp_path: Path) -> None:
    forge.add(
        "acme/tiny", [Made({"a.py": "x = 1\n", "n\n\u00e9.py": "y = 2\n"}), Made({"a.py": None, "c.py": "x = 1\n"})]
    )
    cache = FolderCache(tmp_path / "cache")
    first = reading(forge, cache=cache, token="t")
    expected = (first.tree(URL), first.history(URL), first.changesets(URL))
    before, asked_reviews = forge.asked(CLONE), forge.asked("/graphql")
    again = reading(forge, cache=cache, token="t")
    tree, history, changesets = again.tree(URL), again.history(URL), again.changesets(URL)
    assert (tree.texts, tree.paths, tree.source) == (expected[0].texts, expected[0].paths, expected[0].source)
    assert (history.source, list(history.commits), list(history.paths)) == (
        expected[1].source,
        list(expected[1].commits),
        list(expected[1].paths),
    )
    assert changesets == expected[2]
    assert (forge.asked(CLONE) - before, forge.asked("/graphql")) == (1, asked_reviews)


def test_a_new_commit_is_seen(forge: Forge, tmp_path: Path) -> None:
    forge.add("acme/tiny", [Made({"a.py": "x = 1\n"})])
    cache = FolderCache(tmp_path / "cache")
    assert list(reading(forge, cache=cache).tree(URL).paths) == ["a.py"]
    folder = forge.root / "acme/tiny.git"
    stream = b"commit refs/heads/main\ncommitter A <a@x> 1 +0000\ndata 0\nfrom refs/heads/main^0\nM 100644 inline b.py\ndata 1\nx\n"
    git(folder, "fast-import", "--quiet", stdin=stream)
    assert list(reading(forge, cache=cache).tree(URL).paths) == ["a.py", "b.py"]


def test_an_address_into_a_folder_has_a_part(forge: Forge) -> None:
    forge.add(
        "acme/tiny", [Made({"a.py": "x = 1\n", "train/run.py": "y = 2\n", "train/pyproject.toml": "[project]\n"})]
    )
    tree = reading(forge).tree(f"{URL}/tree/main/train")
    assert tree.part is not None
    assert sorted(tree.texts) == ["a.py", "train/run.py"]
    assert (sorted(tree.part.texts), sorted(tree.part.extras)) == (["run.py"], ["pyproject.toml"])
    assert list(tree.part.paths) == ["pyproject.toml", "run.py"]
    absent = reading(forge).tree(f"{URL}/tree/main/absent").part
    assert absent is not None
    assert absent.paths == ()
    assert reading(forge).tree(f"{URL}/tree/main").part is None


def test_a_folder_is_read_where_the_whole_has_too_many_files(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighhouse.rules.code_files.MAX_PROGRAMS", 2)
    files: dict[str | bytes, str | bytes | None] = {f"{number}.py": "x = 1\n" for number in range(9)}
    forge.add("acme/tiny", [Made(files | {"train/a.py": "y = 1\n", "train/b.py": "y = 2\n"})])
    tree = reading(forge).tree(f"{URL}/tree/main/train")
    assert tree.part is not None
    assert (len(tree.texts), sorted(tree.part.texts)) == (2, ["a.py", "b.py"])


def test_a_renamed_repository_is_followed(forge: Forge) -> None:
    project = forge.add("acme/tiny", [Made({"a.py": "x = 1\n"})])
    forge.moved["acme/old"] = "acme/tiny"
    assert reading(forge).tree("https://github.com/acme/old").source.ref == f"acme/tiny@{project.commits[0]}"


def test_a_repository_that_is_not_there_is_a_dead_link(forge: Forge) -> None:
    asked = reading(forge)
    for ask in (asked.tree, asked.history, asked.contributors):
        assert reason_of(lambda ask=ask: ask(URL)) is Reason.NO_CODE_REPO  # type: ignore[misc]  # bound at once
    assert reason_of(lambda: asked.changesets(URL)) is Reason.NO_GITHUB_REPO
    assert len(forge.github.requests) == 1


@pytest.mark.parametrize(
    ("code_url", "tree", "changesets"),
    [
        ("https://gitlab.com/acme/tiny", Reason.HOST_UNSUPPORTED, Reason.HOST_UNSUPPORTED),
        ("https://github.com.evil.example/acme/tiny", Reason.HOST_UNSUPPORTED, Reason.HOST_UNSUPPORTED),
        ("https://github.com/", Reason.NO_CODE_REPO, Reason.NO_GITHUB_REPO),
        ("/srv/code", Reason.NO_CODE_REPO, Reason.NO_GITHUB_REPO),
        ("file:///srv/code", Reason.NO_CODE_REPO, Reason.NO_GITHUB_REPO),
        ("--upload-pack=x", Reason.NO_CODE_REPO, Reason.NO_GITHUB_REPO),
    ],
)
def test_an_address_elsewhere_is_never_fetched(forge: Forge, code_url: str, tree: Reason, changesets: Reason) -> None:
    asked = reading(forge)
    assert reason_of(lambda: asked.tree(code_url)) is tree
    assert reason_of(lambda: asked.history(code_url)) is tree
    assert reason_of(lambda: asked.changesets(code_url)) is changesets
    assert forge.github.requests == []


@pytest.mark.parametrize("kind", ["other port", "local", "ssh", "option", "helper"])
def test_a_clone_address_that_the_api_names_is_checked_too(forge: Forge, tmp_path: Path, kind: str) -> None:
    make_repository(tmp_path / "other/acme/tiny.git", [Made({"secret.py": "x\n"})])
    with serving(tmp_path / "other") as other:
        clone_url = {
            "other port": f"{other.url}/acme/tiny.git",
            "local": (tmp_path / "other/acme/tiny.git").as_uri(),
            "ssh": "ssh://git@127.0.0.1/acme/tiny.git",
            "option": f"--upload-pack=touch {tmp_path}/ran",
            "helper": f"ext::touch {tmp_path}/ran",
        }[kind]
        forge.add("acme/tiny", [Made({"a.py": "x\n"})], clone_url=clone_url)
        asked = reading(forge)
        assert reason_of(lambda: asked.history(URL)) is Reason.FORBIDDEN
        assert other.asked == []
        assert not (tmp_path / "ran").exists()
        # What needs no clone is still answered.
        assert len(asked.changesets(URL).changesets) == 1


def test_a_large_repository_is_cloned_without_contents(forge: Forge) -> None:
    files: dict[str | bytes, str | bytes | None] = {
        "a.py": "x = 1\n",
        "big.bin": b"\0" * 1000,
        "long.py": "x\n" * 200_000,
    }
    forge.add("acme/tiny", [Made(files), Made({"a.py": "x = 2\n"})], size=300_001)
    asked = reading(forge, token="t")
    tree, changesets = asked.tree(URL), asked.changesets(URL)
    assert (list(tree.texts), list(tree.paths)) == (["a.py"], ["a.py", "big.bin", "long.py"])
    assert tree.texts["a.py"] == "x = 2\n"
    assert len(asked.history(URL).commits) == 2
    assert (changesets.lines_known, len(changesets.changesets)) == (False, 2)
    filtered = [one for one in forge.github.requests if b"filter blob:none" in one.body]
    assert filtered


@pytest.mark.parametrize("part", ["contents", "commits", "changesets"])
def test_a_part_that_cannot_be_read_hides_no_other(forge: Forge, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    forge.add("acme/tiny", [Made({"a.py": "x\n"})])

    def refuse(*_: object, **__: object) -> None:
        raise Missing(Reason.TIMEOUT, "It took too long")

    monkeypatch.setattr(git_reading, part, refuse)
    asked = reading(forge, token="t")
    assert len(asked.changesets(URL).changesets) == 1
    if part == "contents":
        assert reason_of(lambda: asked.tree(URL)) is Reason.TIMEOUT
    else:
        assert list(asked.tree(URL).texts) == ["a.py"]
    if part == "commits":
        assert reason_of(lambda: asked.history(URL)) is Reason.TIMEOUT
    else:
        assert list(asked.history(URL).paths) == ["a.py"]


def test_a_private_repository_is_cloned_with_the_operators_token(tmp_path: Path) -> None:
    with forges.running(tmp_path / "forge", token="ghp_t") as forge:
        forge.add("acme/tiny", [Made({"a.py": "x\n"})], private=True)
        assert list(reading(forge, token="ghp_t").tree(URL).paths) == ["a.py"]
        assert reason_of(lambda: reading(forge).tree(URL)) is Reason.FORBIDDEN


def test_an_empty_repository_is_an_observation(forge: Forge) -> None:
    forge.add("acme/tiny", [])
    asked = reading(forge)
    assert asked.tree(URL).paths == ()
    assert list(asked.history(URL).commits) == []
    assert asked.changesets(URL).changesets == ()


def test_contributors_are_counted_by_the_forge(forge: Forge) -> None:
    project = forge.add("acme/tiny", [Made({"a.py": "x\n"})])
    project.contributors = {"ann": 7, "dependabot[bot]": 90}
    found = reading(forge).contributors(URL)
    assert dict(found.commits) == {"ann": 7, "dependabot[bot]": 90}
    before = found.source
    project.contributors = {"ann": 8}
    assert reading(forge).contributors(URL).source != before


def test_reviews_on_the_public_api_need_a_token(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.add("acme/tiny", [Made({"a.py": "x\n"})])
    monkeypatch.setattr(repository, "PUBLIC_API", forge.url)
    assert reason_of(lambda: reading(forge).changesets(URL)) is Reason.NO_TOKEN
    assert len(reading(forge, token="t").changesets(URL).changesets) == 1


@pytest.mark.parametrize("facts", [{"clone_url": None}, {"clone_url": 7}, {"default_branch": None, "clone_url": []}])
def test_facts_of_another_shape_are_missing_evidence(forge: Forge, facts: dict[str, object]) -> None:
    forge.add("acme/tiny", [Made({"a.py": "x\n"})], **facts)
    assert reason_of(lambda: reading(forge).tree(URL)) is Reason.MALFORMED


def test_a_forge_that_is_away_is_missing_evidence_at_once() -> None:
    with GitRepositories(api_url="http://127.0.0.1:9") as asked:
        for ask in (asked.tree, asked.history, asked.contributors, asked.changesets):
            assert reason_of(lambda ask=ask: ask(URL)) is Reason.UNREACHABLE  # type: ignore[misc]  # bound at once


def test_the_command_line_reads_repositories_of_its_machine(forge: Forge, tmp_path: Path) -> None:
    folder = tmp_path / "my code"
    make_repository(folder, [Made({"a.py": "x\n"})])
    asked = reading(forge, is_local=True)
    for address in (str(folder), folder.as_uri()):
        assert list(asked.tree(address).paths) == ["a.py"]
        assert len(asked.history(address).commits) == 1
        assert reason_of(lambda address=address: asked.changesets(address)) is Reason.NO_GITHUB_REPO  # type: ignore[misc]  # bound at once
        assert reason_of(lambda address=address: asked.contributors(address)) is Reason.NO_CODE_REPO  # type: ignore[misc]  # bound at once
    assert reason_of(lambda: asked.tree(str(tmp_path / "absent"))) is Reason.NO_CODE_REPO
    assert forge.github.requests == []


def test_a_repository_that_is_too_large_is_cloned_once(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.add("acme/tiny", [Made({"a.py": "x = 1\n"})])
    tries: list[str] = []

    def refuse(url: str, *_: object, **__: object) -> None:
        tries.append(url)
        raise Missing(Reason.TOO_LARGE, "The repository is larger than 1 GB")

    monkeypatch.setattr(repository, "cloned", refuse)
    cache = FolderCache(tmp_path / "cache")
    for _ in range(2):
        asked = reading(forge, cache=cache, token="t")
        for ask in (asked.tree, asked.history):
            assert reason_of(functools.partial(ask, URL)) is Reason.TOO_LARGE
        # Its reviews are asked for one by one, as where nothing can be cloned.
        assert len(asked.changesets(URL).changesets) == 1
    assert len(tries) == 1
