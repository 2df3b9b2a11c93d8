"""Addresses of code: the repository they name, whatever form they come in, and nothing that is none."""

import pytest

from weighhouse.rules.code_urls import CodePlace, code_place, host_of
from weighhouse.rules.repositories import Repository

API = "https://api.github.com"


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/tiny",
        "https://www.github.com/acme/tiny/",
        "http://GitHub.com/acme/tiny.git",
        " https://github.com/acme/tiny?tab=readme#usage ",
        "https://github.com/acme/tiny/tree/main",
        "https://github.com/acme/tiny/issues/7",
        "https://github.com/acme/tiny/blob/main/README.md",
        "git@github.com:acme/tiny.git",
        "ssh://git@github.com/acme/tiny.git",
    ],
)
def test_every_form_of_an_address_names_the_same_repository(url: str) -> None:
    found = code_place(url, api_url=API)
    assert found is not None
    assert (found.repository, found.folder("main")) == (Repository("acme", "tiny"), "")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "acme/tiny",
        "/srv/acme/tiny",
        "file:///srv/acme/tiny",
        "https://github.com/",
        "https://github.com/acme",
        "https://github.com/-acme/tiny",
        "https://github.com/acme/..",
        "https://github.com/acme/%2e%2e",
        "https://github.com/acme/a%2Fb",
        "https://github.com/acme/ti\nny",
        "https://github.com.evil.example/acme/tiny",
        "https://evil.example/github.com/acme/tiny",
        "https://github.com@evil.example/acme/tiny",
        "https://gitlab.com/acme/tiny",
        "https://[/acme/tiny",
        "ext::sh -c touch% /tmp/x",
        "--upload-pack=touch /tmp/x",
    ],
)
def test_what_is_no_address_of_github_names_no_repository(url: str) -> None:
    assert code_place(url, api_url=API) is None


@pytest.mark.parametrize(
    ("url", "default_branch", "folder"),
    [
        ("https://github.com/acme/tiny/tree/main/train", "main", "train"),
        ("https://github.com/acme/tiny/tree/v1.0/train/deep/", "main", "train/deep"),
        ("https://github.com/acme/tiny/tree/feature/x/train", "feature/x", "train"),
        ("https://github.com/acme/tiny/blob/main/train/run%20it.py", "main", "train"),
        ("https://github.com/acme/tiny/tree/main", "main", ""),
        ("https://github.com/acme/tiny", "", ""),
    ],
)
def test_an_address_may_point_into_a_folder(url: str, default_branch: str, folder: str) -> None:
    found = code_place(url, api_url=API)
    assert found is not None
    assert found.folder(default_branch) == folder


def test_the_host_that_the_operator_set_counts_as_github() -> None:
    api_url = "http://127.0.0.1:8080/api/v3"
    own = code_place("http://127.0.0.1:8080/acme/tiny", api_url=api_url)
    public = code_place("https://github.com/acme/tiny", api_url=api_url)
    assert own == public == CodePlace(Repository("acme", "tiny"))
    assert code_place("http://127.0.0.1:8081/acme/tiny", api_url=api_url) is None


def test_the_host_of_an_address_is_named_in_advice() -> None:
    assert [host_of(url) for url in ("https://Codeberg.org/a/b", "git@x.org:a/b", "https://[", "x")] == [
        "codeberg.org",
        "x.org",
        "",
        "",
    ]
