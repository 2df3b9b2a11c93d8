"""Problem documents, and what their types mean."""

import httpx

from tests.doors.rest import problem
from weighhouse.doors.problems import STATUSES, known_problems, slug, status_of

# What an API process has loaded, and no other program of ours.
_OF_THE_API = ("weighhouse.rules.errors", "weighhouse.registry.", "weighhouse.doors.api.", "weighhouse.doors.problems")


def test_every_type_is_explained_at_its_address(anonymous: httpx.Client) -> None:
    kinds = [kind for kind in known_problems() if kind.__module__.startswith(_OF_THE_API)]
    assert len(kinds) > 15
    for kind in kinds[:: max(1, len(kinds) // 25)]:
        answer = anonymous.get(f"/problems/{slug(kind)}")
        assert answer.status_code == 200, kind
        document = answer.json()
        assert document.keys() == {"type", "title", "status"}
        assert document["type"] == f"/problems/{slug(kind)}"
        assert document["status"] == status_of(kind)


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
