"""The license check from end to end: a real server, a package, and a small GitHub that it is pointed at."""

import json
import uuid
from collections.abc import Iterator

import httpx
import pytest
from click.testing import CliRunner, Result

from tests.conftest import Server, start_server, stop_server
from tests.doors.rest import client_of, problem, publish, register
from tests.github_server import Fault, GitHub
from tests.rules.license_corpus import text_of
from weighhouse.doors.cli.license_check import license_check

URL = "https://github.com/acme/"


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with GitHub() as running:
        for name, spdx_id in {"mit": "MIT", "gpl": "GPL-3.0", "gpl2": "GPL-2.0", "lgpl": "LGPL-2.1"}.items():
            running.add_repository("acme", name, {"LICENSE": "text"}, spdx_id)
        running.add_repository("acme", "bare", {"README.md": "nothing"})
        files = {"LICENSE-MIT": text_of("MIT"), "LICENSE-APACHE": text_of("Apache-2.0")}
        running.add_repository("acme", "dual", files, "NOASSERTION", license_path="LICENSE-APACHE")
        running.add_repository("acme", "strange", {"LICENSE": "Ask me on Sundays. " * 20}, "NOASSERTION")
        yield running


@pytest.fixture(scope="module")
def checker(github: GitHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own that asks the small GitHub."""
    folder = tmp_path_factory.mktemp("license") / "data"
    running = start_server(folder, WEIGHHOUSE_GITHUB_API_URL=github.url, WEIGHHOUSE_WORKERS="1")
    yield running
    stop_server(running)


@pytest.fixture(scope="module")
def admin(checker: Server) -> Iterator[httpx.Client]:
    with client_of(checker, checker.admin_token) as client:
        yield client


@pytest.fixture(scope="module")
def models(admin: httpx.Client) -> dict[str, str]:
    """Ids of packages by what their cards say of the license."""
    cards = {
        "mit": "license: mit",
        "apache": "license: apache-2.0",
        "llama": "license: llama3.1",
        "gpl3": "license: gpl-3.0",
        "named": "license: other\nlicense_name: qwen",
        "silent": "tags: [x]",
    }
    found = {
        name: publish(admin, f"model-{name}", files={"README.md": f"---\n{card}\n---\n# M\n"})
        for name, card in cards.items()
    }
    shipped = {
        "README.md": "---\nlicense: other\n---\n# M\n",
        "LICENSE": text_of("BSD-3-Clause"),
        "third/LICENSE": text_of("MIT"),
    }
    return found | {"shipped": publish(admin, "model-shipped", files=shipped)}


def ask(client: httpx.Client, repository: str, model_id: str) -> httpx.Response:
    return client.post("/package/license-check", json={"github_url": URL + repository, "model_id": model_id})


def checked(client: httpx.Client, repository: str, model_id: str) -> dict[str, object]:
    answer = ask(client, repository, model_id)
    assert answer.status_code == 200, answer.text
    document: dict[str, object] = answer.json()
    assert document["disclaimer"] == "Automated licence comparison; not legal advice."
    return document


def test_the_compatible_example(admin: httpx.Client, models: dict[str, str]) -> None:
    document = checked(admin, "mit", models["apache"])
    assert {key: document[key] for key in ("compatible", "github_license", "model_license", "reason", "warnings")} == {
        "compatible": True,
        "github_license": "MIT",
        "model_license": "Apache-2.0",
        "reason": "MIT is compatible with Apache-2.0 licenses",
        "warnings": None,
    }
    assert (document["verdict"], document["determined"], document["rule"]) == ("compatible", True, "R3")
    assert document["project"] == {
        "raw": "MIT",
        "spdx": "MIT",
        "display": "MIT",
        "category": "permissive",
        "source": "github",
        "match_score": None,
        "files": ["LICENSE"],
    }


def test_the_incompatible_example(admin: httpx.Client, models: dict[str, str]) -> None:
    document = checked(admin, "gpl", models["mit"])
    assert {key: document[key] for key in ("compatible", "github_license", "model_license", "reason", "warnings")} == {
        "compatible": False,
        "github_license": "GPL-3.0",
        "model_license": "MIT",
        "reason": "GPL-3.0 is not compatible with MIT license. GPL requires derivative works to use GPL.",
        "warnings": ["Consider using a GPL-compatible license or choosing a different model"],
    }
    assert document["reverse_compatible"] is True


@pytest.mark.parametrize(
    ("repository", "model", "verdict", "github_license", "model_license"),
    [
        ("lgpl", "mit", "conditional", "LGPL-2.1", "MIT"),
        ("bare", "mit", "incompatible", "No license", "MIT"),
        ("strange", "mit", "unknown", "NOASSERTION", "MIT"),
        ("dual", "mit", "compatible", "Apache-2.0 OR MIT", "MIT"),
        ("mit", "named", "compatible", "MIT", "qwen"),
        ("mit", "shipped", "compatible", "MIT", "BSD-3-Clause"),
        ("mit", "silent", "unknown", "MIT", "No license"),
        ("gpl", "llama", "incompatible", "GPL-3.0", "llama3.1"),
    ],
)
def test_every_kind_of_answer(
    admin: httpx.Client,
    models: dict[str, str],
    repository: str,
    model: str,
    verdict: str,
    github_license: str,
    model_license: str,
) -> None:
    document = checked(admin, repository, models[model])
    assert (document["verdict"], document["github_license"], document["model_license"]) == (
        verdict,
        github_license,
        model_license,
    )
    assert document["compatible"] == (verdict in {"compatible", "conditional"})


def test_a_bare_gnu_name_is_warned_of_where_later_versions_would_matter(
    admin: httpx.Client, models: dict[str, str]
) -> None:
    warnings = checked(admin, "gpl2", models["gpl3"])["warnings"]
    assert isinstance(warnings, list)
    assert any("any later version" in warning for warning in warnings)


def test_what_the_model_permits_is_told(admin: httpx.Client, models: dict[str, str]) -> None:
    document = checked(admin, "gpl", models["llama"])
    use = document["model_use"]
    assert isinstance(use, dict)
    assert use["distribute_together"]["permission"] == "conditional"
    assert use["train_on_output"]["permission"] == "conditional"
    assert document["derivative_license"] == "same_restrictions"


def test_an_answer_is_kept_and_asked_for_again_with_its_etag(
    admin: httpx.Client, models: dict[str, str], github: GitHub
) -> None:
    github.add_repository("acme", "kept", {"LICENSE": "text"}, "ISC")
    for _ in range(2):
        checked(admin, "kept", models["mit"])
    asked = [one for one in github.requests if one.path == "/repos/acme/kept/license"]
    assert [bool(one.headers.get("if-none-match")) for one in asked] == [False, True]


@pytest.mark.parametrize(
    ("github_url", "status", "kind"),
    [
        ("https://me:pw@github.com/acme/mit", 400, "bad-repository-url"),
        ("file:///etc/passwd", 400, "bad-repository-url"),
        ("ssh://git@github.com/acme/mit", 400, "bad-repository-url"),
        ("host:acme/mit", 400, "bad-repository-url"),
        ("https://github.com/acme/mit\r\nX: y", 400, "bad-repository-url"),
        ("https://gitlab.com/acme/mit", 422, "no-repository"),
        ("https://169.254.169.254/acme/mit", 422, "no-repository"),
        ("https://github.com/acme", 422, "no-repository"),
        ("https://github.com/acme/nowhere", 404, "repository-not-found"),
    ],
)
def test_addresses_that_lead_nowhere(
    admin: httpx.Client, models: dict[str, str], github: GitHub, github_url: str, status: int, kind: str
) -> None:
    before = len(github.requests)
    answer = admin.post("/package/license-check", json={"github_url": github_url, "model_id": models["mit"]})
    problem(answer, status, kind)
    if status != 404:
        assert len(github.requests) == before


def test_bad_bodies(admin: httpx.Client, models: dict[str, str]) -> None:
    problem(ask(admin, "mit", str(uuid.uuid4())), 404, "package-not-found")
    problem(ask(admin, "mit", "no-id"), 422)
    problem(admin.post("/package/license-check", json={"github_url": URL + "mit"}), 422)
    problem(admin.post("/package/license-check", json={"github_url": 7, "model_id": models["mit"]}), 422)
    problem(admin.post("/package/license-check", content=b"{", headers={"Content-Type": "application/json"}), 400)


def test_the_address_is_no_package_for_other_methods(admin: httpx.Client) -> None:
    problem(admin.get("/package/license-check"), 422)
    problem(admin.put("/package/license-check"), 405)


def test_it_takes_a_token_with_the_permission_to_search(checker: Server, models: dict[str, str]) -> None:
    with client_of(checker) as nobody:
        problem(ask(nobody, "mit", models["mit"]), 401)
    with register(checker, "download", "upload").client as blind:
        problem(ask(blind, "mit", models["mit"]), 403)
    with register(checker, "search").client as reader:
        assert ask(reader, "mit", models["mit"]).status_code == 200


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ([Fault(403, {"X-RateLimit-Remaining": "0", "Retry-After": "120"})], "rate_limited"),
        ([Fault(429, {"Retry-After": "120"})], "rate_limited"),
        ([Fault(403)], "forbidden"),
        ([Fault(200, body=b"<html>")], "malformed"),
        ([Fault(drops=True)] * 3, "unreachable"),
    ],
)
def test_a_github_that_does_not_say_is_503_and_no_verdict(
    admin: httpx.Client, models: dict[str, str], github: GitHub, faults: list[Fault], reason: str
) -> None:
    github.fail(*faults)
    document = problem(ask(admin, "mit", models["mit"]), 503, "github-away")
    assert document["reason"] == reason


def run(checker: Server, *arguments: str) -> Result:
    env = {"WEIGHHOUSE_SERVER": checker.url, "WEIGHHOUSE_TOKEN": checker.admin_token}
    return CliRunner(env=env).invoke(license_check, list(arguments), prog_name="license-check")


def test_the_command_exits_by_the_answer(checker: Server, models: dict[str, str]) -> None:
    yes, no = run(checker, URL + "lgpl", "model-mit@1.0.0"), run(checker, URL + "gpl", models["mit"])
    unknown = run(checker, URL + "strange", "model-mit")
    assert (yes.exit_code, no.exit_code, unknown.exit_code) == (0, 1, 1), yes.output
    assert "the LGPL-2.1 code stays a replaceable library" in yes.stdout
    assert "Consider using a GPL-compatible license" in no.stdout
    assert "not legal advice" in no.stdout
    assert "could not be determined" in unknown.stdout


def test_the_command_prints_the_servers_json(checker: Server, models: dict[str, str]) -> None:
    shown = run(checker, URL + "mit", "model-apache", "--json")
    assert json.loads(shown.stdout)["reason"] == "MIT is compatible with Apache-2.0 licenses"
    assert run(checker, "file:///x", "model-apache").exit_code == 1
