"""Which changesets came by a reviewed request: asked in GraphQL, or over REST where GitHub does not serve it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlencode

from weighhouse.rules.evidence import Changeset, Missing, Reason, Request, Review
from weighhouse.rules.metrics.bus_factor import is_bot
from weighhouse.sources.budget import EVALUATION_CALLS, EVALUATION_CALLS_REST_ONLY, Budget
from weighhouse.sources.git_reading import MAX_CHANGESETS, FirstParentCommit
from weighhouse.sources.github import GitHub

CHANGESETS_PER_QUERY = 50
REST_PAGES = 3
REST_REVIEWED = 60
PAGE = 100

_STATES = frozenset({"APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"})
_NOBODY = "ghost"
"""Whom GitHub shows for an account that is gone."""

# What readers raise on answers of another shape.
_MISSHAPEN = (KeyError, TypeError, ValueError, AttributeError)

# Connections cost: those of each commit of each request would be hundreds of times the price of this.
_COMMIT = """c%d: object(oid: "%s") { ... on Commit { parents { totalCount }
authors(first: 10) { nodes { user { login } } }
associatedPullRequests(first: 3) { nodes {
mergedAt mergeCommit { oid } baseRepository { nameWithOwner } author { login __typename }
commits(first: 100) { nodes { commit { author { user { login } } } } }
reviews(first: 100) { nodes { author { login __typename } state bodyText submittedAt } }
} } } }"""


class Asking:
    """Questions to GitHub, whose answers have the shape that was asked for.

    Args:
        budget: That of the evaluation, which `github` takes its calls from.
    """

    def __init__(self, github: GitHub, budget: Budget) -> None:
        self._github = github
        self._budget = budget

    def object(self, path: str) -> Mapping[str, Any] | None:
        """The JSON object at a path; `None` when nothing is there.

        Raises:
            Missing: GitHub did not say, or answered something else.
        """
        found = self._github.get_json(path)
        if found is None or isinstance(found, dict):
            return found
        raise Missing(Reason.MALFORMED, f"GitHub's answer at {path[:80]} has an unknown shape")

    def list(self, path: str, query: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        """One page of the objects at a path; none when nothing is there.

        Raises:
            Missing: GitHub did not say, or answered something else.
        """
        found = self._github.get_json(f"{path}?{urlencode(query)}") or []
        if isinstance(found, list) and all(isinstance(one, dict) for one in found):
            return found
        raise Missing(Reason.MALFORMED, f"GitHub's answer at {path[:80]} has an unknown shape")

    def graphql(self, query: str, variables: Mapping[str, str]) -> Mapping[str, Any] | None:
        """The answer to a question in GraphQL; `None` where GraphQL is not served, or not to us.

        Raises:
            Missing: GitHub did not say.
        """
        if not self._github.has_token:
            return None
        document = self._github.post({"query": query, "variables": variables})
        if document is None:
            return None
        errors = document.get("errors") if isinstance(document, dict) else None
        if isinstance(errors, list) and any("RATE_LIMITED" in str(one)[:500] for one in errors):
            raise Missing(Reason.RATE_LIMITED, "GitHub's rate limit is used up; evaluate again later")
        if not isinstance(document, dict) or errors:
            raise Missing(Reason.UNREACHABLE, "GitHub could not answer for the reviews; evaluate again later")
        return document

    def allow_rest(self) -> None:
        """Makes room for the many small questions that take the place of a few large ones."""
        self._budget.extend(EVALUATION_CALLS_REST_ONLY - EVALUATION_CALLS)


def by_graphql(github: Asking, repository: str, chain: Sequence[FirstParentCommit]) -> Sequence[Changeset] | None:
    """The changesets with the requests that brought them; `None` where GraphQL is not served.

    Args:
        repository: `owner/name`.
        chain: First-parent commits, at most 300.

    Raises:
        Missing: GitHub did not say.
    """
    owner, _, name = repository.partition("/")
    found: list[Changeset] = []
    for start in range(0, len(chain), CHANGESETS_PER_QUERY):
        part = chain[start : start + CHANGESETS_PER_QUERY]
        objects = "\n".join(_COMMIT % (number, commit.sha) for number, commit in enumerate(part))
        query = f"query($owner: String!, $name: String!) {{ repository(owner: $owner, name: $name) {{\n{objects}\n}} }}"
        document = github.graphql(query, {"owner": owner, "name": name})
        if document is None:
            return None
        try:
            answer = document["data"]["repository"]
            found += [_changeset(commit, answer[f"c{number}"], repository) for number, commit in enumerate(part)]
        except _MISSHAPEN as error:
            raise _misshapen(repository) from error
    return found


def by_rest(github: Asking, repository: str, branch: str) -> tuple[str | None, Sequence[Changeset]]:
    """The commit at the head of a branch, and the changesets that end there, newest first, without their lines.

    Those are left out whose request would be one too many to ask for: what was not looked at is not called unreviewed.

    Args:
        repository: `owner/name`.

    Raises:
        Missing: GitHub did not say.
    """
    github.allow_rest()
    path = f"/repos/{repository}"
    commits, _ = _pages(github, f"{path}/commits", {"sha": branch})
    closed = {"state": "closed", "base": branch, "sort": "updated", "direction": "desc"}
    requests, has_more = _pages(github, f"{path}/pulls", closed)
    try:
        by_sha = {one["sha"]: one for one in commits}
        chain = list(_first_parents(commits, by_sha))[:MAX_CHANGESETS]
        merged = {one["merge_commit_sha"]: one for one in requests if one["merged_at"]}
        # A request that was merged later than the last one listed was updated later, too, so it is in the list.
        known_from = min((_instant(one["updated_at"]) for one in requests), default=None) if has_more else None
        found: list[Changeset] = []
        asked = 0
        for commit in chain:
            if known_from and _instant(commit["commit"]["committer"]["date"]) < known_from:
                break
            request = merged.get(commit["sha"])
            asked += request is not None
            if asked > REST_REVIEWED:
                break
            found.append(_rest_changeset(github, path, commit, request, by_sha))
    except _MISSHAPEN as error:
        raise _misshapen(repository) from error
    return (chain[0]["sha"] if chain else None), found


def pack(changesets: Sequence[Changeset], *, lines_known: bool) -> bytes:
    """The changesets as bytes, with whether their lines were counted."""
    document = {"lines_known": lines_known, "changesets": [_packed(one) for one in changesets]}
    return json.dumps(document, separators=(",", ":")).encode()


def unpack(packed: bytes) -> tuple[Sequence[Changeset], bool] | None:
    """What `pack` made bytes of; `None` when another release did it."""
    try:
        document = json.loads(packed)
        return [_unpacked(one) for one in document["changesets"]], document["lines_known"]
    except _MISSHAPEN:
        return None


def _changeset(commit: FirstParentCommit, answer: Mapping[str, Any], repository: str) -> Changeset:
    nodes = answer["associatedPullRequests"]["nodes"]
    merged = [
        one
        for one in nodes
        if one["mergedAt"] and (one["baseRepository"] or {}).get("nameWithOwner", "").lower() == repository.lower()
    ]
    # A commit may have come by several requests, one into the branch of another; the one that ended in it comes first.
    merged.sort(key=lambda one: ((one["mergeCommit"] or {}).get("oid") != commit.sha, one["mergedAt"]))
    if not merged:
        return Changeset(commit.lines, is_bot(commit.author, commit.email))
    node = merged[0]
    author = node["author"] or {"login": _NOBODY, "__typename": "User"}
    written = [one["commit"]["author"] for one in node["commits"]["nodes"]]
    if answer["parents"]["totalCount"] < 2:
        # A squashed commit names its co-authors; the author of a merge is who pressed the button, often the reviewer.
        written += answer["authors"]["nodes"]
    authors = {author["login"], *(one["user"]["login"] for one in written if one and one["user"])}
    reviews = [_graphql_review(one) for one in node["reviews"]["nodes"] if one["submittedAt"]]
    request = Request(frozenset(authors), _instant(node["mergedAt"]), reviews)
    return Changeset(commit.lines, author["__typename"] == "Bot" or is_bot(author["login"]), request)


def _graphql_review(one: Mapping[str, Any]) -> Review:
    by = one["author"] or {"login": _NOBODY, "__typename": "User"}
    return _review(by["login"], by["__typename"] == "Bot", one["state"], one["bodyText"], one["submittedAt"])


def _review(by: str, is_program: bool, state: str, text: str | None, at: str) -> Review:
    known = state if state in _STATES else "PENDING"
    return Review(by, is_program or is_bot(by), cast(Any, known), bool((text or "").strip()), _instant(at))


def _pages(github: Asking, path: str, query: Mapping[str, str]) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """The entries of at most three pages, and whether there may be more."""
    found: list[Mapping[str, Any]] = []
    for page in range(1, REST_PAGES + 1):
        entries = github.list(path, {**query, "per_page": str(PAGE), "page": str(page)})
        found += entries
        if len(entries) < PAGE:
            return found, False
    return found, True


def _first_parents(commits: Sequence[Mapping[str, Any]], by_sha: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    seen: set[str] = set()
    at: str = commits[0]["sha"] if commits else ""
    while at in by_sha and at not in seen:
        seen.add(at)
        yield by_sha[at]
        at = next((parent["sha"] for parent in by_sha[at]["parents"]), "")


def _rest_changeset(
    github: Asking,
    path: str,
    commit: Mapping[str, Any],
    request: Mapping[str, Any] | None,
    by_sha: Mapping[str, Mapping[str, Any]],
) -> Changeset:
    if request is None:
        return Changeset(1, _is_bots(commit))
    author = request["user"] or {"login": _NOBODY}
    authors = {author["login"], *_commit_authors(commit, by_sha)}
    listed = github.list(f"{path}/pulls/{int(request['number'])}/reviews", {"per_page": str(PAGE)})
    reviews = []
    for one in listed:
        by = one["user"] or {"login": _NOBODY}
        if one.get("submitted_at"):
            is_program = by.get("type") == "Bot"
            reviews.append(_review(by["login"], is_program, one["state"], one.get("body"), one["submitted_at"]))
    is_program = author.get("type") == "Bot" or is_bot(author["login"])
    return Changeset(1, is_program, Request(frozenset(authors), _instant(request["merged_at"]), reviews))


def _commit_authors(commit: Mapping[str, Any], by_sha: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Logins of those who wrote the commits of a changeset, as far as these were listed.

    The author of a merge is who pressed the button, often the reviewer; the merged commits are behind its other parents.
    """
    parents = [parent["sha"] for parent in commit["parents"]]
    if len(parents) < 2:
        return {commit["author"]["login"]} if commit.get("author") else set()
    own = _reachable(parents[:1], by_sha)
    side = [by_sha[sha] for sha in _reachable(parents[1:], by_sha) - own]
    return {one["author"]["login"] for one in side if one.get("author") and len(one["parents"]) < 2}


def _reachable(start: Sequence[str], by_sha: Mapping[str, Mapping[str, Any]]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        sha = waiting.pop()
        if sha in by_sha and sha not in found:
            found.add(sha)
            waiting += [parent["sha"] for parent in by_sha[sha]["parents"]]
    return found


def _is_bots(commit: Mapping[str, Any]) -> bool:
    account, written = commit.get("author") or {}, commit["commit"].get("author") or {}
    names = (account.get("login", ""), written.get("name") or "", written.get("email") or "")
    return account.get("type") == "Bot" or is_bot(*names)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at


def _misshapen(repository: str) -> Missing:
    return Missing(Reason.MALFORMED, f"GitHub's answer about the reviews of {repository[:80]} has an unknown shape")


def _packed(one: Changeset) -> list[Any]:
    if one.request is None:
        return [one.lines, one.is_bot]
    reviews = [[each.by, each.is_bot, each.state, each.has_text, each.at.isoformat()] for each in one.request.reviews]
    merged_at = one.request.merged_at.isoformat() if one.request.merged_at else None
    return [one.lines, one.is_bot, sorted(one.request.authors), merged_at, reviews]


def _unpacked(one: list[Any]) -> Changeset:
    lines, is_program, *rest = one
    if not rest:
        return Changeset(lines, is_program)
    authors, merged_at, reviews = rest
    request = Request(
        frozenset(authors),
        datetime.fromisoformat(merged_at) if merged_at else None,
        [Review(by, bot, state, has_text, datetime.fromisoformat(at)) for by, bot, state, has_text, at in reviews],
    )
    return Changeset(lines, is_program, request)
