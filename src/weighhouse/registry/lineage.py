"""Parents and children. An edge names its parent; which package that is gets decided when somebody asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from weighhouse.registry.visible import LISTED, find_package
from weighhouse.rules.permissions import Caller, Permission

MAX_DEPTH = 32
MAX_ENTRIES = 1000

Direction = Literal["ancestors", "descendants", "both"]


@dataclass(frozen=True)
class Relative:
    """A package in the tree.

    Args:
        id: `None` for a parent that is not in this registry; its name is then as the child wrote it.
        depth: Steps from the package that was asked for: 0 itself, positive for ancestors, and for descendants too.
        relationship_type: How the edge that led here relates child and parent; `None` for the package itself.
        parent_id: The package that this one was made from, when it is in this registry: the first, if several.
        child_id: The package whose edge led here, going up; `None` going down and for the package itself.
    """

    id: UUID | None
    name: str
    version: str | None
    depth: int
    relationship_type: str | None
    parent_id: UUID | None
    child_id: UUID | None
    direction: Direction


# Which package an edge points at: the newest version of that name, else the package whose model_url is that id.
_TARGET = f"""
    SELECT t.id, t.name, t.version FROM packages t
    WHERE (t.name_key = {{edge}}.parent_key OR t.model_key = {{edge}}.parent_key) AND t.id <> {{edge}}.package_id
      AND {LISTED.format(row="t")}
    ORDER BY t.name_key = {{edge}}.parent_key DESC, t.version_key DESC, t.id DESC LIMIT 1
"""

# UNION drops rows that were reached twice at one depth, so a ladder of diamonds does not double at each step; the
# depth ends a cycle. The final DISTINCT keeps each package where it is nearest.
_ANCESTORS = text(f"""
    WITH RECURSIVE tree AS (
      SELECT p.id, p.name, p.version, 0 AS depth, NULL::text AS relationship_type, NULL::uuid AS child_id
      FROM packages p WHERE p.id = :id
      UNION
      SELECT t.id, coalesce(t.name, e.parent_name), t.version, tree.depth + 1, e.relationship_type, e.package_id
      FROM tree JOIN lineage e ON e.package_id = tree.id
      LEFT JOIN LATERAL ({_TARGET.format(edge="e")}) t ON true
      WHERE tree.depth < {MAX_DEPTH}
    ), nearest AS (
      SELECT DISTINCT ON (coalesce(id::text, lower(name))) * FROM tree ORDER BY coalesce(id::text, lower(name)), depth
    )
    SELECT n.id, n.name, n.version, n.depth, n.relationship_type, n.child_id, (
      SELECT t.id FROM lineage e JOIN LATERAL ({_TARGET.format(edge="e")}) t ON true
      WHERE e.package_id = n.id ORDER BY e.parent_key LIMIT 1) AS parent_id
    FROM nearest n ORDER BY depth, name LIMIT {MAX_ENTRIES}
""")

_DESCENDANTS = text(f"""
    WITH RECURSIVE tree AS (
      SELECT p.id, p.name, p.version, p.name_key, p.model_key, 0 AS depth, NULL::text AS relationship_type,
             NULL::uuid AS parent_id
      FROM packages p WHERE p.id = :id
      UNION
      SELECT c.id, c.name, c.version, c.name_key, c.model_key, tree.depth + 1, e.relationship_type, tree.id
      FROM tree JOIN lineage e ON e.parent_key IN (tree.name_key, tree.model_key)
      JOIN packages c ON c.id = e.package_id AND {LISTED.format(row="c")}
      JOIN LATERAL ({_TARGET.format(edge="e")}) t ON t.id = tree.id
      WHERE tree.depth < {MAX_DEPTH}
    ), nearest AS (SELECT DISTINCT ON (id) * FROM tree ORDER BY id, depth)
    SELECT id, name, version, depth, relationship_type, NULL::uuid AS child_id, parent_id
    FROM nearest WHERE depth > 0 ORDER BY depth, name LIMIT {MAX_ENTRIES}
""")


def trace_lineage(
    tx: Session, caller: Caller, package_id: UUID, *, direction: Direction = "ancestors"
) -> Sequence[Relative]:
    """The package itself at depth 0, then its relatives, nearest first. Cycles end.

    Raises:
        PermissionMissing: The caller may not search.
        PackageNotFound: There is no such package.
    """
    caller.require(Permission.SEARCH)
    find_package(tx, caller, package_id)
    found = [Relative(**row, direction="ancestors") for row in tx.execute(_ANCESTORS, {"id": package_id}).mappings()]
    if direction == "descendants":
        found = found[:1]
    if direction != "ancestors":
        below = tx.execute(_DESCENDANTS, {"id": package_id}).mappings()
        found += [Relative(**row, direction="descendants") for row in below]
    return found
