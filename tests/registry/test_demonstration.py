"""Demonstrations on model cards, run from the upload to the record."""

import dataclasses
import shutil

import pytest
from sqlalchemy import select

from tests.registry.shelf import caller, publish
from weighhouse.app import App
from weighhouse.registry.evaluate import run_evaluation
from weighhouse.sources.sandbox import Sandbox
from weighhouse.store.tables import Evaluation, MetricRow

_FAULT = Sandbox().fault

needs_sandbox = pytest.mark.skipif(_FAULT is not None, reason=f"needs a sandbox: {_FAULT}")

_LOADS = "import pathlib\n\ndef load(model):\n    return pathlib.Path(model).read_bytes()\n\n"

# What makes the scan say so.
_JUDGED: dict[str, dict[str, str | bytes]] = {
    "safe": {},
    "suspicious": {"more.7z": b"7z\xbc\xaf\x27\x1c and so on"},
    "unscanned": {"more.xyz": bytes(range(255, 1, -1))},
}


def weighed(registry: App, code: str, *, sandbox: str, verdict: str = "safe") -> MetricRow:
    """The metric of a package whose card shows this code."""
    changed = registry.settings.model_copy(update={"sandbox": sandbox, "hf_endpoint": "http://127.0.0.1:9"})
    app = dataclasses.replace(registry, settings=changed)
    files: dict[str, str | bytes] = {
        "README.md": f"# Tiny\n\n```python\n{code}\n```\n",
        "weights/model.bin": b"weights",
    }
    files |= _JUDGED[verdict]
    package_id = publish(app, caller(app, "ada"), "tiny", files=files)
    run_evaluation(app, package_id, 1)
    with app.db.read() as tx:
        rows = select(MetricRow).join(Evaluation, MetricRow.evaluation_id == Evaluation.id)
        return tx.scalars(rows.where(MetricRow.metric == "reproducibility")).one()


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "score", "method", "reason"),
    [
        (f"{_LOADS}assert load('/package/weights/model.bin') == b'weights'", 1.0, "run", "ran in the sandbox"),
        (f"{_LOADS}load('tiny' + '/weights/model.bin') if False else load('tiny')", 0.0, "run", "IsADirectoryError"),
        (f"{_LOADS}open('tiny' + '/weights/model.bin')\nprint('tiny')", 0.5, "run", "after mechanical repairs"),
        ("import surely_not_there\nsurely_not_there.load('tiny')", 0.5, "static", "runner lacks surely_not_there"),
        (f"{_LOADS}load('weights/model.bin')", 0.0, "run", "FileNotFoundError"),
        ("print('ok')", 0.0, "static", "never loads this model"),
    ],
)
def test_a_run_decides(registry: App, code: str, score: float, method: str, reason: str) -> None:
    row = weighed(registry, code, sandbox="safe")
    assert (row.score, row.method) == (score, method)
    assert reason in " ".join(row.reasons)


@needs_sandbox
@pytest.mark.parametrize(
    ("sandbox", "verdict", "is_run"),
    [("off", "safe", False), ("safe", "unscanned", False), ("safe", "suspicious", False), ("all", "unscanned", True)],
)
def test_only_what_the_operator_wants_is_run(registry: App, sandbox: str, verdict: str, is_run: bool) -> None:
    row = weighed(registry, f"{_LOADS}load('/package/weights/model.bin')", sandbox=sandbox, verdict=verdict)
    assert (row.score, row.method) == ((1.0, "run") if is_run else (0.5, "static"))


@needs_sandbox
@pytest.mark.parametrize(("sandbox", "score"), [("safe", 0.5), ("all", 1.0)])
def test_code_of_the_models_own_is_not_trusted_by_default(registry: App, sandbox: str, score: float) -> None:
    code = "def load(model, trust_remote_code): pass\n\nload('tiny', trust_remote_code=True)"
    row = weighed(registry, code, sandbox=sandbox)
    assert row.score == score


def test_without_isolation_the_static_verdict_stands_and_says_so(
    registry: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setattr("weighhouse.registry.demonstration._sandbox", Sandbox)
    row = weighed(registry, f"{_LOADS}load('/package/weights/model.bin')", sandbox="safe")
    assert (row.score, row.method) == (0.5, "static")
    assert "no sandbox: bubblewrap is not installed" in " ".join(row.reasons)
