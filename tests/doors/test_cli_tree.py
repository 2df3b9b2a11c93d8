"""A lineage is drawn with each relative below the one it is a step away from."""

from rich.console import Console

from weighhouse.doors.cli.output import Row
from weighhouse.doors.cli.tree import draw_lineage


def _drawn(rows: list[Row], direction: str) -> list[str]:
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(draw_lineage(rows, direction))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_ancestors_hang_on_the_package_that_names_them() -> None:
    rows: list[Row] = [
        {"id": "me", "name": "merge", "version": "1", "depth": 0, "parent_id": "a"},
        {"id": "a", "name": "a", "version": "1", "depth": 1, "relationship_type": "merge", "child_id": "me"},
        {"id": "b", "name": "b", "version": "2", "depth": 1, "relationship_type": "merge", "child_id": "me"},
        {"id": None, "name": "base", "version": None, "depth": 2, "relationship_type": "finetune", "child_id": "b"},
    ]
    assert _drawn(rows, "ancestors") == [
        "merge 1",
        "└── made from",
        "    ├── a 1  merge",
        "    └── b 2  merge",
        "        └── base (not in this registry)  finetune",
    ]


def test_descendants_hang_on_their_parent() -> None:
    rows: list[Row] = [
        {"id": "me", "name": "base", "version": "1", "depth": 0},
        {"id": "x", "name": "x", "version": "1", "depth": 1, "parent_id": "me"},
        {"id": "y", "name": "y", "version": "1", "depth": 1, "parent_id": "me"},
        {"id": "z", "name": "z", "version": "1", "depth": 2, "parent_id": "y"},
    ]
    assert _drawn(rows, "descendants") == [
        "base 1",
        "└── made into",
        "    ├── x 1",
        "    └── y 1",
        "        └── z 1",
    ]


def test_both_directions_are_told_apart_and_none_is_said() -> None:
    rows: list[Row] = [
        {"id": "me", "name": "me", "version": "1", "depth": 0, "direction": "ancestors"},
        {"id": "up", "name": "up", "version": "1", "depth": 1, "direction": "ancestors"},
        {"id": "do", "name": "[bold]down\x1b", "version": "1", "depth": 1, "direction": "descendants"},
    ]
    assert _drawn(rows, "both") == [
        "me 1",
        "├── made from",
        "│   └── up 1",
        "└── made into",
        "    └── [bold]down 1",
    ]
    assert _drawn(rows[:1], "both") == ["me 1", "└── no relatives are known"]
