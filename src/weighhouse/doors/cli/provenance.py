"""The commands that tell what a package is made of and who vouches for it."""

from pathlib import Path

import click

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.client import package_path
from weighhouse.doors.cli.naming import find_package_id

_out = click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to this file instead of standard output.",
)


@remote_command("bom")
@click.argument("package", metavar="NAME[@VERSION]|ID")
@_out
def bom(remote: Remote, package: str, target: Path | None) -> None:
    """Print a package's bill of materials: a CycloneDX ML-BOM with its files, license, parents, data and scores.

    \b
    Example:
      weighhouse bom bert-base@1.0.0 -o bert.cdx.json
      weighhouse bom bert-base | jq -r '.components[].name'
    """
    response = remote.server.ask("GET", package_path(find_package_id(remote.server, package), "bom"))
    _hand_over(remote, response.text, target)


def _hand_over(remote: Remote, text: str, target: Path | None) -> None:
    if target is None:
        remote.output.document(text)
    else:
        target.write_text(text, "utf-8")
        remote.output.show(f"{target}: {len(text.encode())} bytes.")
