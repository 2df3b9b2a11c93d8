"""The commands that find packages, change what is said of them, and take them away."""

import click

from weighhouse.doors.cli.asking import Remote, confirm, remote_command
from weighhouse.doors.cli.client import Refused, Value, package_path
from weighhouse.doors.cli.listing import paged, show_listing
from weighhouse.doors.cli.naming import describe_package, find_package_id
from weighhouse.doors.cli.output import Row, bar, clean, moment, score, size
from weighhouse.doors.cli.tree import draw_lineage

_PACKAGE = "NAME[@VERSION]|ID"


@remote_command("search")
@click.argument("text", required=False)
@click.option("--name", metavar="PART", help="A part of the name, in any case.")
@click.option("--version", "version", metavar="RANGE", help="A version or a range: 1.2.0, ^1.2, '>=1 <2'.")
@click.option("--regex", metavar="RE", help="A PostgreSQL regular expression on name or model card.")
@click.option("--license", "license_", metavar="SPDX", help="The license, as apache-2.0.")
@click.option("--min-net-score", type=click.FloatRange(0, 1), help="At least this net score.")
@click.option("--verdict", type=click.Choice(["safe", "suspicious", "unsafe", "unscanned"]), help="What the scan said.")
@click.option("--uploader", metavar="USER", help="Who uploaded it.")
@click.option(
    "--sort", metavar="ORDER", help="relevance, name, upload_date, net_score or downloads; - in front reverses."
)
@paged
def search(
    remote: Remote, text: str | None, license_: str | None, limit: int, everything: bool, **filters: str | float | None
) -> None:
    """List packages, newest first, or best first when a text is searched for.

    \b
    Example:
      weighhouse search "sentiment classifier" --min-net-score 0.7
      weighhouse search --name bert --version ^1.2 --sort -net_score
      weighhouse search --all --json | jq -r .name
    """
    params: dict[str, Value] = {**filters, "q": text, "license": license_, "limit": limit}
    columns = ("name", "version", "net score", "license", "uploaded")
    show_listing(remote, "/packages", "packages", params, everything, columns, _found)


def _found(row: Row) -> tuple[object, ...]:
    uploaded = moment(row.get("upload_date"))[:10]
    return row.get("name"), row.get("version"), bar(row.get("net_score")), row.get("license"), uploaded


@remote_command("files")
@click.argument("package", metavar=_PACKAGE)
@paged
def files(remote: Remote, package: str, limit: int, everything: bool) -> None:
    """List every file of a package with its size, its part of the package and its SHA-256.

    \b
    Example:
      weighhouse files bert-base@1.0.0 --all
      weighhouse files bert-base --all --json | jq -r '"\\(.sha256)  \\(.path)"' | sha256sum -c
    """
    path = package_path(find_package_id(remote.server, package), "files")
    columns = ("path", "size>", "component", "verdict", "sha256")
    show_listing(remote, path, "files", {"limit": limit}, everything, columns, _file)


def _file(row: Row) -> tuple[object, ...]:
    length = size(int(row.get("size_bytes") or 0))
    return row.get("path"), length, row.get("component"), row.get("verdict"), str(row.get("sha256"))[:16] + "…"


@remote_command("ratings")
@click.argument("package", metavar=_PACKAGE)
@paged
def ratings(remote: Remote, package: str, limit: int, everything: bool) -> None:
    """List what people gave a package, newest first.

    \b
    Example:
      weighhouse ratings bert-base
    """
    path = package_path(find_package_id(remote.server, package), "ratings")
    columns = ("stars", "by", "when", "review")
    show_listing(remote, path, "ratings", {"limit": limit}, everything, columns, _rating)


def _rating(row: Row) -> tuple[object, ...]:
    stars = int(row.get("score") or 0)
    return "★" * stars + "☆" * (5 - stars), row.get("username"), moment(row.get("rated_at")), row.get("review")


@remote_command("rate")
@click.argument("package", metavar=_PACKAGE)
@click.argument("stars", type=click.IntRange(1, 5))
@click.option("--review", metavar="TEXT", help="Why, in your words.")
def rate(remote: Remote, package: str, stars: int, review: str | None) -> None:
    """Rate a package from 1 to 5 stars; your last rating counts.

    \b
    Example:
      weighhouse rate bert-base 5 --review "Runs on a laptop, card is right."
    """
    path = package_path(find_package_id(remote.server, package), "rate")
    body: dict[str, object] = {"score": stars} | ({"review": review} if review is not None else {})
    response = remote.server.ask("PUT", path, body=body)
    if remote.output.as_json:
        remote.output.document(response.text)
        return
    answer = remote.server.document(response)
    average = answer.get("average_rating")
    remote.output.show(f"{stars} stars given; {score(average)} on average of {clean(answer.get('ratings'))} ratings.")


@remote_command("evaluate")
@click.argument("package", metavar=_PACKAGE)
def evaluate(remote: Remote, package: str) -> None:
    """Weigh a package again; earlier evaluations are kept.

    \b
    Example:
      weighhouse evaluate bert-base && weighhouse evaluations bert-base
    """
    package_id = find_package_id(remote.server, package)
    response = remote.server.ask("POST", package_path(package_id, "evaluate"))
    if remote.output.as_json:
        remote.output.document(response.text)
    else:
        remote.output.show(f"Being weighed again; see `weighhouse evaluations {package_id}`.")


@remote_command("history")
@click.argument("package", metavar=_PACKAGE)
@paged
def history(remote: Remote, package: str, limit: int, everything: bool) -> None:
    """List who downloaded a package; for its uploader and admins.

    \b
    Example:
      weighhouse history bert-base@1.0.0
    """
    path = package_path(find_package_id(remote.server, package), "download-history")
    columns = ("when", "who", "address", "agent", "components")
    show_listing(remote, path, "downloads", {"limit": limit}, everything, columns, _downloaded)


def _downloaded(row: Row) -> tuple[object, ...]:
    components = row.get("components")
    parts = ", ".join(map(str, components)) if isinstance(components, list) else components
    when = moment(row.get("downloaded_at"))
    return when, row.get("username"), row.get("address"), row.get("agent"), parts


@remote_command("lineage")
@click.argument("package", metavar=_PACKAGE)
@click.option(
    "--direction",
    type=click.Choice(["ancestors", "descendants", "both"]),
    default="ancestors",
    show_default=True,
    help="What it was made from, what was made from it, or both.",
)
def lineage(remote: Remote, package: str, direction: str) -> None:
    """Draw what a package was made from, or what was made from it.

    \b
    Example:
      weighhouse lineage bert-finetuned --direction both
    """
    package_id = find_package_id(remote.server, package)
    response = remote.server.ask("GET", package_path(package_id, "lineage"), params={"direction": direction})
    if remote.output.as_json:
        remote.output.document(response.text)
    else:
        rows = remote.server.document(response).get("lineage") or []
        remote.output.show(draw_lineage(rows, direction))


@remote_command("delete")
@click.argument("package", metavar="NAME@VERSION|ID")
@click.option("--release", is_flag=True, help="Free the version for another upload; else it stays reserved for ever.")
@click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
def delete(remote: Remote, package: str, release: bool, yes: bool) -> None:
    """Delete one version of a package; for admins.

    \b
    Example:
      weighhouse delete bert-base@1.0.0
    """
    described = describe_package(remote.server, package)
    full_name = f"{clean(described.get('name'))}@{clean(described.get('version'))}"
    if "@" not in package and package.lower() != str(described["id"]).lower():
        raise Refused(f"Name the version to delete; the newest is {full_name}.")
    if not yes:
        confirm(full_name, f"This deletes {full_name} for everybody.")
    params: dict[str, Value] = {"release": "true"} if release else {}
    response = remote.server.ask("DELETE", package_path(str(described["id"])), params=params)
    if remote.output.as_json:
        remote.output.document(response.text)
    else:
        remote.output.show(f"{full_name} is deleted.")
