"""Stars and reviews over HTTP."""

from uuid import uuid4

import pytest

from tests.doors.rest import Account, problem, publish


def test_a_users_last_rating_counts(uploader: Account, other: Account, reader: Account) -> None:
    package_id = publish(uploader.client)
    address = f"/package/{package_id}/rate"
    first = reader.client.put(address, json={"score": 5})
    assert first.status_code == 200
    assert first.json() == {"package_id": package_id, "score": 5, "average_rating": 5.0, "ratings": 1}
    assert other.client.put(address, json={"score": 2, "review": "Slow."}).json()["average_rating"] == 3.5
    again = reader.client.put(address, json={"score": 1, "review": "<script>alert(1)</script>", "user_id": "x"})
    assert again.json() == {"package_id": package_id, "score": 1, "average_rating": 1.5, "ratings": 2}
    shown = reader.client.get(f"/package/{package_id}/metadata").json()
    assert (shown["average_rating"], shown["ratings"]) == (1.5, 2)

    page = reader.client.get(f"/package/{package_id}/ratings?limit=1")
    newest = page.json()
    assert (newest["total"], len(newest["ratings"])) == (2, 1)
    assert newest["ratings"][0].keys() == {"username", "score", "review", "rated_at"}
    assert newest["ratings"][0]["username"] == reader.username
    assert newest["ratings"][0]["review"] == "<script>alert(1)</script>"
    older = reader.client.get(page.links["next"]["url"]).json()
    assert (older["ratings"][0]["review"], older["next_cursor"]) == ("Slow.", None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"score": 0},
        {"score": 6},
        {"score": -1},
        {"score": 4.5},
        {"score": "4"},
        {"score": True},
        {"score": None},
        {"score": [4]},
        {"score": 10**30},
        {"score": 4, "review": 7},
        {"score": 4, "review": "x" * 10_001},
        {"score": 4, "review": "a\x00"},
        [4],
        4,
    ],
)
def test_what_is_no_rating_changes_nothing(uploader: Account, reader: Account, body: object) -> None:
    package_id = publish(uploader.client)
    problem(reader.client.put(f"/package/{package_id}/rate", json=body), 422)
    assert reader.client.get(f"/package/{package_id}/ratings").json() == {
        "ratings": [],
        "total": 0,
        "next_cursor": None,
    }


def test_only_what_is_there_is_rated(reader: Account) -> None:
    problem(reader.client.put(f"/package/{uuid4()}/rate", json={"score": 3}), 404, "package-not-found")
    problem(reader.client.put("/package/x/rate", json={"score": 3}), 422)
    problem(reader.client.get(f"/package/{uuid4()}/ratings"), 404, "package-not-found")
