"""`weighhouse FILE`: the real command, with the network away, and against a hub and a GitHub on this machine."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests import forge as forges
from tests.forge import Pull, Reviewed
from tests.git_server import Made, make_repository, needs_git
from tests.github_server import GitHub
from tests.hub_server import Hub
from tests.rules.test_batch_record import FIELDS
from weighhouse.doors.cli.main import tree
from weighhouse.rules.metrics.net import WEIGHTS

NOBODY = "http://127.0.0.1:9"
CARD = """---
license: bsd-3-clause
library_name: transformers
pipeline_tag: text-classification
---
# Tiny

It sorts letters into two heaps and was tuned on SQuAD. People who have many letters and little time give it the text of a
letter and get the name of a heap; it was made for one office and works well there, on English letters of one page.

```python
from transformers import pipeline
print(pipeline("text-classification", model="acme/tiny")("Dear Sir"))
```

## Limitations
It knows English letters of one page only, and anything else that it is given goes to the first heap without a word.
"""
PROGRAM = "".join(f"def step_{n}(value: int) -> int:\n    return value + {n}\n\n\n" for n in range(30))
LICENSE = "SPDX-License-Identifier: BSD-3-Clause\n" + "Redistribution and use are permitted. " * 10

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which nobody answers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEIGHHOUSE_", "GITHUB_", "HF_"))}
    for name in ("LOG_FILE", "LOG_LEVEL"):
        kept.pop(name, None)
    return kept | {"HOME": str(tmp_path / "home"), "HF_ENDPOINT": NOBODY, "GITHUB_API_URL": NOBODY}


@pytest.fixture
def command(environment: dict[str, str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What starts the command, in the test's folder, for `subprocess`."""

    def arguments(*given: str, **changed: str) -> dict[str, Any]:
        # As `run` starts it.
        return {
            "args": [sys.executable, "-P", "-m", "weighhouse", *given],
            "cwd": tmp_path,
            "env": environment | changed,
            "text": True,
        }

    return arguments


@pytest.fixture
def run(command: Callable[..., dict[str, Any]]) -> Run:
    """The command, to its end."""
    return lambda *given, **changed: subprocess.run(
        **command(*given, **changed), capture_output=True, check=False, timeout=60
    )


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        running.add_model(
            "acme/tiny",
            {
                "README.md": CARD,
                "LICENSE": LICENSE,
                "config.json": '{"model_type": "bert", "_name_or_path": "acme/base"}',
                "tokenizer.json": "{}",
                "model.safetensors": b"\0" * 100_000,
            },
        )
        running.add_dataset(
            "rajpurkar/squad",
            {"README.md": "---\nlicense: mit\n---\n# SQuAD\n" + "Questions on texts. " * 20, "data/test.parquet": b"x"},
        )
        yield running


def _objects(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def _is_valid(record: dict[str, Any]) -> bool:
    scores = [record[name] for name in ("net_score", *WEIGHTS) if name not in {"size_score", "reviewedness"}]
    scores += record["size_score"].values()
    latencies = [value for name, value in record.items() if name.endswith("_latency")]
    return (
        list(record) == FIELDS
        and all(score is None or 0 <= score <= 1 for score in scores)
        and all(isinstance(latency, int) and latency >= 1 for latency in latencies)
        and record["net_score_latency"] == max(latencies)
    )


def test_with_every_host_away_each_line_still_gives_its_object_at_once(run: Run, tmp_path: Path) -> None:
    lines = [f"https://github.com/acme/tool, , https://huggingface.co/acme/model-{n}" for n in range(20)]
    lines += ["", "https://gitlab.com/acme/tool, , http://127.0.0.1:9/acme/last/tree/main/"]
    (tmp_path / "urls").write_text("\r\n".join(lines))
    began = time.monotonic()
    done = run("urls", HOME="/dev/null")
    assert time.monotonic() - began < 20
    records = _objects(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert [record["name"] for record in records] == [*(f"model-{n}" for n in range(20)), "last"]
    assert all(map(_is_valid, records))
    assert {record["net_score"] for record in records} == {None}
    assert [record["reviewedness"] for record in records] == [None] * 20 + [-1]


@needs_git
def test_what_the_hub_and_github_say_is_in_the_scores(run: Run, hub: Hub, tmp_path: Path) -> None:
    hub.add_model("acme/bare", {"README.md": "# Bare"})
    (tmp_path / "urls").write_text(
        f", {hub.url}/datasets/rajpurkar/squad/, {hub.url}/acme/bare\nhttps://github.com/acme/tool/, , {hub.url}/acme/tiny\n"
    )
    with forges.running(tmp_path / "forge") as forge:
        project = forge.add("acme/tool", [Made({"tool.py": PROGRAM, "requirements.txt": "torch==2.0\n"})])
        project.pulls.append(Pull(1, project.commits[0], [Reviewed("bob")]))
        done = run("urls", "--explain", HF_ENDPOINT=hub.url, GITHUB_API_URL=forge.url, GITHUB_TOKEN="t")
    assert (done.returncode, done.stderr) == (0, "")
    bare, tiny = _objects(done)
    assert list(tiny) == [*FIELDS, "metrics_version", "coverage", "net_low", "net_high", "evidence"]
    unknown = {name: one["reasons"] for name, one in tiny["evidence"].items() if one["status"] != "ok"}
    assert list(unknown) == ["tree_score"], unknown
    assert tiny["evidence"]["tree_score"]["reason_code"] == "parents_not_scored"
    assert (tiny["reviewedness"], bare["reviewedness"]) == (1.0, -1)
    # The license text, the snippet and the layout are on the hub only, and count as they would in a package.
    assert (tiny["license"], tiny["reproducibility"], tiny["size_score"]["raspberry_pi"]) == (1.0, 0.5, 1.0)
    assert tiny["evidence"]["ramp_up_time"]["inputs"]["grades"]["loadable_layout"] == 1.0
    # The dataset was named by the line before and by the card's text.
    halves = [one["evidence"]["dataset_and_code_score"]["inputs"]["dataset_half"] for one in (bare, tiny)]
    assert halves == [{"rajpurkar/squad": pytest.approx(0.5)}, {"rajpurkar/squad": pytest.approx(0.45)}]
    assert (bare["license"], bare["reproducibility"], bare["performance_claims"]) == (0.0, 0.0, 0.0)


@needs_git
def test_code_on_this_machine_is_read_without_any_host(run: Run, tmp_path: Path) -> None:
    make_repository(tmp_path / "code", [Made({"tool.py": PROGRAM})])
    (tmp_path / "urls").write_text(f"{tmp_path}/code, , http://127.0.0.1:9/acme/tiny\n")
    (record,) = _objects(run("urls"))
    assert (record["bus_factor"], record["reviewedness"], record["license"]) == (0.35, -1, None)
    assert record["code_quality"] > 0.5


def test_a_broken_line_says_why_and_costs_only_its_own_object(run: Run, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text(f"{hub.url}/acme/tiny\nnot a model\n, , \n,,{hub.url}/acme/gone\n")
    done = run("urls", "--nulls", "-1", HF_ENDPOINT=hub.url)
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["Line 2", "Line 3"]
    tiny, gone = _objects(done)
    assert (tiny["name"], gone["name"], gone["license"], gone["net_score"]) == ("tiny", "gone", -1, -1)
    assert set(gone["size_score"].values()) == {-1}


def test_objects_come_in_the_order_of_the_file_and_slow_ones_hold_up_no_other(
    run: Run, hub: Hub, tmp_path: Path
) -> None:
    names = [f"m{n}" for n in range(5)]
    for name in names:
        hub.add_model(f"acme/{name}", {"README.md": f"# {name}"})
    hub.fail("/api/models/acme/m[0-3]$", delay_seconds=6)
    (tmp_path / "urls").write_text("".join(f"{hub.url}/acme/{name}\n" for name in names))
    began = time.monotonic()
    done = run("urls", HF_ENDPOINT=hub.url)
    # One after the other they would wait for twenty-four seconds and more.
    assert time.monotonic() - began < 22
    assert [record["name"] for record in _objects(done)] == names


def test_what_does_not_change_is_asked_for_once(run: Run, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text(f"{hub.url}/acme/tiny\n")
    first = run("urls", HF_ENDPOINT=hub.url, WEIGHHOUSE_CACHE_DIR="kept")
    asked = len(hub.asked())
    hub.forget_requests()
    second = run("urls", HF_ENDPOINT=hub.url, WEIGHHOUSE_CACHE_DIR="kept")
    assert [(one.path, one.status) for one in hub.asked("tiny")] == [("/api/models/acme/tiny", 304)]
    assert len(hub.asked()) < asked
    scores = [[record[name] for name in WEIGHTS] for record in (*_objects(first), *_objects(second))]
    assert scores[0] == scores[1]


def test_a_folder_is_weighed_by_its_own_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "README.md").write_text(CARD)
    (tmp_path / "tiny" / "LICENSE").write_text(LICENSE)
    (tmp_path / "tiny" / "tool.py").write_text(PROGRAM)
    done = run("batch", "--local", "tiny")
    assert (done.returncode, done.stderr) == (0, "")
    (record,) = _objects(done)
    assert _is_valid(record)
    assert (record["name"], record["license"]) == ("tiny", 1.0)
    assert record["code_quality"] > 0.5

    table = run("batch", "--local", "tiny", "--table").stdout
    assert [line.split()[0] for line in table.splitlines() if line.startswith("  ")] == list(
        dict.fromkeys(FIELDS[4::2])
    )
    assert "██████████ 1.00" in table


def test_a_token_that_github_refuses_ends_the_run_and_is_told_to_nobody(run: Run, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text("https://github.com/acme/tool, , http://127.0.0.1:9/acme/tiny\n")
    with GitHub(token="ghp_right") as github:
        refused = run("urls", GITHUB_API_URL=github.url, GITHUB_TOKEN="ghp_wrong", LOG_FILE="log", LOG_LEVEL="2")
        accepted = run("urls", GITHUB_API_URL=github.url, GITHUB_TOKEN="ghp_right", LOG_FILE="log", LOG_LEVEL="2")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "GITHUB_TOKEN" in refused.stderr
    assert accepted.returncode == 0
    told = refused.stderr + accepted.stdout + accepted.stderr + (tmp_path / "log").read_text()
    assert not re.search("ghp_(right|wrong)", told)
    assert "tiny weighed" in told


def test_a_reader_that_leaves_ends_the_run_without_a_word(
    command: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "urls").write_text("http://127.0.0.1:9/acme/tiny\n" * 300)
    started = command("urls")
    process = subprocess.Popen(**started, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    assert json.loads(process.stdout.readline())["name"] == "tiny"
    process.stdout.close()
    assert process.wait(timeout=20) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


def test_ctrl_c_ends_the_run_at_once(command: Callable[..., dict[str, Any]], hub: Hub, tmp_path: Path) -> None:
    hub.fail("/api/models", delay_seconds=30)
    (tmp_path / "urls").write_text(f"{hub.url}/acme/tiny\n")
    process = subprocess.Popen(**command("urls", HF_ENDPOINT=hub.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not hub.asked() and process.poll() is None and not _has_connected(hub):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def _has_connected(hub: Hub) -> bool:
    # A request that is held back was not taken down yet; its fault was counted.
    return any(fault.times < 1_000_000 for fault in hub._faults)


def test_on_a_terminal_a_bar_moves_on_standard_error_and_nothing_of_it_is_in_the_result(
    command: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "urls").write_text("http://127.0.0.1:9/acme/tiny\nbroken\nhttp://127.0.0.1:9/acme/tiny\n")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(**command("urls", TERM="xterm"), stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    assert process.stdout
    lines = process.stdout.read().splitlines()
    process.stdout.close()
    shown = b""
    # At the end of a terminal there is an error, and no empty read.
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert process.wait(timeout=20) == 1
    assert [json.loads(line)["name"] for line in lines] == ["tiny", "tiny"]
    assert b"Weighing" in shown
    assert b"Line 2: 'broken' is no address of a model." in shown


def _ask(*arguments: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(tree, list(arguments), prog_name="weighhouse")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere"], "neither a command nor a file"),
        (["./serve"], "neither a command nor a file"),
        (["x" * 5000], "neither a command nor a file"),
        (["batch", "nowhere"], "There is no file nowhere"),
        (["batch"], "Give a URL_FILE"),
        (["a-folder"], "--local a-folder"),
        (["binary"], "not a text file"),
        (["urls", "--bogus"], "No such option"),
        (["urls", "--nulls", "0"], "--nulls"),
        (["urls", "--at-once", "0"], "--at-once"),
        (["urls", "urls"], "unexpected extra argument"),
        (["urls", "--local", "nowhere"], "--local"),
        (["urls", "--local", "a-folder"], "names 2"),
    ],
)
def test_a_command_line_that_cannot_be_followed_gives_one_sentence_and_status_1(
    arguments: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "urls").write_text("https://huggingface.co/a/b\nhttps://huggingface.co/a/c\n")
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\1")
    refused = _ask(*arguments, GITHUB_TOKEN="", LOG_LEVEL="", LOG_FILE="")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert why in refused.stderr


def test_a_command_s_name_wins_over_a_file_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "serve").touch()
    (tmp_path / "urls").touch()
    context = click.Context(tree)
    assert [tree.resolve_command(context, [given])[0] for given in ("serve", "./serve", "urls", "-")] == [
        "serve",
        "batch",
        "batch",
        "batch",
    ]


def test_help_tells_of_the_file() -> None:
    assert "./run sample_input" in _ask("--help").stdout
    assert "code_url, dataset_url, model_url" in _ask("batch", "--help").stdout


SAMPLE = Path(__file__).parents[2] / "sample_input"


def _sample_lines() -> list[tuple[str | None, str | None, str]]:
    """Repository, data set and model of each line, by their ids."""
    rows = [[field.strip() for field in line.split(",")] for line in SAMPLE.read_text().splitlines() if line.strip()]
    rows = [row if len(row) == 3 else ["", "", row[0]] for row in rows]
    ids = [[re.sub(r"https://[^/]+/(?:datasets/)?|/tree/.*", "", field) or None for field in row] for row in rows]
    return [(code, dataset, str(model)) for code, dataset, model in ids]


def test_the_sample_gives_a_line_for_each_model_with_the_network_away(run: Run) -> None:
    done = run(str(SAMPLE))
    records = _objects(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert [record["name"] for record in records] == [model.rpartition("/")[2] for _, _, model in _sample_lines()]
    assert all(map(_is_valid, records))
    assert {record["net_score"] for record in records} == {None}


@needs_git
def test_the_sample_is_scored_where_everything_is_there(run: Run, hub: Hub, tmp_path: Path) -> None:
    lines = _sample_lines()
    with forges.running(tmp_path / "forge") as forge:
        for code, dataset, model in lines:
            card = CARD.replace("acme/tiny", model)
            hub.add_model(model, {"README.md": card, "model.safetensors": b"\0" * 100_000})
            if dataset:
                hub.add_dataset(dataset, {"README.md": "---\nlicense: mit\n---\n# Data\n" + "Texts of people. " * 20})
            if code:
                project = forge.add(code, [Made({"tool.py": PROGRAM, "requirements.txt": "torch==2.0\n"})])
                project.pulls.append(Pull(1, project.commits[0], [Reviewed("bob")]))
        done = run(str(SAMPLE), HF_ENDPOINT=hub.url, GITHUB_API_URL=forge.url, GITHUB_TOKEN="t")
    records = _objects(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert [record["name"] for record in records] == [model.rpartition("/")[2] for _, _, model in lines]
    assert all(map(_is_valid, records))
    assert [record for record in records if record["net_score"] < 0.4 or record["license"] < 0.8] == []
    assert [record["reviewedness"] for record in records] == [1.0 if code else -1 for code, _, _ in lines]
