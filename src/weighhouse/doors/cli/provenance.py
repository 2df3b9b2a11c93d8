"""The commands that tell what a package is made of and who vouches for it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import RenderableType
from rich.text import Text

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.client import Refused, package_path
from weighhouse.doors.cli.configuration import configure_logging, read_settings
from weighhouse.doors.cli.naming import find_package_id
from weighhouse.doors.cli.offline import OfflineCommand, compare_folder, read_document
from weighhouse.doors.cli.output import Output, clean, moment, score

if TYPE_CHECKING:
    from weighhouse.rules.keys import PublicKey

# What signs and verifies is imported when it runs: the other commands start faster without it.

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


@remote_command("statement")
@click.argument("package", metavar="NAME[@VERSION]|ID")
@_out
def statement(remote: Remote, package: str, target: Path | None) -> None:
    """Print what the registry states, signed, about a package: these files scored this, for these reasons.

    An in-toto statement in a DSSE envelope; verify-statement reads it without a server.

    \b
    Example:
      weighhouse statement bert-base@1.0.0 -o bert.intoto.json
    """
    response = remote.server.ask("GET", package_path(find_package_id(remote.server, package), "statement"))
    _hand_over(remote, response.text, target)


@remote_command("keys")
@_out
def keys(remote: Remote, target: Path | None) -> None:
    """Print the registry's public keys as PEM, the one in use first; those before it verify older statements.

    Get them once over a connection you trust, and keep them.

    \b
    Example:
      weighhouse keys -o weighhouse.pem
    """
    response = remote.server.ask("GET", "/.well-known/weighhouse-keys")
    if remote.output.as_json:
        _hand_over(remote, response.text, target)
        return
    listed = remote.server.document(response).get("keys") or []
    _hand_over(remote, "".join(str(key.get("public_key")) for key in listed).rstrip("\n"), target)


@click.command("verify-statement", cls=OfflineCommand)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    "key_files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    required=True,
    help="Public keys of the registry, PEM, as `weighhouse keys` prints them; may be given several times.",
)
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Compare the files in this folder too."
)
@click.option("--partial", is_flag=True, help="The folder may lack files, as a download of components does.")
@click.option("--json", "as_json", is_flag=True, help="Print the statement as JSON.")
def verify_statement(path: Path, key_files: Sequence[Path], folder: Path | None, partial: bool, as_json: bool) -> None:
    """Verify a signed statement of scores, without a server; exit code 1 when it is not what the registry signed.

    Without --folder it is only known what the registry said, not that your files are those it said it of.

    \b
    Example:
      weighhouse verify-statement bert.intoto.json --key weighhouse.pem --folder ./bert
    """
    from weighhouse.rules.dsse import open_envelope
    from weighhouse.rules.keys import key_id
    from weighhouse.rules.score_statement import require_scores, stated_files

    document, key = open_envelope(read_document(path), _public_keys(key_files))
    stated = require_scores(document)
    if folder is not None:
        compare_folder(folder, stated_files(document), may_lack=partial)
    output = Output(as_json)
    if as_json:
        output.document(json.dumps(document))
        return
    output.show(*_stated(stated, key_id(key)))
    checked = (
        "every file in the folder is one of them" if folder is not None else "files were not compared: see --folder"
    )
    output.show(f"{len(stated_files(document))} files; {checked}.")


def _stated(stated: Mapping[str, Any], signer: str) -> Iterator[RenderableType]:
    package = stated.get("package") or {}
    yield Text(f"{clean(package.get('name'))} {clean(package.get('version'))}", style="bold")
    bounds = f"between {score(stated.get('net_low'))} and {score(stated.get('net_high'))}"
    yield Text(f"net score {score(stated.get('net_score'))}, {bounds}; verdict {clean(stated.get('verdict'))}")
    for metric in stated.get("metrics") or []:
        reason = clean((metric.get("reasons") or ["no reason given"])[0])
        yield Text(f"  {clean(metric.get('metric'))} {score(metric.get('score'))}: {reason}")
    yield Text(f"weighed {moment(stated.get('evaluated_at'))} UTC by {clean(stated.get('metrics_version'))}")
    yield Text(f"signed {moment(stated.get('stated_at'))} UTC by key {signer}")


def _public_keys(paths: Sequence[Path]) -> "list[PublicKey]":
    """The public keys of PEM files that may each hold several."""
    from weighhouse.rules.keys import read_public_keys

    found = [key for path in paths for key in read_public_keys(path.read_bytes())]
    if not found:
        raise Refused(f"{paths[0]} holds no public key. `weighhouse keys` prints the registry's.")
    return found


@click.command("rotate-key")
@click.option("--data-dir", type=Path, metavar="DIR", help="The data directory of the registry [./data].")
def rotate_key(data_dir: Path | None) -> None:
    """Have the registry sign statements with a new key from now on; the registry may go on serving.

    The public keys before it stay among those that `weighhouse keys` prints, so that older statements can be verified.
    Whoever keeps the keys has to get them again.

    \b
    Example:
      weighhouse rotate-key
    """
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    from weighhouse.doors.cli.local import local_registry
    from weighhouse.registry import statement_keys
    from weighhouse.rules.keys import key_id

    with local_registry(settings) as app:
        click.echo(f"Statements are signed with key {key_id(statement_keys.rotate_key(app))} from now on.")
