"""A GitHub with repositories that can be cloned, and with people: contributors, pull requests, reviews."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.git_server import Made, ask_git, git, make_repository
from tests.github_server import Answer, Asked, GitHub

_OBJECT = re.compile(r'(c\d+): object\(oid: "([0-9a-f]+)"\)')


@dataclass(frozen=True)
class Reviewed:
    """A review of a pull request; `at` is later than the merge's time or earlier."""

    by: str
    state: str = "APPROVED"
    body: str = ""
    at: str = "2026-09-01T00:00:00Z"
    kind: str = "User"


@dataclass(frozen=True)
class Pull:
    """A closed pull request.

    Args:
        merge_commit: The commit that it left on the default branch.
        commits: The commits that it brought besides.
        merged_at: `None` for one that was closed unmerged.
    """

    number: int
    merge_commit: str
    reviews: Sequence[Reviewed] = ()
    author: str = "ann"
    kind: str = "User"
    commit_authors: Sequence[str] = ("ann",)
    commits: Sequence[str] = ()
    merged_at: str | None = "2026-09-02T00:00:00Z"


@dataclass
class Project:
    """One repository of the forge and what is said of it."""

    name: str
    commits: list[str]
    pulls: list[Pull] = field(default_factory=list)
    contributors: Mapping[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    logins: Mapping[str, str] = field(default_factory=dict)
    """Login of each author by e-mail address; by default the part before the `@`."""


@dataclass(frozen=True)
class Logged:
    """A commit as it lies in a repository, and the login of its author."""

    sha: str
    parents: Sequence[str]
    name: str
    email: str
    login: str
    at: str


class Forge:
    """A running GitHub at `url` whose repositories can be cloned from the same host and port."""

    def __init__(self, github: GitHub, root: Path) -> None:
        self.github = github
        self.url = github.url
        self.root = root
        self.projects: dict[str, Project] = {}
        self.moved: dict[str, str] = {}
        self.has_graphql = True
        github.serve(r"/([\w-]+/[\w.-]+)\.git/.*", self._clone)
        github.serve(r"/repos/([\w-]+/[\w.-]+)", self._facts)
        github.serve(r"/repos/([\w-]+/[\w.-]+)/contributors", self._contributors)
        github.serve(r"/repos/([\w-]+/[\w.-]+)/commits", self._commits)
        github.serve(r"/repos/([\w-]+/[\w.-]+)/pulls", self._pulls)
        github.serve(r"/repos/([\w-]+/[\w.-]+)/pulls/(\d+)/reviews", self._reviews)
        github.serve(r"/graphql", self._graphql)

    def add(self, name: str, commits: Sequence[Made], **facts: Any) -> Project:
        """A repository `owner/name` with these commits; `facts` go into what the API says of it."""
        made = make_repository(self.root / f"{name}.git", commits)
        project = Project(name, made, facts=facts)
        self.projects[name.lower()] = project
        return project

    def asked(self, pattern: str) -> int:
        """How many requests so far had a path like this."""
        return sum(re.search(pattern, asked.path) is not None for asked in self.github.requests)

    def _project(self, name: str) -> Project | None:
        return self.projects.get(name.lower())

    def _log(self, project: Project) -> dict[str, Logged]:
        """The commits of the default branch by id, newest first."""
        log = git(self.root / f"{project.name}.git", "log", "--format=%H|%P|%an|%ae|%cI", "main").decode().splitlines()
        rows = [line.split("|") for line in log]
        return {
            sha: Logged(sha, parents.split(), name, email, project.logins.get(email, email.partition("@")[0]), at)
            for sha, parents, name, email, at in rows
        }

    def _clone(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        project = self._project(match[1])
        if project is None:
            return None
        credentials = base64.b64encode(f"x-access-token:{self.github.token}".encode()).decode()
        if project.facts.get("private") and asked.headers.get("authorization") != f"Basic {credentials}":
            return Answer(401, headers={"WWW-Authenticate": "Basic"})
        return Answer(*_reordered(ask_git(self.root, asked.method, asked.path, asked.query, asked.headers, asked.body)))

    def _facts(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        if target := self.moved.get(match[1].lower()):
            return Answer.of({"message": "Moved Permanently"}, 301, Location=f"{self.url}/repos/{target}")
        project = self._project(match[1])
        if project is None:
            return None
        facts = {
            "full_name": project.name,
            "default_branch": "main",
            "size": 1,
            "archived": False,
            "private": False,
            "license": None,
            "clone_url": f"{self.url}/{project.name}.git",
        }
        return Answer.of(facts | project.facts)

    def _contributors(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        project = self._project(match[1])
        if project is None:
            return None
        listed = [{"login": who, "contributions": count, "type": "User"} for who, count in project.contributors.items()]
        return Answer.of(listed) if listed else Answer(204)

    def _commits(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        project = self._project(match[1])
        if project is None:
            return None
        if not project.commits:
            return Answer.of({"message": "Git Repository is empty."}, 409)
        commits = [
            {
                "sha": one.sha,
                "author": {"login": one.login, "type": "Bot" if one.login.endswith("[bot]") else "User"},
                "commit": {
                    "author": {"name": one.name, "email": one.email, "date": one.at},
                    "committer": {"name": one.name, "email": one.email, "date": one.at},
                },
                "parents": [{"sha": parent} for parent in one.parents],
            }
            for one in self._log(project).values()
        ]
        return _page(asked, commits)

    def _pulls(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        project = self._project(match[1])
        if project is None:
            return None
        listed = [
            {
                "number": one.number,
                "state": "closed",
                "user": {"login": one.author, "type": one.kind},
                "merged_at": one.merged_at,
                "updated_at": one.merged_at or "2026-09-02T00:00:00Z",
                "merge_commit_sha": one.merge_commit,
            }
            for one in reversed(project.pulls)
        ]
        return _page(asked, listed)

    def _reviews(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        project = self._project(match[1])
        pull = next((one for one in project.pulls if one.number == int(match[2])), None) if project else None
        if pull is None:
            return None
        return _page(
            asked,
            [
                {
                    "user": {"login": one.by, "type": one.kind},
                    "state": one.state,
                    "body": one.body,
                    "submitted_at": one.at,
                }
                for one in pull.reviews
            ],
        )

    def _graphql(self, asked: Asked, match: re.Match[str]) -> Answer | None:
        if not self.has_graphql or asked.method != "POST":
            return None
        question = asked.json
        variables = question["variables"]
        project = self._project(f"{variables['owner']}/{variables['name']}")
        if project is None:
            return Answer.of({"data": {"repository": None}, "errors": [{"type": "NOT_FOUND"}]})
        log = self._log(project)
        found = {alias: _associated(project, log[sha]) for alias, sha in _OBJECT.findall(question["query"])}
        return Answer.of({"data": {"repository": found}})


def _associated(project: Project, commit: Logged) -> dict[str, Any]:
    nodes = [
        {
            "mergedAt": one.merged_at,
            "mergeCommit": {"oid": one.merge_commit},
            "baseRepository": {"nameWithOwner": project.name},
            "author": {"login": one.author, "__typename": one.kind},
            "commits": {"nodes": [{"commit": {"author": {"user": {"login": login}}}} for login in one.commit_authors]},
            "reviews": {
                "nodes": [
                    {
                        "author": {"login": each.by, "__typename": each.kind},
                        "state": each.state,
                        "bodyText": each.body,
                        "submittedAt": each.at,
                    }
                    for each in one.reviews
                ]
            },
        }
        for one in project.pulls
        if commit.sha in (one.merge_commit, *one.commits)
    ]
    return {
        "parents": {"totalCount": len(commit.parents)},
        "authors": {"nodes": [{"user": {"login": commit.login}}, {"user": None}]},
        "associatedPullRequests": {"nodes": nodes},
    }


def _page(asked: Asked, entries: Sequence[Any]) -> Answer:
    query = parse_qs(asked.query)
    size, page = int(query.get("per_page", ["30"])[0]), int(query.get("page", ["1"])[0])
    return Answer.of(list(entries[(page - 1) * size : page * size]))


def _reordered(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, bytes, dict[str, str]]:
    status, headers, content = answer
    return status, content, headers


@contextmanager
def running(root: Path, *, token: str | None = None) -> Iterator[Forge]:
    """A forge whose repositories lie below `root`, gone at the end."""
    with GitHub(token=token) as github:
        yield Forge(github, root)
