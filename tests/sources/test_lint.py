"""The real linter on real sources, which cannot steer it."""

import sys
from pathlib import Path

import pytest

from tests.rules.evidence import AS_OF, PackageEvidence
from tests.sources.test_files import files_of
from weighhouse.rules.evidence import Finding, Missing, Reason, Source
from weighhouse.rules.metrics import code_quality
from weighhouse.sources import lint as linter
from weighhouse.sources.lint import lint, undefined_names
from weighhouse.sources.package_code import code_of_notebook, package_code

TANGLED = (
    "def tangled(x):\n"
    + "".join(f"    if x == {number}:\n        return {number}\n" for number in range(11))
    + "    return x\n"
)


def test_findings_name_rule_file_and_line() -> None:
    found = lint({"a.py": "import os\n\ndef f(x=[]):\n    return y\n", "b.py": TANGLED, "clean.py": "x = 1\n"})
    assert found.findings == (
        Finding("F401", "a.py", 1),
        Finding("B006", "a.py", 3),
        Finding("F821", "a.py", 4),
        Finding("C901", "b.py", 1),
    )


def test_sources_cannot_steer_the_linter() -> None:
    steering = {
        "a.py": "# ruff: noqa\nimport os  # noqa: F401\n",
        "ruff.toml": "lint.ignore = ['F']\n",
        "../../../tmp/escape.py": "import sys\n",
        "a\0b.py": "import re\n",
        "-x.py": "import re\n",
        "": "import re\n",
    }
    found = lint(steering).findings
    assert {one.path for one in found if one.code == "F401"} == steering.keys() - {"ruff.toml"}
    assert not Path("/tmp/escape.py").exists()


def test_broken_syntax_is_found_and_newer_syntax_is_set_aside() -> None:
    found = lint({"broken.py": "def (\n", "newer.py": "import os\nx = t'{os}'\n"})
    assert {one.code for one in found.findings} == {"invalid-syntax"}
    assert {one.path for one in found.findings} == {"broken.py"}
    assert found.skipped_newer_syntax == ("newer.py",)


def test_a_notebook_may_show_values() -> None:
    assert lint({"a.ipynb": "x = 1\nx\n"}).findings == ()
    assert [one.code for one in lint({"a.py": "x = 1\nx\n"}).findings] == ["B018"]


def test_a_file_made_of_mistakes_is_not_held_in_full() -> None:
    sources = {f"{number}.py": "a\n" * 10_000 for number in range(4)} | {"z.py": TANGLED}
    found = lint(sources).findings
    assert 2_000 < len(found) < 4_000
    assert found[-1] == Finding("C901", "z.py", 1)


def test_undefined_names_come_once_in_order() -> None:
    assert undefined_names("print(zebra, len)\nimport os\nos.x(apple, zebra)\n") == ("zebra", "apple")
    assert undefined_names("") == ()


def test_without_linter_the_evidence_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    linter._ruff.cache_clear()
    try:
        with pytest.raises(Missing) as missing:
            lint({"a.py": "x = 1\n"})
    finally:
        linter._ruff.cache_clear()
    assert missing.value.reason is Reason.TOOL_MISSING


def test_a_linter_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "ruff"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setattr(linter, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(linter, "_ruff", lambda: str(slow))
    with pytest.raises(Missing) as missing:
        lint({"a.py": "x = 1\n"})
    assert missing.value.reason is Reason.TIMEOUT


def test_a_notebook_is_reduced_to_its_code() -> None:
    notebook = """{"cells": [
      {"cell_type": "markdown", "source": "# Title"},
      {"cell_type": "code", "source": ["%matplotlib inline\\n", "if x:\\n", "    !pip install y\\n", "x?"]},
      {"cell_type": "code", "source": "%%bash\\nls"},
      {"cell_type": "code", "source": "%%time\\ny = 2"},
      {"cell_type": "code", "source": [1, null]}, 7]}"""
    assert code_of_notebook(notebook) == "pass\nif x:\n    pass\npass\n\ny = 2"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"cells": 3}', "[" * 5000])
def test_what_is_no_notebook_has_no_code(text: str) -> None:
    assert code_of_notebook(text) == ""


def test_a_small_tree_is_judged_end_to_end() -> None:
    clean = "".join(f"def f{number}(x: int) -> int:\n    return x + {number}\n\n\n" for number in range(40))
    tests = "".join(f"def test_{number}() -> None:\n    assert {number} == {number}.0\n\n\n" for number in range(20))
    contents = {
        "src/a.py": clean.encode(),
        "src/b.py": TANGLED.encode(),
        "tests/test_a.py": tests.encode(),
        "vendor/lib.py": b"import os\n" * 100,
        "demo.ipynb": b'{"cells": [{"cell_type": "code", "source": "import os"}]}',
        "latin.py": b"x = '\xe9'\n",
        "huge.py": b"x = 1\n" * 40_000,
        ".github/workflows/ci.yml": b"run: pytest\n",
        "requirements.txt": b"numpy==2.0\n",
    }
    tree = package_code(files_of(contents), Source("package", "x"))
    assert set(tree.texts) == {"src/a.py", "src/b.py", "tests/test_a.py", "demo.ipynb"}
    result = code_quality.measure(PackageEvidence(code=tree), AS_OF)
    assert result.inputs["code_lines"] == 80 + 24 + 1
    assert (result.inputs["findings"], result.inputs["function_lines"], result.inputs["plain_function_lines"]) == (
        1,
        104,
        80,
    )
    lint_share, plain, ratio, types = 1 - (1000 / 105) / 50, 80 / 104, 40 / 105, 40 / 41
    expected = (
        0.3 * lint_share + 0.2 * plain + 0.25 * min(1, 0.4 + 0.6 * min(1, ratio / 0.3)) + 0.1 + 0.05 * types + 0.1
    )
    assert result.score == pytest.approx(expected, abs=0.0051)


def test_a_tree_is_looked_at_without_the_linter_until_findings_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> str:
        raise Missing(Reason.TOOL_MISSING, "no linter")

    monkeypatch.setattr(linter, "_ruff", absent)
    tree = package_code(files_of({"a.py": b"x = 1\n"}), Source("package", "x"))
    assert list(tree.texts) == ["a.py"]
    for _ in range(2):
        with pytest.raises(Missing):
            len(tree.findings)
