"""A repository's license: what GitHub recognised, else what its files say; absence and outage never meet."""

from collections.abc import Iterator, Mapping

import pytest

from tests.github_server import Fault, GitHub
from tests.rules.license_corpus import text_of
from weighhouse.rules.evidence import Reason
from weighhouse.rules.project_license import Stated
from weighhouse.rules.repositories import Repository
from weighhouse.sources import github_license as module
from weighhouse.sources.github import GitHub as Client
from weighhouse.sources.github import GitHubMissing
from weighhouse.sources.github_license import project_license

TOOL = Repository("acme", "tool")
MIT, APACHE = text_of("MIT"), text_of("Apache-2.0")


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as running:
        yield running


def license_of(github: GitHub, repository: Repository = TOOL) -> Stated | None:
    with Client(github.url, pause=lambda seconds: None) as client:
        return project_license(client, repository)


def found_in(github: GitHub, files: Mapping[str, str | bytes], license_path: str = "LICENSE") -> Stated:
    github.add_repository("acme", "tool", files, "NOASSERTION", license_path=license_path)
    found = license_of(github)
    assert found is not None
    return found


def test_what_github_recognised_is_taken_as_it_stands(github: GitHub) -> None:
    github.add_repository("acme", "tool", {"LICENSE": APACHE, "package.json": '{"license": "MIT"}'}, "GPL-3.0")
    found = license_of(github)
    assert found is not None
    assert (found.license.display, found.source, found.files) == ("GPL-3.0", "github", ("LICENSE",))
    assert len(github.requests) == 1


def test_a_repository_without_a_license_file_has_no_license(github: GitHub) -> None:
    github.add_repository("acme", "tool", {"README.md": "MIT"})
    found = license_of(github)
    assert found is not None
    assert (found.license.state, found.source) == ("none", "none")


def test_no_repository_is_none(github: GitHub) -> None:
    assert license_of(github) is None


def test_a_private_repository_is_shown_to_its_token_only() -> None:
    with GitHub(token="t") as github:
        github.add_repository("acme", "tool", {}, "MIT", is_private=True)
        assert license_of(github) is None
        with Client(github.url, "t") as client:
            found = project_license(client, TOOL)
        assert found is not None
        assert found.license.display == "MIT"


def test_a_renamed_repository_is_followed(github: GitHub) -> None:
    github.add_repository("acme", "tool", {}, "MIT")
    github.rename("acme/old", "acme/tool")
    found = license_of(github, Repository("acme", "old"))
    assert found is not None
    assert found.license.display == "MIT"


def test_two_license_files_are_a_choice(github: GitHub) -> None:
    found = found_in(github, {"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "LICENSE-APACHE")
    assert (found.license.expression, found.source) == ("Apache-2.0 OR MIT", "text")
    assert found.files == ("LICENSE-APACHE", "LICENSE-MIT")
    assert found.match_score is not None
    assert found.match_score > 0.9
    # GitHub sends the file along that it looked at: it is not asked for twice.
    assert [asked.path.rpartition("/contents/")[2] for asked in github.requests[1:]] == ["", "LICENSE-MIT"]


def test_metadata_decides_how_texts_belong_together(github: GitHub) -> None:
    found = found_in(
        github, {"LICENSE": MIT, "COPYING": APACHE, "Cargo.toml": '[package]\nlicense = "MIT OR Apache-2.0"'}
    )
    assert (found.license.expression, found.source) == ("MIT OR Apache-2.0", "metadata")


def test_a_folder_of_licenses_is_read(github: GitHub) -> None:
    found = found_in(github, {"LICENSES/MIT.txt": MIT, "LICENSES/Apache-2.0.txt": APACHE}, "LICENSES/MIT.txt")
    assert found.license.expression == "Apache-2.0 AND MIT"


def test_a_changed_text_is_unknown(github: GitHub) -> None:
    found = found_in(github, {"LICENSE": f"{APACHE}\nCommons Clause: you may not sell the Software."})
    assert found.license.expression == "LicenseRef-modified"


@pytest.mark.parametrize("content", ["", "All rights reserved.", b"\xff\xfe\x00" * 500, "word " * 500, "x" * 3_000_000])
def test_a_license_file_of_which_nothing_can_be_made_is_unknown_and_not_absent(
    github: GitHub, content: str | bytes
) -> None:
    assert found_in(github, {"LICENSE": content}).license.state != "none"


def test_names_that_would_be_other_paths_stay_names(github: GitHub) -> None:
    found = found_in(github, {"LICENSE": MIT, "LICENSE?x=..%2F": MIT})
    assert found.license.expression == "MIT"
    assert github.requests[-1].path.endswith("/contents/LICENSE%3Fx%3D..%252F")


def test_no_more_than_ten_files_are_asked_for(github: GitHub) -> None:
    found_in(github, {f"LICENSE-{number:02}": MIT for number in range(40)}, "LICENSE-00")
    assert len(github.requests) <= 12


@pytest.mark.parametrize("body", [b"[]", b'"text"', b'{"license": ["MIT"]}', b'{"license": "MIT"}', b"{"])
def test_an_answer_of_another_shape_is_malformed(github: GitHub, body: bytes) -> None:
    github.add_repository("acme", "tool", {"LICENSE": MIT}, "MIT")
    github.fail(Fault(200, body=body))
    with pytest.raises(GitHubMissing) as missing:
        license_of(github)
    assert missing.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("body", [b"null", b"{}", b'{"license": {"spdx_id": 7}, "path": 3, "content": []}'])
def test_an_answer_that_says_nothing_is_looked_behind(github: GitHub, body: bytes) -> None:
    github.add_repository("acme", "tool", {"LICENSE": MIT}, "MIT")
    github.fail(Fault(200, body=body))
    found = license_of(github)
    assert found is not None
    assert found.license.display == "MIT"


def test_an_outage_is_never_an_absence(github: GitHub) -> None:
    github.add_repository("acme", "tool", {"README.md": "x"})
    for faults in ([Fault(503)] * 3, [Fault(), Fault(403)], [Fault(), *[Fault(500)] * 3]):
        github.fail(*faults)
        with pytest.raises(GitHubMissing):
            license_of(github)


def test_many_slow_answers_end_together(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALL_SECONDS", 0.2)
    github.add_repository("acme", "tool", {f"LICENSE-{number}": MIT for number in range(9)}, "NOASSERTION")
    github.fail(*[Fault(seconds=0.15)] * 12)
    with pytest.raises(GitHubMissing) as missing:
        license_of(github)
    assert missing.value.reason is Reason.TIMEOUT
    assert len(github.requests) < 5
