"""The lineage of a package as a tree: what it was made from, and what was made from it."""

from collections.abc import Sequence

from rich.text import Text
from rich.tree import Tree

from weighhouse.doors.cli.output import Row, clean


def draw_lineage(rows: Sequence[Row], direction: str) -> Tree:
    """The package with its relatives, each below the one that it is a step away from.

    Args:
        rows: The server's list, nearest first; the package itself at depth 0.
        direction: What was asked for: `ancestors`, `descendants` or `both`.
    """
    root = next((row for row in rows if not row.get("depth")), {})
    tree = Tree(_label(root))
    above = _branch(tree, "made from", root, [row for row in rows if row.get("depth") and _is_above(row, direction)])
    below = [row for row in rows if row.get("depth") and not _is_above(row, direction)]
    below_found = _branch(tree, "made into", root, below)
    if not above and not below_found:
        tree.add(Text("no relatives are known", style="dim"))
    return tree


def _is_above(row: Row, direction: str) -> bool:
    return str(row.get("direction") or direction) != "descendants"


def _branch(tree: Tree, title: str, root: Row, rows: Sequence[Row]) -> bool:
    if not rows:
        return False
    branch = tree.add(Text(title, style="dim"))
    drawn: list[tuple[Row, Tree]] = [(root, branch)]
    # The list is nearest first, so what a row hangs on was drawn before it.
    for row in rows:
        drawn.append((row, _stem(row, drawn).add(_label(row))))
    return True


def _stem(row: Row, drawn: Sequence[tuple[Row, Tree]]) -> Tree:
    """The nearest relative of `row` towards the package.

    Upwards that is its child, downwards its parent. An edge that the server does not spell out hangs on the first
    package of the step before.
    """
    nearer = [(other, tree) for other, tree in drawn if other.get("depth", 0) == row["depth"] - 1]
    for other, tree in nearer:
        if other.get("id") is not None and other["id"] in (row.get("child_id"), row.get("parent_id")):
            return tree
    for other, tree in nearer:
        if row.get("id") is not None and other.get("parent_id") == row["id"]:
            return tree
    return nearer[0][1] if nearer else drawn[0][1]


def _label(row: Row) -> Text:
    version = clean(row["version"]) if row.get("version") else "(not in this registry)"
    label = Text.assemble((clean(row.get("name")), "bold"), f" {version}")
    if row.get("relationship_type"):
        label.append(f"  {clean(row['relationship_type'])}", style="dim")
    return label
