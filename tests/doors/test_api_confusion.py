"""GET /audit/package-confusion: names that look like another."""

import httpx
import pytest

from tests.doors.rest import Account, fresh, problem
from tests.make import zip_of

_KEYS = {
    *("id", "package_id", "name", "similar_name", "kind", "severity", "explanation", "similar_downloads"),
    *("is_well_known", "is_blocked", "uploader", "noticed_at"),
}


def upload(client: httpx.Client, name: str) -> list[str]:
    """The warnings of an upload."""
    form = {"name": name, "version": "1.0.0"}
    answer = client.post("/package", data=form, files={"file": ("p.zip", zip_of({"a.txt": fresh()}))})
    assert answer.status_code in {201, 202}, answer.text
    warnings: list[str] = answer.json()["warnings"]
    return warnings


def findings(admin: httpx.Client, **query: str) -> list[dict[str, object]]:
    answer = admin.get("/audit/package-confusion", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["findings"]
    return found


@pytest.fixture
def pair(uploader: Account, other: Account) -> tuple[str, str]:
    """A name, and one of another user that looks like it."""
    name = fresh("plausible")
    assert upload(uploader.client, name) == []
    alike = name.replace("-", "_")
    [warning] = upload(other.client, alike)
    assert warning.startswith(f"{name}: ")
    return name, alike


def test_an_uploader_is_warned_and_admins_see_what_was_noticed(
    admin: httpx.Client, other: Account, pair: tuple[str, str]
) -> None:
    name, alike = pair
    [found] = findings(admin, name=alike.upper())
    assert found.keys() == _KEYS
    assert (found["similar_name"], found["kind"], found["severity"]) == (name, "separators", "medium")
    assert (found["uploader"], found["is_blocked"], found["is_well_known"]) == (other.username, False, False)
    assert name in str(found["explanation"])


def test_filters_narrow(admin: httpx.Client, other: Account, uploader: Account, pair: tuple[str, str]) -> None:
    name, alike = pair
    [found] = findings(admin, name=alike)
    at = str(found["noticed_at"])
    narrowing = ({"severity": "high"}, {"kind": "digits"}, {"uploader": uploader.username}, {"blocked": "true"})
    for query in (*narrowing, {"end_time": "2020-01-01T00:00:00"}, {"start_time": "2999-01-01T00:00:00Z"}):
        assert findings(admin, name=alike, **query) == [], query
    widening = ({"severity": "low"}, {"kind": "separators"}, {"uploader": other.username}, {"blocked": "false"})
    for query in (*widening, {"similar_name": name}, {"start_time": at, "end_time": at}):
        assert findings(admin, name=alike, **query) == [found], query


def test_pages_follow_each_other(admin: httpx.Client, uploader: Account, other: Account) -> None:
    name = fresh("paged")
    for namespace in ("one", "two", "three"):
        upload(uploader.client, f"{name}-{namespace}/{name}")
    upload(other.client, name)
    seen: list[object] = []
    query: dict[str, str] = {"name": name, "limit": "2"}
    page = admin.get("/audit/package-confusion", params=query).json()
    assert page["total"] == 3
    assert len(page["findings"]) == 2
    seen += [one["similar_name"] for one in page["findings"]]
    page = admin.get("/audit/package-confusion", params=query | {"cursor": page["next_cursor"]}).json()
    assert page["next_cursor"] is None
    seen += [one["similar_name"] for one in page["findings"]]
    assert sorted(map(str, seen)) == sorted(f"{name}-{namespace}/{name}" for namespace in ("one", "two", "three"))


def test_a_well_known_model_is_not_impersonated_unseen(admin: httpx.Client, uploader: Account) -> None:
    [warning] = upload(uploader.client, "mistral-7b-instruct-vO.3")
    assert "well-known 'mistralai/Mistral-7B-Instruct-v0.3'" in warning
    [found] = findings(admin, name="mistral-7b-instruct-vO.3")
    assert (found["severity"], found["is_well_known"]) == ("high", True)


@pytest.mark.parametrize(
    "query",
    ["severity=grave", "kind=x", "blocked=maybe", "limit=0", "limit=101", "cursor=x", "start_time=x", "name=%00"],
)
def test_a_filter_that_cannot_be_is_refused(admin: httpx.Client, query: str) -> None:
    problem(admin.get(f"/audit/package-confusion?{query}"), 422)
