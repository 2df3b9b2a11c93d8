"""A package with a code repository, weighed by the registry from the upload to the record."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from tests import forge as forges
from tests.forge import Forge, Pull, Reviewed
from tests.git_server import Made, needs_git
from tests.registry.shelf import caller, publish
from weighhouse.app import App
from weighhouse.registry.evaluate import run_evaluation
from weighhouse.rules.permissions import Permission
from weighhouse.store.tables import Evaluation, MetricRow, Package

pytestmark = needs_git

URL = "https://github.com/acme/tiny"
TRAIN = "import torch\n\n\ndef train(model: torch.nn.Module) -> None:\n    torch.optim.AdamW(model.parameters())\n"
WORK = "".join(f"\n\ndef step_{number}(value: int) -> int:\n    return value + {number}\n" for number in range(40))
TESTS = "from tiny import step_1\n\n\ndef test_step() -> None:\n    assert step_1(1) == 2\n" + "\n# more\n" * 3
CODE: dict[str | bytes, str | bytes | None] = {
    "train.py": TRAIN,
    "tiny.py": WORK.lstrip("\n"),
    "evaluate.py": "import tiny\n\nmodel = tiny.step_1(1)\nmodel.eval()\n",
    "tests/test_tiny.py": TESTS,
    "requirements.txt": "torch==2.1\n",
    ".github/workflows/tests.yml": "jobs:\n  test:\n    steps:\n      - run: pytest\n",
}


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with forges.running(tmp_path / "forge") as running:
        yield running


@pytest.fixture
def app(registry: App, forge: Forge) -> App:
    """A registry whose GitHub is the test's, and whose hub is away."""
    changed = {
        "github_api_url": forge.url,
        "github_token": SecretStr("t"),
        "hf_endpoint": "http://127.0.0.1:9",
    }
    return dataclasses.replace(registry, settings=registry.settings.model_copy(update=changed))


def weighed(app: App, package_id: UUID, job_id: int = 1) -> dict[str, MetricRow]:
    run_evaluation(app, package_id, job_id)
    with app.db.read() as tx:
        rows = tx.scalars(
            select(MetricRow)
            .join(Evaluation, MetricRow.evaluation_id == Evaluation.id)
            .where(Evaluation.job_id == job_id)
        ).all()
    return {row.metric: row for row in rows}


def package_of(app: App, code_url: str | None, **files: str) -> UUID:
    fields: dict[str, Any] = {"code_url": code_url} if code_url else {}
    who = caller(app, "ann", Permission.UPLOAD)
    return publish(app, who, "tiny", files={"README.md": "# Tiny\n", **files}, **fields)


def recent(days_ago: int) -> int:
    return int((datetime.now(UTC) - timedelta(days=days_ago)).timestamp())


def test_history_reviews_and_code_are_conclusive(app: App, forge: Forge) -> None:
    commits = [
        Made(CODE, at=recent(30)),
        Made({"more.py": "x = 1\n" * 60}, "Bob Roe", "bob@example.org", recent(20)),
        Made({"less.py": "y = 1\n" * 3}, at=recent(10)),
    ]
    project = forge.add("acme/tiny", commits)
    project.pulls.append(Pull(1, project.commits[0], [Reviewed("bob")]))
    package_id = package_of(app, URL)
    seen = weighed(app, package_id)

    assert {seen[name].status for name in ("bus_factor", "reviewedness", "code_quality", "dataset_and_code_score")} == {
        "ok"
    }
    assert (seen["bus_factor"].method, seen["bus_factor"].score) == ("git-doa", 0.41)
    head = project.commits[-1]
    assert seen["bus_factor"].sources == [{"kind": "git", "ref": f"acme/tiny@{head}"}]
    added = sum(text.count("\n") for path, text in CODE.items() if isinstance(text, str) and str(path).endswith(".py"))
    assert seen["reviewedness"].score == pytest.approx(added / (added + 63), abs=0.005)
    assert seen["reviewedness"].sources == [{"kind": "github", "ref": f"acme/tiny@{head} reviews"}]
    assert seen["code_quality"].method == "repository"
    assert seen["code_quality"].inputs["asserting_tests"] == 1
    assert (seen["code_quality"].inputs["ci"], seen["code_quality"].inputs["dependencies"]) == (1.0, 1.0)
    assert seen["dataset_and_code_score"].score == 0.50


def test_a_second_evaluation_of_an_unchanged_revision_clones_nothing(app: App, forge: Forge) -> None:
    forge.add("acme/tiny", [Made(CODE, at=recent(30))])
    package_id = package_of(app, URL)
    first = weighed(app, package_id)
    clones, questions = forge.asked(r"git-upload-pack"), forge.asked("/graphql")
    second = weighed(app, package_id, job_id=2)
    assert (forge.asked(r"git-upload-pack") - clones, forge.asked("/graphql") - questions) == (1, 0)
    assert {name: (row.score, row.inputs) for name, row in first.items()} == {
        name: (row.score, row.inputs) for name, row in second.items()
    }
    with app.db.read() as tx:
        assert len(set(tx.scalars(select(Evaluation.evidence_digest)))) == 1


def test_only_code_quality_is_limited_to_the_folder(app: App, forge: Forge) -> None:
    forge.add("acme/tiny", [Made({"part/run.py": WORK, **CODE}, at=recent(30))])
    seen = weighed(app, package_of(app, f"{URL}/tree/main/part"))
    assert (seen["code_quality"].inputs["files"], seen["code_quality"].inputs["asserting_tests"]) == (1, 0)
    assert seen["dataset_and_code_score"].score == 0.50
    assert seen["bus_factor"].inputs["files"] == 5


def test_a_dead_link_is_not_given_for_all_but_openness(app: App) -> None:
    seen = weighed(app, package_of(app, URL, **{"run.py": WORK}))
    assert (seen["bus_factor"].status, seen["bus_factor"].reason_code) == ("inconclusive", "no_code_repo")
    assert seen["reviewedness"].reason_code == "no_github_repo"
    assert seen["code_quality"].method == "package"
    assert seen["dataset_and_code_score"].status == "ok"


def test_the_contributors_stand_in_for_a_clone_that_is_refused(app: App, forge: Forge) -> None:
    project = forge.add("acme/tiny", [Made(CODE, at=recent(30))], clone_url="https://127.0.0.1:9/acme/tiny.git")
    project.contributors = {"ann": 5, "bob": 5}
    seen = weighed(app, package_of(app, URL))
    assert (seen["bus_factor"].method, seen["bus_factor"].score) == ("contributors", 0.35)
    assert seen["code_quality"].status == "inconclusive"
    assert seen["dataset_and_code_score"].status == "inconclusive"


def test_code_elsewhere_is_inconclusive_and_not_zero(app: App, forge: Forge) -> None:
    seen = weighed(app, package_of(app, "https://gitlab.com/acme/tiny"))
    for name in ("bus_factor", "reviewedness", "code_quality", "dataset_and_code_score"):
        assert (seen[name].status, seen[name].reason_code) == ("inconclusive", "host_unsupported")
    assert forge.github.requests == []


def test_a_github_that_is_away_holds_nothing_up(registry: App) -> None:
    away = {"github_api_url": "http://127.0.0.1:9", "hf_endpoint": "http://127.0.0.1:9"}
    app = dataclasses.replace(registry, settings=registry.settings.model_copy(update=away))
    seen = weighed(app, package_of(app, URL))
    for name in ("bus_factor", "reviewedness", "code_quality", "dataset_and_code_score"):
        assert (seen[name].status, seen[name].reason_code) == ("inconclusive", "unreachable")
    with app.db.read() as tx:
        assert tx.scalars(select(Package.status)).one() == "evaluated"
        assert tx.scalars(select(Evaluation.latency_ms)).one() < 5_000
