"""Addresses of code: read into the repository and the folder that they name, never fetched as they are."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from weighhouse.rules.repositories import BadRepositoryUrl, Repository, github_repository

_SCP = re.compile(r"git@([A-Za-z0-9.-]+):.*", re.DOTALL)
# What people copy beside the address of the page.
_SSH = re.compile(r"ssh://git@([A-Za-z0-9.-]+)/")


@dataclass(frozen=True)
class CodePlace:
    """A repository of GitHub, and what an address names in it.

    Args:
        place: The parts of the path after `tree` or `blob`: a revision, which may have several parts, and a folder.
    """

    repository: Repository
    place: tuple[str, ...] = ()

    def folder(self, default_branch: str) -> str:
        """The folder that the address points into; `""` for the whole repository.

        >>> CodePlace(Repository("a", "b"), ("feature", "x", "src")).folder("feature/x")
        'src'
        """
        branch = tuple(default_branch.split("/"))
        rest = self.place[len(branch) :] if self.place[: len(branch)] == branch else self.place[1:]
        return "/".join(rest)


def code_place(url: str, *, api_url: str) -> CodePlace | None:
    """What an address of GitHub names; `None` when the address lies elsewhere or names no repository.

    Args:
        api_url: GitHub's REST address that this registry asks; its host counts beside the public one.

    >>> code_place("https://github.com/acme/tiny/tree/main/train/", api_url="https://api.github.com").folder("main")
    'train'
    """
    url = _SSH.sub(r"git@\1:", url.strip())
    try:
        repository = github_repository(url, "code_url", api_url=api_url)
    except BadRepositoryUrl:
        return None
    if repository is None:
        return None
    path = "" if _SCP.fullmatch(url) else urlsplit(url).path
    kind, *place = [unquote(part) for part in path.split("/") if part][2:] or [""]
    if kind == "blob":
        # The folder of the file that it shows; of a revision alone there is none.
        return CodePlace(repository, tuple(place[:-1]) if len(place) > 1 else ())
    return CodePlace(repository, tuple(place) if kind == "tree" else ())


def host_of(url: str) -> str:
    """The host that an address names, lower case, with its port; `""` when it names none.

    >>> host_of("git@GitHub.com:acme/tiny.git"), host_of("https://gitlab.com/acme/tiny"), host_of("/srv/code")
    ('github.com', 'gitlab.com', '')
    """
    if scp := _SCP.fullmatch(_SSH.sub(r"git@\1:", url.strip())):
        return scp[1].lower()
    try:
        return urlsplit(url.strip()).netloc.lower()
    except ValueError:
        return ""
