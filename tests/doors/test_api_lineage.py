"""Parents and children over HTTP."""

import httpx
import pytest

from tests.doors.rest import Account, fresh, problem, publish


def child_of(*parents: str) -> dict[str, str]:
    """A package whose card names these parents."""
    listed = "".join(f"\n  - {parent}" for parent in parents)
    return {"README.md": f"---\nlicense: mit\nbase_model:{listed}\n---\n# A child\n", "model.bin": fresh()}


def lineage(client: httpx.Client, package_id: str, direction: str | None = None) -> list[tuple[str, str | None, int]]:
    """Name, version and depth of each."""
    answer = client.get(f"/package/{package_id}/lineage", params={"direction": direction} if direction else None)
    assert answer.status_code == 200
    body = answer.json()
    assert body["package_id"] == package_id
    assert {"id", "name", "version", "depth", "parent_id", "relationship_type"} <= body["lineage"][0].keys()
    return [(one["name"], one["version"], one["depth"]) for one in body["lineage"]]


def test_a_package_without_parents_is_its_own_lineage(uploader: Account) -> None:
    name = fresh()
    package_id = publish(uploader.client, name)
    for direction in (None, "ancestors", "descendants", "both"):
        assert lineage(uploader.client, package_id, direction) == [(name, "1.0.0", 0)]


def test_a_parent_is_shown_by_name_until_it_arrives_and_then_the_newest_version(uploader: Account) -> None:
    owner = uploader.username
    parent, child = f"{owner}/{fresh('parent')}", f"{owner}/{fresh('child')}"
    child_id = publish(uploader.client, child, files=child_of(parent))
    body = uploader.client.get(f"/package/{child_id}/lineage").json()["lineage"]
    assert body[0]["relationship_type"] is None
    missing = body[1]
    assert (missing["id"], missing["name"], missing["version"], missing["depth"]) == (None, parent, None, 1)
    assert (missing["relationship_type"], missing["child_id"]) == ("finetune", child_id)

    first = publish(uploader.client, parent, "1.0.0")
    assert lineage(uploader.client, child_id) == [(child, "1.0.0", 0), (parent, "1.0.0", 1)]
    publish(uploader.client, parent, "1.10.0")
    newest = publish(uploader.client, parent, "1.2.0")
    assert lineage(uploader.client, child_id) == [(child, "1.0.0", 0), (parent, "1.10.0", 1)]
    assert lineage(uploader.client, first, "descendants") == [(parent, "1.0.0", 0)]
    assert uploader.client.get(f"/package/{child_id}/metadata").json()["parents"][0]["version"] == "1.10.0"
    assert newest != first


def test_a_parent_is_found_by_its_model_url(uploader: Account) -> None:
    model = f"acme/{fresh('model')}"
    child_id = publish(uploader.client, files=child_of(model))
    parent_id = publish(uploader.client, fields={"model_url": f"https://huggingface.co/{model}"})
    ids = [one["id"] for one in uploader.client.get(f"/package/{child_id}/lineage").json()["lineage"]]
    assert ids == [child_id, parent_id]


def test_ancestors_and_descendants_come_nearest_first_and_cycles_end(uploader: Account) -> None:
    owner = uploader.username
    names = [f"{owner}/{fresh(word)}" for word in ("a", "b", "c")]
    ids = [publish(uploader.client, name, files=child_of(names[(number + 1) % 3])) for number, name in enumerate(names)]
    assert lineage(uploader.client, ids[0]) == [(name, "1.0.0", depth) for depth, name in enumerate(names)]
    assert lineage(uploader.client, ids[0], "descendants") == [
        (names[0], "1.0.0", 0),
        (names[2], "1.0.0", 1),
        (names[1], "1.0.0", 2),
    ]
    assert len(lineage(uploader.client, ids[0], "both")) == 5


def test_a_diamond_shows_each_once_where_it_is_nearest(uploader: Account) -> None:
    owner = uploader.username
    top, left, right, bottom = (f"{owner}/{fresh(word)}" for word in ("top", "left", "right", "bottom"))
    publish(uploader.client, top)
    publish(uploader.client, left, files=child_of(top))
    publish(uploader.client, right, files=child_of(top))
    bottom_id = publish(uploader.client, bottom, files=child_of(left, right))
    assert sorted(lineage(uploader.client, bottom_id), key=lambda one: (one[2], one[0])) == [
        (bottom, "1.0.0", 0),
        (left, "1.0.0", 1),
        (right, "1.0.0", 1),
        (top, "1.0.0", 2),
    ]


def test_a_package_is_not_its_own_parent(uploader: Account) -> None:
    name = f"{uploader.username}/{fresh()}"
    package_id = publish(uploader.client, name, files=child_of(name))
    assert lineage(uploader.client, package_id) == [(name, "1.0.0", 0)]


@pytest.mark.parametrize("direction", ["", "up", "ANCESTORS", "ancestors'"])
def test_a_direction_that_is_none_is_refused(uploader: Account, direction: str) -> None:
    package_id = publish(uploader.client)
    problem(uploader.client.get(f"/package/{package_id}/lineage", params={"direction": direction}), 422)
