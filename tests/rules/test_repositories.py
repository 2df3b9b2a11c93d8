"""Addresses of repositories: read strictly, never followed."""

import pytest

from weighhouse.rules.errors import Invalid, Malformed
from weighhouse.rules.repositories import BadRepositoryUrl, NoRepository, Repository, require_repository

API = "https://api.github.com"


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/tool",
        "http://github.com/acme/tool",
        "https://www.github.com/acme/tool",
        "https://GitHub.com/acme/tool.git",
        "https://github.com/acme/tool/",
        "https://github.com/acme/tool/tree/main/src?tab=readme#top",
        "git@github.com:acme/tool.git",
        "git@github.com:acme/tool",
    ],
)
def test_owner_and_name_are_read(url: str) -> None:
    assert require_repository(url, "github_url", api_url=API) == Repository("acme", "tool")


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://github.com/a/b", "gopher://github.com/a/b", "data:text/plain,x", "jar:x!/y"),
        *(
            "ext::sh -c id",
            "ssh://git@github.com/a/b",
            "me@github.com:a/b",
            "git@evil.example:a/b",
            "-uhttps://github.com/a/b",
        ),
        *(
            "https://me:secret@github.com/a/b",
            "https://github.com/a/b\r\nHost: x",
            "https://github.com/a/b\t",
            " https://github.com/a/b",
        ),
        *(
            "https://github.com\\@evil.example/a/b",
            "https://github.com\u3002evil/a/b",
            "https://g\u0456thub.com/a/b",
            "github.com/a/b",
        ),
        *("", "a", "https://", "https://github.com:99999/a/b", "https://github.com/a/" + "b" * 3000),
    ],
)
def test_traps_are_malformed(url: str) -> None:
    with pytest.raises(BadRepositoryUrl) as refused:
        require_repository(url, "github_url", api_url=API)
    assert isinstance(refused.value, Malformed)
    assert "https://github.com/owner/name" in refused.value.detail
    assert "secret" not in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://gitlab.com/a/b",
            "https://github.com.evil.example/a/b",
            "https://evilgithub.com/a/b",
            "http://127.0.0.1/a/b",
        ),
        *(
            "https://github.com",
            "https://github.com/a",
            "https://github.com/../b",
            "https://github.com/a/..",
            "https://github.com/a/%2e%2e",
        ),
        *(
            "https://github.com/a/b%0d%0a",
            "https://github.com/-a/b",
            "https://github.com:444/a/b",
            "https://github.com/a/.git",
        ),
    ],
)
def test_other_hosts_and_no_repositories_are_invalid(url: str) -> None:
    with pytest.raises(NoRepository) as refused:
        require_repository(url, "github_url", api_url=API)
    assert isinstance(refused.value, Invalid)
    assert refused.value.field == "github_url"


def test_the_host_of_an_own_server_counts() -> None:
    for api_url in ("https://git.corp.example/api/v3", "https://api.git.corp.example"):
        found = require_repository("https://git.corp.example/acme/tool", "github_url", api_url=api_url)
        assert found.path == "/repos/acme/tool"
