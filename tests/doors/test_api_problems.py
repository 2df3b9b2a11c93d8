"""Problem documents, and what their types mean."""

import json
import subprocess
import sys

import httpx

from tests.doors.rest import problem
from weighhouse.doors.problems import STATUSES, known_problems, status_of

_OF_THE_API = """
import json, weighhouse.doors.server
from weighhouse.doors.problems import known_problems, slug, status_of
print(json.dumps({slug(kind): status_of(kind) for kind in known_problems()}))
"""


def test_every_type_is_explained_at_its_address(anonymous: httpx.Client) -> None:
    # Another program of ours knows other problems, and the tests have loaded them all.
    asked = subprocess.run([sys.executable, "-c", _OF_THE_API], capture_output=True, check=True)
    kinds: dict[str, int] = json.loads(asked.stdout)
    assert len(kinds) > 40
    for kind, status in kinds.items():
        answer = anonymous.get(f"/problems/{kind}")
        assert answer.status_code == 200, kind
        document = answer.json()
        assert document.keys() == {"type", "title", "status"}
        assert document["type"] == f"/problems/{kind}"
        assert document["status"] == status


def test_the_type_that_a_refusal_names_can_be_asked_for(anonymous: httpx.Client) -> None:
    for path in ("/user/me", "/users/", "/package/x/metadata", "/nothing", "/reset", "/users?limit=%00"):
        document = anonymous.get(path).json()
        explained = anonymous.get(document["type"])
        assert explained.status_code == 200, document
        assert explained.json()["status"] == document["status"]
    problem(anonymous.get("/problems/no-such"), 404, "problem-unknown")


def test_every_family_has_a_status_and_every_title_fits_a_line() -> None:
    for kind in known_problems():
        if not kind.__module__.startswith("weighhouse."):
            continue
        assert status_of(kind) in STATUSES.values()
        title = (kind.__doc__ or "").strip().splitlines()[0]
        assert title.endswith("."), kind
        assert len(title) < 90, kind
