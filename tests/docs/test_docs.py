"""The documentation names everything that there is and nothing that is not, and what it shows was really answered."""

import importlib
import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

import weighhouse
from tests.conftest import ADMIN_PASSWORD, Server
from weighhouse.app import App
from weighhouse.doors.cli.main import tree
from weighhouse.doors.problems import known_problems, slug, status_of
from weighhouse.doors.server import make_app
from weighhouse.rules.evidence import Reason
from weighhouse.rules.metrics.net import WEIGHTS
from weighhouse.rules.metrics.weigh import METRICS
from weighhouse.rules.versions import parse_range
from weighhouse.settings import Settings
from weighhouse.store.tables import Row

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "weighhouse"
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for page in (ROOT / "docs").rglob("*.md") if "examples" not in page.relative_to(ROOT).parts),
    ]
)

_METHODS = "GET|POST|PUT|DELETE|PATCH|HEAD"
_SHARED_OPTIONS = {"--server", "--token", "--json"}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d)?")


def sections(page: Path, level: int) -> Mapping[str, str]:
    """Text below each heading of a level, up to the next heading of that level or above, by heading."""
    found: dict[str, str] = {}
    heading = None
    for line in page.read_text("utf-8").splitlines():
        match = re.match(r"(#+) (.*)", line)
        if match and len(match[1]) <= level:
            heading = match[2] if len(match[1]) == level else None
        if heading is not None:
            found[heading] = found.get(heading, "") + line + "\n"
    return found


def blocks(text: str, *languages: str) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block, of these languages only."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if match[1] in languages:
            yield match[1], match[2]


def first_cells(text: str) -> list[str]:
    """What stands in backquotes at the beginning of table rows."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


# Settings


def test_every_setting_is_documented_and_no_other() -> None:
    documented = first_cells((REFERENCE / "settings.md").read_text("utf-8"))
    assert sorted(documented) == sorted(name.upper() for name in Settings.model_fields)


def test_every_setting_is_in_the_example_file_and_no_other() -> None:
    named = re.findall(r"^#(?:WEIGHHOUSE_)?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


# Problems


def test_every_problem_type_is_documented_under_its_status_and_no_other() -> None:
    for module in pkgutil.walk_packages(weighhouse.__path__, "weighhouse."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
    kinds = [kind for kind in known_problems() if kind.__module__.startswith("weighhouse.")]
    documented = {
        (int(heading[:3]), kind.removeprefix("/problems/"))
        for heading, text in sections(REFERENCE / "errors.md", 2).items()
        if heading[:3].isdigit()
        for kind in first_cells(text)
    }
    assert documented == {(status_of(kind), slug(kind)) for kind in kinds}


# Metrics


def test_every_metric_is_documented() -> None:
    documented = sections(REFERENCE / "metrics.md", 2)
    assert set(METRICS) | {"net_score"} <= set(documented)
    for name in METRICS:
        assert f"Weight {WEIGHTS[name]:.2f}" in documented[name], name
        assert f"| `{name}` | {WEIGHTS[name]:.2f} |" in (ROOT / "README.md").read_text("utf-8"), name


def test_every_reason_code_is_documented() -> None:
    named = set(re.findall(r"`(\w+)`", (REFERENCE / "metrics.md").read_text("utf-8")))
    assert {str(reason) for reason in Reason} <= named


# Commands


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    for name, child in command.commands.items():
        yield from commands(child, (*path, name))


def options(command: click.Command) -> set[str]:
    return {word for option in command.params if isinstance(option, click.Option) for word in option.opts}


def test_every_command_is_documented_with_its_options_and_no_other() -> None:
    documented = sections(REFERENCE / "commands.md", 3)
    found = dict(commands(tree))
    assert set(documented) == set(found)
    for name, command in found.items():
        rows = first_cells(documented[name])
        named = {word for row in rows for word in re.findall(r"(?<!\S)--?[a-z][a-z-]*", row)}
        assert named == options(command) - _SHARED_OPTIONS, name
    shared = (REFERENCE / "commands.md").read_text("utf-8")
    assert all(f"| `{option} " in shared or f"| `{option}`" in shared for option in _SHARED_OPTIONS)


def test_every_command_line_that_is_shown_exists() -> None:
    found = dict(commands(tree))
    # The script's own, and what it does before there is a command line.
    own = {"install", "test"}
    seen = 0
    for page in PAGES:
        for _, text in blocks(page.read_text("utf-8"), "sh", "bash", "console"):
            for line in re.findall(r"(?<!\S)(?:\./run|weighhouse) ([^|&;>\n]*)", text):
                words = shlex.split(line)
                if words[0] in own:
                    continue
                name = " ".join(words[:2]) if " ".join(words[:2]) in found else words[0]
                if name not in found and (ROOT / name).is_file():
                    name = "batch"
                assert name in found, f"{page.name}: {line}"
                given = {word for word in words if re.fullmatch(r"--[a-z][a-z-]*|-[a-z]", word)}
                assert given <= options(found[name]) | {"--help"}, f"{page.name}: {line}"
                seen += 1
    assert seen > 50


# Endpoints


@pytest.fixture
def described(tmp_path: Path) -> Iterator[Mapping[str, Any]]:
    """The API's own description; the database is not asked for it."""
    settings = Settings(_env_file=None, database_url="postgresql://nobody@127.0.0.1:1/none", data_dir=tmp_path)
    registry = App.open(settings)
    yield make_app(registry).openapi()["paths"]
    registry.close()


def test_every_endpoint_is_documented_and_no_other(described: Mapping[str, Any]) -> None:
    there = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert set(sections(REFERENCE / "api.md", 3)) == there


def test_documented_statuses_are_those_that_the_api_describes(described: Mapping[str, Any]) -> None:
    for heading, text in sections(REFERENCE / "api.md", 3).items():
        method, path = heading.split(" ")
        row = re.search(
            r"^\| permission \| statuses \|\n\| --- \| --- \|\n\| (.+) \| ([\d, ]+) \|$", text, re.MULTILINE
        )
        assert row, heading
        documented = {status.strip() for status in row[2].split(",")}
        known = set(described[path][method.lower()]["responses"])
        # Those that nearly every address has stand once at the top of the page.
        assert documented <= known, heading
        assert known - documented <= {"400", "401", "403", "413", "415", "422", "429", "503"}, heading


def test_examples_of_the_api_are_json() -> None:
    for page in (REFERENCE / "api.md", REFERENCE / "errors.md"):
        for _, text in blocks(page.read_text("utf-8"), "json"):
            json.loads(text)


# Versions


def test_examples_of_ranges_are_true() -> None:
    text = (REFERENCE / "versions-and-ranges.md").read_text("utf-8").partition("which the tests check")[2]
    rows = [re.findall(r"`([^`]+)`|( \| )", line) for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) >= 9
    for row in rows:
        (asked, _), _, *rest = row
        middle = next(place for place, (_, bar) in enumerate(rest) if bar)
        wanted = parse_range(asked)
        assert all(wanted.matches(version) for version, _ in rest[:middle]), asked
        assert not any(wanted.matches(version) for version, _ in rest[middle + 1 :]), asked


# Links and the map


def anchors(page: Path) -> set[str]:
    """What links can point at within a page: headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$|`[^`\n]*`(?!\])", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            to = (page.parent / path).resolve() if path else page
            if not to.exists() or (anchor and anchor not in anchors(to)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text("utf-8"))
        pending += [(page.parent / link).resolve() for link in links if not re.match(r"[a-z]+:", link)]
    assert set(PAGES) <= reached


def test_the_map_names_every_source_file_and_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = [cell for cell in first_cells(text) if cell.endswith(".py")]
    there = {str(file.relative_to(SOURCE)) for file in SOURCE.rglob("*.py") if file.stat().st_size}
    assert len(named) == len(set(named))
    assert sorted(there - set(named)) == [], "add a row with its purpose to ARCHITECTURE.md"
    assert sorted(set(named) - there) == [], "remove these rows from ARCHITECTURE.md"


def test_the_map_names_every_table_and_no_other() -> None:
    text = sections(ROOT / "ARCHITECTURE.md", 2)["What is in each table"]
    assert set(first_cells(text)) == set(Row.metadata.tables)


# What the README shows


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which the README's commands find what they name, and leave what they make."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return tmp_path


def without_volatile(value: Any, key: str = "") -> Any:
    """An answer without what differs each time."""
    if key in {"token", "calls_remaining", "expires_at", "package_id", "id", "upload_date", "download_url"}:
        return type(value).__name__
    if isinstance(value, dict):
        return {name: without_volatile(item, name) for name, item in value.items()}
    return [without_volatile(item) for item in value] if isinstance(value, list) else value


def test_what_the_readme_shows_is_what_happens(checkout: Path, server: Server) -> None:
    """One test, because the second half goes on with the packages of the first."""
    _follow_curl(checkout, server)
    _follow_command_line(checkout, server)


def _follow_curl(checkout: Path, server: Server) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing: apt-get install curl")
    text = sections(ROOT / "README.md", 2)["A first package, with curl"]
    shown = list(blocks(text, "bash", "json"))
    assert [language for language, _ in shown] == ["bash", "json"] * 5
    mark = "=== next ==="
    script = "".join(f"{code}\necho; echo '{mark}'\n" for language, code in shown if language == "bash")
    script = script.replace("http://localhost:8000", server.url).replace("admin123", ADMIN_PASSWORD)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input=script,
        cwd=checkout,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(part) for part in done.stdout.split(mark) if part.strip()]
    examples = [json.loads(code) for language, code in shown if language == "json"]
    assert [without_volatile(answer) for answer in answers] == [without_volatile(example) for example in examples]
    with zipfile.ZipFile(checkout / "package.zip") as package:
        assert package.testzip() is None
        assert "model.safetensors" in package.namelist()


def _follow_command_line(checkout: Path, server: Server) -> None:
    text = sections(ROOT / "README.md", 2)["The same with the command line"]
    ((_, console),) = blocks(text, "console")
    steps = [step.partition("\n") for step in console.split("$ ./run ")[1:]]
    assert len(steps) == 6
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHHOUSE_")}
    environment |= {"HOME": str(checkout), "XDG_CONFIG_HOME": str(checkout), "PYTHONPATH": str(ROOT / "src")}
    for line, _, expected in steps:
        words = shlex.split(line)
        if words[0] == "login":
            words += ["--server", server.url, "--password-stdin"]
        done = subprocess.run(
            [sys.executable, "-m", "weighhouse", *words],
            cwd=checkout,
            env=environment,
            input=ADMIN_PASSWORD,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout
        assert _lines(done.stdout, server.url) == _lines(expected, server.url), line


def _lines(text: str, url: str) -> list[str]:
    """What was printed, without what differs each time; results and notes come by two ways, so in no order."""
    text = text.replace("http://127.0.0.1:8000", url).replace("Password:\n", "")
    text = re.sub(r"\d+ calls", "N calls", _MOMENT.sub("(when)", _UUID.sub("(id)", text)))
    return sorted(re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip())
