"""From what a person calls a package to the package: NAME, NAME@VERSION or an id."""

import re
import uuid
from collections.abc import Iterator

from weighhouse.doors.cli.client import Refused, Server, Value, package_path
from weighhouse.doors.cli.output import Row

_PAGE = 100
# Names that are listed to help; a person reads no more.
_SHOWN = 8


def split_reference(text: str) -> tuple[str, str]:
    """Name and version of `NAME@VERSION`, the version empty when there is none.

    >>> split_reference("acme/bert@1.0.0"), split_reference("bert")
    (('acme/bert', '1.0.0'), ('bert', ''))
    """
    name, _, version = text.strip().partition("@")
    return name, version


def is_package_id(text: str) -> bool:
    """Is this an id and no name?

    >>> is_package_id("01890a5d-ac96-774b-bcce-b302099a8057"), is_package_id("bert")
    (True, False)
    """
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def find_package_id(server: Server, reference: str) -> str:
    """The id of the package that `reference` names; the newest version when none is given.

    The case of a name does not matter; a part of a name is not the name.

    Raises:
        Refused: There is no such package; the message lists what is near.
    """
    if is_package_id(reference):
        return reference.lower()
    return str(find_package(server, *split_reference(reference))["id"])


def describe_package(server: Server, reference: str) -> Row:
    """Id, name and version of the package that `reference` names.

    Raises:
        Refused: There is no such package; the message lists what is near.
    """
    if is_package_id(reference):
        return server.read(package_path(reference.lower(), "metadata"))
    return find_package(server, *split_reference(reference))


def find_package(server: Server, name: str, version: str = "") -> Row:
    """The listed package of exactly this name, and of this version when it is not empty.

    Raises:
        Refused: There is no such package; the message lists what is near.
    """
    versions: list[str] = []
    for row in versions_named(server, name):
        if not version or row.get("version") == version:
            return row
        versions.append(str(row.get("version")))
    if versions:
        more = f" and {len(versions) - _SHOWN} more" if len(versions) > _SHOWN else ""
        raise Refused(f"{name} has no version {version}. It has {', '.join(versions[:_SHOWN])}{more}.")
    near = _names_containing(server, name) if name else []
    advice = f"Names that contain it: {', '.join(near)}." if near else "Look for it with `weighhouse search`."
    raise Refused(f"No package is named {name or 'like that'}. {advice}")


def versions_named(server: Server, name: str) -> Iterator[Row]:
    """The listed packages of exactly this name, newest version first.

    Raises:
        Refused: The caller may not search.
    """
    if not name:
        return
    # `name` is a substring for the server; the expression keeps a short name from meeting a million longer ones.
    query = {"name": name, "regex": f"(?i)^{re.escape(name)}$"}
    try:
        yield from _rows_matching(server, query, name)
    except Refused as refused:
        if refused.status != 400:
            raise
        # A server that finds the expression too costly is asked for all names that hold this one.
        yield from _rows_matching(server, {"name": name}, name)


def _rows_matching(server: Server, query: Row, name: str) -> Iterator[Row]:
    offset = 0
    while True:
        params: dict[str, Value] = {"offset": offset, "limit": _PAGE}
        page = server.document(server.ask("POST", "/packages", params=params, body=[query], repeatable=True))
        rows = page.get("packages") or []
        yield from (row for row in rows if str(row.get("name")).lower() == name.lower())
        offset += len(rows)
        if not rows or offset >= int(page.get("total") or 0):
            return


def _names_containing(server: Server, name: str) -> list[str]:
    page = server.document(
        server.ask("POST", "/packages", params={"limit": _PAGE}, body=[{"name": name}], repeatable=True)
    )
    names = dict.fromkeys(str(row.get("name")) for row in page.get("packages") or [])
    return list(names)[:_SHOWN]
