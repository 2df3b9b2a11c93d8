"""Rows 9 to 12: evaluations and license checks, with a hub and a GitHub of our own on this machine."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.github_server import GitHub
from tests.hub_server import Hub

from bench.results import Row, Scale, spread
from bench.servers import Product, product
from bench.transfers import ask_json, make_weights, newest_id, upload, zip_weights
from weighhouse.rules.metrics import bus_factor
from weighhouse.sources.budget import EVALUATION_CALLS
from weighhouse.sources.repository import GitRepositories

_MEBI = 1024 * 1024
_MODELS = 200
_DATASETS = 20
_DELAY_SECONDS = 0.05
_COMMITS = 10_000
_FILES = 5_000
_PEOPLE = 40
_CHECKS = 50
_CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-classification
datasets: [acme/words-{dataset}]
---
# Model {number}

It sorts letters into heaps, and was made for an office that has many letters and little time to read each one of them.

```python
from transformers import pipeline
print(pipeline("text-classification", model="acme/model-{number}")("Dear Sir"))
```

## Limitations
English letters of one page only; anything else goes to the first heap without a word of warning to the reader.
"""


def batch_of_models(scale: Scale) -> list[Row]:
    """Row 9: a file of models, cold and then with a warm cache, against a hub that takes its time for every answer."""
    speedups, colds, warms, most, again = [], [], [], 0, 0.0
    with Hub() as hub:
        _fill(hub)
        hub.fail("", delay_seconds=_DELAY_SECONDS)
        urls = scale.work / "models.txt"
        urls.write_text("".join(f"{hub.url}/acme/model-{number}\n" for number in range(_MODELS)))
        for run in range(scale.runs):
            cache = scale.work / f"cache-{run}"
            colds.append(_weigh(urls, hub, cache))
            asked = hub.asked()
            # One after the other: each question waits for the answer before. What else there is to do is not counted.
            speedups.append(len(asked) * _DELAY_SECONDS / colds[-1])
            most = max(most, _most_about_one(hub))
            hub.forget_requests()
            warms.append(_weigh(urls, hub, cache))
            again = max(again, _asked_again(hub))
            hub.forget_requests()
            shutil.rmtree(cache)
    detail = (
        f"{len(asked)} questions, {_DELAY_SECONDS * 1000:.0f} ms each, in {spread(colds)} s; warm {spread(warms)} s"
    )
    what = f"{_MODELS} models against the answers waited for one after the other"
    return [
        Row("9a", what, statistics.median(speedups), 8, "×", True, detail),
        Row("9b", "most questions for one of them, dataset included", most, EVALUATION_CALLS, "calls"),
        Row("9c", "conditional questions a source, warm; others count as endless", again, 1, "calls"),
    ]


def large_package(scale: Scale) -> list[Row]:
    """Row 10: what the evaluation of a large package takes when it was uploaded, and the memory of the worker meanwhile."""
    seconds, growths = [], []
    weights = scale.work / "model.safetensors"
    make_weights(weights, scale.file_bytes)
    archive = zip_weights(scale.work / "large.zip", weights, _CARD.format(number=0, dataset=0).replace("acme/", "own-"))
    weights.unlink()
    # Nobody answers at the hub's address, as none is asked: the package names no URL.
    with product(scale.work / "data", hf_endpoint="http://127.0.0.1:9", github_api_url="http://127.0.0.1:9") as server:
        for run in range(scale.runs):
            name = f"bench/weighed-{run}"
            with _worker_peak(server) as peak:
                upload(server, archive, name, "1.0.0", wait=False)
                started = time.perf_counter()
                _await_evaluated(server, newest_id(server, name))
                seconds.append(time.perf_counter() - started)
            growths.append(peak[0] / _MEBI)
    archive.unlink()
    shutil.rmtree(scale.work / "data")
    gibi = scale.file_bytes / 1024**3
    return [
        Row(
            "10a",
            f"evaluation of {gibi:g} GiB beyond its upload",
            statistics.median(seconds),
            5,
            "s",
            detail=spread(seconds),
        ),
        Row(
            "10b",
            "memory of the worker during upload and evaluation",
            max(growths),
            100,
            "MiB more",
            detail=spread(growths),
        ),
    ]


def long_history(scale: Scale) -> list[Row]:
    """Row 11: the truck factor of a repository with many commits and files, clone included."""
    repository = scale.work / "history.git"
    _make_history(repository)
    seconds, factor = [], 0
    for _ in range(scale.runs):
        started = time.perf_counter()
        with GitRepositories(is_local=True) as repositories:
            history = repositories.history(str(repository))
        result = bus_factor.judge(history, datetime.now(UTC))
        seconds.append(time.perf_counter() - started)
        factor = result.inputs["truck_factor"]
    shutil.rmtree(repository)
    what = f"truck factor of {_COMMITS:,} commits and {_FILES:,} files"
    return [Row("11", what, statistics.median(seconds), 10, "s", detail=f"{spread(seconds)} s; it is {factor}")]


def license_checks(scale: Scale) -> list[Row]:
    """Row 12: a license check with a warm cache, over HTTP, without what GitHub's answer takes."""
    with GitHub() as github, product(scale.work / "data", github_api_url=github.url) as server:
        github.add_repository("acme", "tool", {"LICENSE": "MIT License"}, "MIT")
        weights = scale.work / "model.safetensors"
        make_weights(weights, 1000)
        upload(
            server,
            zip_weights(scale.work / "one.zip", weights, _CARD.format(number=0, dataset=0)),
            "bench/one",
            "1.0.0",
        )
        question = {"github_url": "https://github.com/acme/tool", "model_id": newest_id(server, "bench/one")}
        body = json.dumps(question).encode()
        ask_json(server, "/package/license-check", body)
        whole, githubs = [], []
        for _ in range(_CHECKS * scale.runs):
            started = time.perf_counter()
            ask_json(server, "/package/license-check", body)
            whole.append((time.perf_counter() - started) * 1000)
            githubs.append(_answer_ms(github))
    shutil.rmtree(scale.work / "data")
    own = statistics.median(whole) - statistics.median(githubs)
    detail = f"whole {spread(whole)} ms, of which GitHub's answer {spread(githubs)} ms"
    return [Row("12", "license check with a warm cache, own time", own, 20, "ms", detail=detail)]


def _fill(hub: Hub) -> None:
    for number in range(_DATASETS):
        card = f"---\nlicense: mit\n---\n# Words {number}\n" + "Words of letters that people wrote. " * 20
        hub.add_dataset(f"acme/words-{number}", {"README.md": card, "data/train.csv": "x"}, croissant={"recordSet": []})
    for number in range(_MODELS):
        files: dict[str, bytes | str | Path] = {
            "README.md": _CARD.format(number=number, dataset=number % _DATASETS),
            "LICENSE": "SPDX-License-Identifier: Apache-2.0\n" + "Apache License, Version 2.0. " * 20,
            "config.json": json.dumps({"model_type": "bert", "number": number}),
            "tokenizer.json": "{}",
            "model.safetensors": bytes(10_000),
        }
        hub.add_model(f"acme/model-{number}", files)


def _weigh(urls: Path, hub: Hub, cache: Path) -> float:
    """Seconds that the command takes for a file.

    Raises:
        RuntimeError: A line gave no object.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEIGHHOUSE_", "GITHUB_", "HF_"))}
    environment = kept | {
        "HF_ENDPOINT": hub.url,
        "GITHUB_API_URL": "http://127.0.0.1:9",
        "WEIGHHOUSE_CACHE_DIR": str(cache),
        "PYTHONPATH": str(Path(__file__).parent.parent / "src"),
    }
    started = time.perf_counter()
    command = [sys.executable, "-m", "weighhouse", str(urls)]
    done = subprocess.run(command, env=environment, cwd=urls.parent, capture_output=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode or len(done.stdout.splitlines()) != _MODELS:
        raise RuntimeError(f"The batch command ended with {done.returncode}: {done.stderr[-400:]!r}")
    return seconds


def _most_about_one(hub: Hub) -> int:
    """The most questions about one model, with those about its dataset, which every model asks by itself."""
    models = Counter(number for one in hub.asked() if (number := _number(one.path, "model")) is not None)
    datasets = Counter(number for one in hub.asked() if (number := _number(one.path, "words")) is not None)
    uses = _MODELS // _DATASETS
    return max(models[number] + -(-datasets[number % _DATASETS] // uses) for number in range(_MODELS))


def _asked_again(hub: Hub) -> float:
    """Questions about one source for one model that uses it; endless when one was not answered by "as before"."""
    if any(one.status != 304 for one in hub.asked()):
        return float("inf")
    counts = Counter(one.path for one in hub.asked())
    return max(
        count / (_MODELS // _DATASETS if _number(path, "words") is not None else 1) for path, count in counts.items()
    )


def _number(path: str, kind: str) -> int | None:
    """The number in `/…/acme/KIND-NUMBER/…`."""
    found = [part.removeprefix(f"{kind}-") for part in path.split("/") if part.startswith(f"{kind}-")]
    return int(found[0]) if found else None


def _await_evaluated(server: Product, package_id: str) -> None:
    """Returns when the package is weighed.

    Raises:
        RuntimeError: Its evaluation was given up.
    """
    while (status := ask_json(server, f"/package/{package_id}/metadata")["status"]) == "evaluating":
        time.sleep(0.02)
    if status != "evaluated":
        raise RuntimeError(f"The package {package_id} is {status}")


@contextmanager
def _worker_peak(server: Product) -> Iterator[list[int]]:
    """The most that the memory of the workers grew within the block, in bytes."""
    start = server.worker_memory_bytes()
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            peak[0] = max(peak[0], server.worker_memory_bytes() - start)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _make_history(folder: Path) -> None:
    """A bare repository in which every file has a creator, and every later commit changes one of somebody's files."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(folder)], check=True)
    parts = []
    for number in range(_COMMITS):
        person = (number * number + number // 7) % _PEOPLE
        at = 1_700_000_000 + number * 60
        parts.append(f"commit refs/heads/main\ncommitter P {person} <p{person}@example.org> {at} +0000\ndata 0\n")
        for path in _paths(number):
            content = f"x = {number}\n"
            parts.append(f"M 100644 inline {path}\ndata {len(content)}\n{content}")
    stream = "".join(parts).encode()
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=stream, check=True)


def _paths(number: int) -> list[str]:
    made = [number] if number < _FILES else []
    changed = [(number * step) % min(max(number, 1), _FILES) for step in (3, 7)]
    return [f"src/part{one % 50}/file{one}.py" for one in dict.fromkeys([*made, *changed])]


def _answer_ms(github: GitHub) -> float:
    """Milliseconds of the question that a check asks, when it is asked without the check."""
    started = time.perf_counter()
    with urllib.request.urlopen(f"{github.url}/repos/acme/tool/license", timeout=30) as answer:
        answer.read()
    return (time.perf_counter() - started) * 1000
