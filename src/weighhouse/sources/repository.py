"""Repositories of code: what GitHub says of them, and what their clone holds. An unchanged one is not cloned again."""

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from weighhouse.rules.code_urls import CodePlace, code_place, host_of
from weighhouse.rules.evidence import Changeset, Changesets, CodeTree, Contributors, History, Missing, Reason, Source
from weighhouse.rules.repositories import GITHUB_HOSTS
from weighhouse.sources import repository_facts, reviews
from weighhouse.sources.addresses import place_of
from weighhouse.sources.budget import Budget
from weighhouse.sources.cache import Cache, NoCache
from weighhouse.sources.git import Access, cloned, head_of
from weighhouse.sources.github import GitHub
from weighhouse.sources.once import Once
from weighhouse.sources.repository_facts import RepositoryFacts, read_facts

BLOBLESS_BYTES = 300_000_000
"""Larger repositories are cloned without the contents of their files."""

PUBLIC_API = "https://api.github.com"

_FULL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True)
class _Found:
    """A repository that is there.

    Args:
        name: `owner/name`, or the path on this machine.
        is_on_github: Whether its forge can be asked about people and reviews.
        folder: The folder that the address points into; `""` for all of it.
    """

    name: str
    clone_url: str
    branch: str = ""
    size_bytes: int = 0
    folder: str = ""
    is_private: bool = False
    is_on_github: bool = True


class GitRepositories:
    """The repositories of one evaluation, each asked and cloned once at most.

    Args:
        api_url: GitHub's REST address, as the operator set it.
        token: The operator's token for it.
        cache: What was learned before, by commit.
        budget: Calls and seconds of this evaluation.
        is_local: Whether paths of this machine and `file://` addresses are read; on the command line only.
    """

    def __init__(
        self,
        *,
        api_url: str = PUBLIC_API,
        token: str | None = None,
        cache: Cache | None = None,
        budget: Budget | None = None,
        is_local: bool = False,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._cache: Cache = cache or NoCache()
        self._budget = budget or Budget()
        self._is_local = is_local
        self._github = GitHub(self._api_url, token, store=self._cache, budget=self._budget)
        self._asking = reviews.Asking(self._github, self._budget)
        self._once = Once()

    def __enter__(self) -> "GitRepositories":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
        self._github.close()

    def tree(self, code_url: str) -> CodeTree:
        """The code at the head of the default branch.

        Raises:
            Missing: It could not be had; `no_code_repo` when it is not there.
        """
        found = self._find(code_url)
        return self._once.get(("tree", code_url), lambda: self._tree(found, self._facts(found)))

    def history(self, code_url: str) -> History:
        """The commits of the default branch.

        Raises:
            Missing: As for `tree`.
        """
        found = self._find(code_url)
        facts = self._facts(found)
        if isinstance(facts.commits, Missing):
            raise Missing(facts.commits.reason, facts.commits.advice)
        if facts.tree_missing and not facts.sizes:
            # Without the paths at the head nobody's work could be told from what is gone.
            raise Missing(facts.tree_missing.reason, facts.tree_missing.advice)
        return History(_source(found, facts), facts.commits, facts.sizes.keys())

    def contributors(self, code_url: str) -> Contributors:
        """GitHub's own list of contributors, at most a hundred.

        Raises:
            Missing: It could not be had; `no_code_repo` for a repository that is not on GitHub, or not there.
        """
        found = self._find(code_url)
        if not found.is_on_github:
            raise Missing(Reason.NO_CODE_REPO, "Only GitHub lists contributors, and the code is elsewhere")
        listed = self._asking.list(f"/repos/{found.name}/contributors", {"per_page": "100"})
        commits = {
            one["login"]: one["contributions"]
            for one in listed
            if isinstance(one.get("login"), str) and isinstance(one.get("contributions"), int)
        }
        # The list has no commit of its own; what it says is its id.
        digest = hashlib.sha256(json.dumps(sorted(commits.items())).encode()).hexdigest()[:12]
        return Contributors(Source("github", f"{found.name} contributors {digest}"), commits)

    def changesets(self, code_url: str) -> Changesets:
        """The last changesets of the default branch with the reviews of the requests that brought them.

        Raises:
            Missing: They could not be had; `no_github_repo` without a repository on GitHub, `host_unsupported` for one elsewhere.
        """
        try:
            found = self._find(code_url)
        except Missing as missing:
            reason = Reason.NO_GITHUB_REPO if missing.reason is Reason.NO_CODE_REPO else missing.reason
            raise Missing(reason, missing.advice) from missing
        if not found.is_on_github:
            raise Missing(Reason.NO_GITHUB_REPO, "Reviews can be read on GitHub only; give its address as code_url")
        if self._api_url == PUBLIC_API and not self._token:
            raise Missing(Reason.NO_TOKEN, "Reviews need a token for GitHub; let the operator set GITHUB_TOKEN")
        return self._once.get(("changesets", found), lambda: self._changesets(found))

    def _find(self, code_url: str) -> _Found:
        return self._once.get(("repository", code_url), lambda: self._look(code_url))

    def _look(self, code_url: str) -> _Found:
        if self._is_local and (path := _local_path(code_url)):
            if not path.is_dir():
                raise Missing(Reason.NO_CODE_REPO, f"There is no folder {str(path)[:100]}; correct the address")
            return _Found(str(path), path.as_uri(), is_on_github=False)
        place = code_place(code_url, api_url=self._api_url)
        if place is None:
            raise _elsewhere(code_url, self._api_url)
        document = self._asking.object(place.repository.path)
        if document is None:
            raise Missing(
                Reason.NO_CODE_REPO,
                f"GitHub has no {place.repository.owner[:60]}/{place.repository.name[:60]}; correct the address",
            )
        return _found(place, document)

    def _facts(self, found: _Found) -> RepositoryFacts:
        return self._once.get(("facts", found), lambda: self._read(found))

    def _read(self, found: _Found) -> RepositoryFacts:
        deadline = time.monotonic() + self._budget.seconds_left
        own = frozenset({place_of(self._api_url)})
        access = Access(own, self._token_for(found), is_local=not found.is_on_github)
        head = head_of(found.clone_url, access, deadline=deadline)
        if head is None:
            return RepositoryFacts(None)
        if kept := self._kept(found, head):
            return kept
        is_blobless = found.size_bytes > BLOBLESS_BYTES
        try:
            with cloned(found.clone_url, access, is_blobless=is_blobless, deadline=deadline) as clone:
                facts = read_facts(clone, found.folder)
        except Missing as missing:
            if missing.reason is not Reason.TOO_LARGE:
                raise
            # It will be as large at the next evaluation: the minute that the clone took is not spent again.
            facts = repository_facts.unread(head, missing)
        packed = repository_facts.pack(facts)
        if packed and facts.head:
            self._cache.put(_key(found, facts.head), None, packed)
        return facts

    def _token_for(self, found: _Found) -> str | None:
        """The token, where the clone needs it and lies on the host that it is for."""
        if not found.is_private:
            return None
        hosts = {urlsplit(self._api_url).netloc.lower(), *(["github.com"] if self._api_url == PUBLIC_API else [])}
        return self._token if urlsplit(found.clone_url).netloc.lower() in hosts else None

    def _kept(self, found: _Found, head: str) -> RepositoryFacts | None:
        kept = self._cache.get(_key(found, head))
        return repository_facts.unpack(kept[1]) if kept else None

    def _tree(self, found: _Found, facts: RepositoryFacts) -> CodeTree:
        return facts.tree(_source(found, facts), found.folder)

    def _changesets(self, found: _Found) -> Changesets:
        try:
            facts = self._facts(found)
        except Missing:
            # Without a clone GitHub can still be asked for the chain of changes, one by one.
            return self._keep(found, *reviews.by_rest(self._asking, found.name, found.branch), lines_known=False)
        if facts.head is None:
            return Changesets(_reviews_source(found, "empty"), ())
        if kept := self._cache.get(self._reviews_key(found, facts.head)):
            unpacked = reviews.unpack(kept[1])
            if unpacked is not None:
                return Changesets(_reviews_source(found, facts.head), *unpacked)
        if not isinstance(facts.changesets, Missing):
            asked = reviews.by_graphql(self._asking, found.name, facts.changesets)
            if asked is not None:
                return self._keep(found, facts.head, asked, lines_known=facts.lines_known)
        return self._keep(found, *reviews.by_rest(self._asking, found.name, found.branch), lines_known=False)

    def _keep(
        self, found: _Found, head: str | None, changesets: Sequence[Changeset], *, lines_known: bool
    ) -> Changesets:
        if head is not None:
            # What comes after a merge does not count, so the answer for one commit stays as it is.
            packed = reviews.pack(changesets, lines_known=lines_known)
            self._cache.put(self._reviews_key(found, head), None, packed)
        return Changesets(_reviews_source(found, head or "empty"), changesets, lines_known)

    def _reviews_key(self, found: _Found, head: str) -> str:
        # Who has no token may be answered in less detail.
        return f"reviews {found.clone_url} {head} {'token' if self._token else 'nobody'}"


def _found(place: CodePlace, document: Mapping[str, Any]) -> _Found:
    """What GitHub says of a repository.

    Raises:
        Missing: It says it in another shape than we know (`malformed`).
    """
    name, branch, clone_url, size = (document.get(key) for key in ("full_name", "default_branch", "clone_url", "size"))
    own = f"{place.repository.owner}/{place.repository.name}"
    if not isinstance(clone_url, str):
        raise Missing(
            Reason.MALFORMED, f"GitHub does not say where {own[:80]} can be cloned from; check GITHUB_API_URL"
        )
    branch = branch if isinstance(branch, str) else ""
    return _Found(
        # A repository that was renamed answers with the name that it has now.
        name=name if isinstance(name, str) and _FULL_NAME.fullmatch(name) else own,
        clone_url=clone_url,
        branch=branch,
        size_bytes=size * 1000 if isinstance(size, int) else 0,
        folder=place.folder(branch),
        is_private=document.get("private") is True,
    )


def _elsewhere(code_url: str, api_url: str) -> Missing:
    host = host_of(code_url)
    if not host or host in {*GITHUB_HOSTS, urlsplit(api_url).netloc.lower()}:
        return Missing(
            Reason.NO_CODE_REPO, f"{code_url[:80]!r} names no repository; give https://github.com/owner/name"
        )
    return Missing(
        Reason.HOST_UNSUPPORTED, f"Code can be read on GitHub only, and this is on {host[:60]}; give a GitHub address"
    )


def _local_path(code_url: str) -> Path | None:
    if code_url.startswith("file:///"):
        return Path(unquote(urlsplit(code_url).path))
    return Path(code_url) if code_url.startswith("/") else None


def _source(found: _Found, facts: RepositoryFacts) -> Source:
    return Source("git", f"{found.name}@{facts.head or 'empty'}")


def _reviews_source(found: _Found, head: str) -> Source:
    return Source("github", f"{found.name}@{head} reviews")


def _key(found: _Found, head: str) -> str:
    return f"git {found.clone_url} {head} {found.folder}"
