"""Trees of many shapes end, show each once, and show nobody what is hidden."""

from uuid import UUID

from sqlalchemy import text

from tests.registry.shelf import caller, child_of, publish
from weighhouse.app import App
from weighhouse.registry.lineage import MAX_DEPTH, Direction, trace_lineage
from weighhouse.rules.permissions import Caller


def trace(
    registry: App, who: Caller, package_id: UUID, direction: Direction = "ancestors"
) -> list[tuple[str, str | None, int]]:
    with registry.db.read(snapshot=True) as tx:
        found = trace_lineage(tx, who, package_id, direction=direction)
    return [(one.name, one.version, one.depth) for one in found]


def test_a_parent_resolves_when_it_arrives_and_points_at_the_newest(registry: App) -> None:
    who = caller(registry, "ada")
    child = publish(registry, who, "child", files=child_of("ada/parent"))
    assert trace(registry, who, child) == [("child", "1.0.0", 0), ("ada/parent", None, 1)]
    old = publish(registry, who, "Ada/Parent", "1.9.0")
    assert trace(registry, who, child)[1] == ("Ada/Parent", "1.9.0", 1)
    assert trace(registry, who, old, "descendants") == [("Ada/Parent", "1.9.0", 0), ("child", "1.0.0", 1)]
    new = publish(registry, who, "ada/parent", "1.10.0")
    assert trace(registry, who, child)[1] == ("Ada/Parent", "1.10.0", 1)
    assert trace(registry, who, old, "descendants") == [("Ada/Parent", "1.9.0", 0)]
    assert trace(registry, who, new, "descendants")[1] == ("child", "1.0.0", 1)


def test_a_package_of_that_name_comes_before_one_of_that_model(registry: App) -> None:
    who = caller(registry, "ada")
    child = publish(registry, who, "child", files=child_of("acme/model"))
    publish(registry, who, "mirror", model_url="https://huggingface.co/acme/model")
    assert trace(registry, who, child)[1][0] == "mirror"
    publish(registry, who, "acme/model")
    assert trace(registry, who, child)[1][0] == "acme/model"


def test_a_ladder_of_diamonds_does_not_double_at_each_step(registry: App) -> None:
    who = caller(registry, "ada")
    steps = 12
    publish(registry, who, "x/left0")
    publish(registry, who, "x/right0")
    for step in range(1, steps):
        parents = (f"x/left{step - 1}", f"x/right{step - 1}")
        last = publish(registry, who, f"x/left{step}", files=child_of(*parents))
        publish(registry, who, f"x/right{step}", files=child_of(*parents))
    found = trace(registry, who, last)
    assert len(found) == 1 + 2 * (steps - 1)
    assert [depth for *_, depth in found] == [0, *(depth for step in range(1, steps) for depth in (step, step))]


def test_cycles_end_and_a_chain_ends_at_its_bound(registry: App) -> None:
    who = caller(registry, "ada")
    first = publish(registry, who, "x/a", files=child_of("x/b"))
    publish(registry, who, "x/b", files=child_of("x/a"))
    assert trace(registry, who, first, "both") == [("x/a", "1.0.0", 0), ("x/b", "1.0.0", 1), ("x/b", "1.0.0", 1)]
    last = publish(registry, who, "c/0")
    for number in range(1, MAX_DEPTH + 4):
        last = publish(registry, who, f"c/{number}", files=child_of(f"c/{number - 1}"))
    assert max(depth for *_, depth in trace(registry, who, last)) == MAX_DEPTH


def test_what_is_in_quarantine_is_in_nobodys_lineage(registry: App) -> None:
    who = caller(registry, "ada")
    parent = publish(registry, who, "x/parent")
    child = publish(registry, who, "x/child", files=child_of("x/parent"))
    with registry.db.write() as tx:
        tx.execute(text("UPDATE packages SET verdict = 'unsafe' WHERE name = 'x/parent'"))
    assert trace(registry, who, child) == [("x/child", "1.0.0", 0), ("x/parent", None, 1)]
    with registry.db.write() as tx:
        tx.execute(text("UPDATE packages SET verdict = 'unsafe' WHERE name = 'x/child'"))
        tx.execute(text("UPDATE packages SET verdict = 'safe' WHERE name = 'x/parent'"))
    assert trace(registry, who, parent, "descendants") == [("x/parent", "1.0.0", 0)]
