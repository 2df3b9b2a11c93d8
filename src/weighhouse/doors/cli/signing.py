"""The commands that sign a folder as the OpenSSF's model signing does, and verify such a signature; neither asks a server."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from weighhouse.doors.cli.asking import read_password
from weighhouse.doors.cli.client import Refused
from weighhouse.doors.cli.offline import OfflineCommand, all_files, sha256_of
from weighhouse.doors.cli.output import Output, clean
from weighhouse.doors.cli.packing import Member, list_members
from weighhouse.doors.cli.progress import progress

# What signs and verifies is imported when it runs: the other commands start faster without it.

_pem = click.Path(path_type=Path, exists=True, dir_okay=False)
_folder = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))


@click.command("sign", cls=OfflineCommand)
@_folder
@click.option("--key", "key_file", type=_pem, required=True, help="The private key, PEM: P-256, P-384 or P-521.")
@click.option("--password-stdin", is_flag=True, help="Read the key's password from standard input.")
@click.option("--certificate", "certificate_file", type=_pem, help="The key's certificate; then nobody needs the key.")
@click.option(
    "--chain", "chain_files", type=_pem, multiple=True, help="Certificates that vouch for that one, in order."
)
@click.option("--all", "everything", is_flag=True, help="Sign hidden files too; then upload with --all.")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Leave out these names, as upload does.")
def sign(
    folder: Path,
    key_file: Path,
    password_stdin: bool,
    certificate_file: Path | None,
    chain_files: Sequence[Path],
    everything: bool,
    ignore: Sequence[str],
) -> None:
    """Sign a folder: writes model.sig into it, in the format of the OpenSSF's model signing.

    What upload would send is signed. The registry says of the package whether it trusts the signer, and so can everybody
    who has the files, with this command line or another.

    \b
    Example:
      weighhouse sign ./bert --key me.pem
      weighhouse sign ./bert --key me.pem --certificate me.crt --chain team-ca.crt
    """
    from weighhouse.rules.certificates import read_certificates
    from weighhouse.rules.keys import key_id, read_private_key
    from weighhouse.rules.model_signing import SIGNATURE_PATH, Signing, sign_model

    if chain_files and certificate_file is None:
        raise click.UsageError("--chain goes with --certificate.")
    password = read_password("Password of the key", from_stdin=True) if password_stdin else None
    key = read_private_key(key_file.read_bytes(), password)
    named = [certificate_file, *chain_files] if certificate_file is not None else []
    chain = [one for path in named for one in read_certificates(path.read_bytes())]
    if named and not chain:
        raise Refused(f"{named[0]} holds no certificate.")
    members = list_members(folder, everything=everything, ignore=(*ignore, SIGNATURE_PATH))
    content = sign_model(
        folder.resolve().name,
        _digests(members),
        Signing(key, chain),
        ignored=_left_out(folder, members),
        follows_links=any((folder / member.path).is_symlink() for member in members),
    )
    _replace(folder / SIGNATURE_PATH, content)
    click.echo(f"{folder / SIGNATURE_PATH}: {len(members)} files signed with key {key_id(key.public_key())}.")


@click.command("verify-signature", cls=OfflineCommand)
@_folder
@click.option("--trust", "trust_files", type=_pem, multiple=True, help="Public keys or certificates you trust, PEM.")
@click.option("--partial", is_flag=True, help="The folder may lack files, as a download of components does.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify_signature(folder: Path, trust_files: Sequence[Path], partial: bool, as_json: bool) -> None:
    """Verify the model.sig of a folder, without a server; exit code 1 unless it holds and its signer is trusted.

    \b
    Example:
      weighhouse verify-signature ./bert --trust team-ca.crt
    """
    from weighhouse.rules.model_signing import MAX_SIGNATURE_BYTES, SIGNATURE_PATH, check_model
    from weighhouse.rules.trust import read_trust

    trust = read_trust(path.read_bytes() for path in trust_files)
    with (folder / SIGNATURE_PATH).open("rb") as file:
        content = file.read(MAX_SIGNATURE_BYTES + 1)
    files = {path: sha256_of(source) for path, source in all_files(folder)}
    checked = check_model(content, files, trust, may_lack=partial)
    output = Output(as_json)
    if as_json:
        output.document(json.dumps(asdict(checked)))
    else:
        signer = checked.signer
        who = f"\nsigner: {signer.kind} {clean(signer.name or '')} {signer.id or ''}" if signer else ""
        output.show(Text(f"{checked.state}: {clean(checked.reason)}{who}"))
    if checked.state != "trusted":
        click.get_current_context().exit(1)


def _digests(members: Sequence[Member]) -> Mapping[str, str]:
    with progress("hashing", sum(member.size_bytes for member in members)) as moved:
        return {member.path: sha256_of(member.source, moved) for member in members}


def _left_out(folder: Path, members: Sequence[Member]) -> set[str]:
    """What is in the folder and not signed, so that who verifies the folder as it is does not stumble over it."""
    signed = {member.path for member in members}
    folders = {path[:end] for path in signed for end, character in enumerate(path) if character == "/"}
    left_out: set[str] = set()
    waiting = [folder]
    while waiting:
        for entry in waiting.pop().iterdir():
            path = entry.relative_to(folder).as_posix()
            if path in folders:
                waiting.append(entry)
            elif path not in signed:
                left_out.add(path)
    return left_out


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all: half a signature would be an invalid one."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
