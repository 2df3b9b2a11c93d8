"""Dangerous calls fail the checks of the source, and every dependency is pinned to bytes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("import pickle\n\nfound = pickle.loads(b'')\n", "S301"),
        ("found = eval('1')\n", "S307"),
        ("import yaml\n\nfound = yaml.load('a', Loader=yaml.Loader)\n", "S506"),
        ("import subprocess\n\nsubprocess.run('ls -l', shell=True)\n", "S602"),
        ("import os\n\nos.system(input())\n", "S605"),
        ("name = input()\nquery = f\"SELECT * FROM users WHERE name = '{name}'\"\n", "S608"),
        ("import hashlib\n\nfound = hashlib.md5(b'')\n", "S324"),
        ("import httpx\n\nhttpx.get('https://a.example', verify=False)\n", "S501"),
        ("from xml.etree import ElementTree\n\nElementTree.parse('a')\n", "S314"),
        ("password = 'hunter2'\n", "S105"),
    ],
)
def test_a_dangerous_call_fails_the_checks(line: str, rule: str) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "json", "--stdin-filename"]
    done = subprocess.run(
        [*command, str(ROOT / "src/weighhouse/made_up.py"), "-"],
        input=line,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert rule in {found["code"] for found in json.loads(done.stdout)}


def test_every_exception_to_these_checks_has_its_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "src").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"# noqa: S\d+(, ?\w+)*\s*$", line)
    ]
    assert not bare


@pytest.mark.parametrize("name", ["dependencies.txt", "dependencies-test.txt"])
def test_every_dependency_is_pinned_to_its_bytes(name: str) -> None:
    joined = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    wanted = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith(("#", "-"))]
    assert len(wanted) > 20
    for line in wanted:
        assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==\S+", line), line
        assert "--hash=sha256:" in line, line
