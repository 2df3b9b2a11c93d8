"""The command that sends a folder or a ZIP to a server and waits until it is weighed."""

import hashlib
import itertools
import json
import secrets
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.client import Interrupted, Refused, Server, package_path, pause_seconds
from weighhouse.doors.cli.naming import find_package, versions_named
from weighhouse.doors.cli.output import Row, clean, note, score
from weighhouse.doors.cli.packing import (
    Member,
    file_member,
    form_parts,
    list_members,
    read_pieces,
    stream_zip,
    zip_bytes,
)
from weighhouse.doors.cli.progress import Moved, progress, waiting
from weighhouse.doors.cli.sending import Measured, measure, send_files

# A server hashes and scans all that it got before it answers.
_ANSWER_SECONDS = 3600.0
# From this length on, a question before the upload costs less than a refusal after it.
_LARGE_BYTES = 16 * 1024 * 1024
# What is smaller is there sooner as one ZIP than after three questions.
_BY_FILE_BYTES = 1024 * 1024
_READERS = 2
_POLL_SECONDS = (0.5, 1.0, 1.0, 2.0, 3.0, 5.0, 5.0, 10.0)


@dataclass(frozen=True)
class Parcel:
    """What is sent: the files of a folder, or one ZIP as it is."""

    path: Path
    members: Sequence[Member]
    is_zip: bool

    @property
    def size_bytes(self) -> int:
        """The length of the ZIP that is sent."""
        return self.members[0].size_bytes if self.is_zip else zip_bytes(self.members)

    @property
    def files_bytes(self) -> int:
        """The length of its files."""
        return sum(member.size_bytes for member in self.members)

    @cached_property
    def measured(self) -> Sequence[Measured]:
        """The files of a folder with their digests, read when they are first wanted.

        Raises:
            Refused: A file changed since it was listed.
        """
        return measure(self.members, _READERS)

    def stream(self, moved: Moved) -> Iterator[bytes]:
        """The ZIP's bytes.

        Raises:
            Refused: A file changed since it was listed.
        """
        if not self.is_zip:
            yield from stream_zip(self.members, moved)
            return
        for piece in read_pieces(self.members[0]):
            moved(len(piece))
            yield piece

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file by its path, as the registry records them."""
        if not self.is_zip:
            return {one.member.path: one.sha256 for one in self.measured}
        found: dict[str, str] = {}
        with zipfile.ZipFile(self.path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as file:
                        found[member.filename] = _sha256(iter(lambda: file.read(1 << 20), b""))
        return found


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def make_parcel(path: Path, *, everything: bool, ignore: Sequence[str]) -> Parcel:
    """A folder's files, or the ZIP at `path`.

    Raises:
        Refused: There is nothing to send there, or something that should not be sent.
    """
    if path.is_dir():
        return Parcel(path, list_members(path, everything=everything, ignore=ignore), is_zip=False)
    member = file_member(path)
    if not zipfile.is_zipfile(path):
        raise Refused(f"{path} is neither a folder nor a ZIP file.")
    return Parcel(path, [member], is_zip=True)


@remote_command("upload")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", metavar="NAME", help="The package's name; by default the folder's or the ZIP's.")
@click.option("--version", "version", metavar="V", help="By default what the card or config.json says.")
@click.option("--description", metavar="TEXT", help="One line about it.")
@click.option("--model-url", metavar="URL", help="The model on the Hub that this is.")
@click.option("--dataset-url", metavar="URL", help="The dataset it was trained on.")
@click.option("--code-url", metavar="URL", help="The repository of its code.")
@click.option("--no-wait", is_flag=True, help="Return when the files are there, before they are weighed.")
@click.option("--all", "everything", is_flag=True, help="Send hidden files and caches too.")
@click.option("--ignore", multiple=True, metavar="GLOB", help="Leave out files or folders by name or path; repeatable.")
@click.option("--zip", "as_zip", is_flag=True, help="Send a folder as one ZIP, all of it.")
@click.option(
    "--parallel",
    type=click.IntRange(1, 32),
    default=4,
    show_default=True,
    metavar="N",
    help="Files that are on their way at a time.",
)
@click.option("--skip-existing", is_flag=True, help="Exit 0 when this version is there with exactly these files.")
def upload(
    remote: Remote,
    path: Path,
    no_wait: bool,
    everything: bool,
    ignore: Sequence[str],
    as_zip: bool,
    parallel: int,
    skip_existing: bool,
    **fields: str | None,
) -> None:
    """Upload a folder or a ZIP as a package, and wait for its score.

    A folder is sent file by file, and only what the server lacks; after an interruption the same command goes on where
    it stopped. Less than 1 MiB goes as one ZIP made on the way. Hidden files, caches and links that leave the folder
    stay out. With --json the server's answer is printed, its status and net score as they are at the end.

    \b
    Example:
      weighhouse upload ./my-model --version 1.0.0
      weighhouse upload model.zip --name acme/bert --version 2.1.0 --code-url https://github.com/acme/bert
    """
    parcel = make_parcel(path, everything=everything, ignore=ignore)
    default_name = path.resolve().name if path.is_dir() else path.stem
    form = [(key, value) for key, value in {**fields, "name": fields["name"] or default_name}.items() if value]
    try:
        if parcel.size_bytes >= _LARGE_BYTES:
            look_ahead(remote.server, dict(form))
        response = None
        if not as_zip and not parcel.is_zip and parcel.files_bytes >= _BY_FILE_BYTES:
            label = f"Uploading {parcel.path.name}"
            response = send_files(
                remote.server, parcel.measured, dict(form), label=label, parallel=parallel, respond_async=no_wait
            )
        if response is None:
            response = send(remote.server, parcel, form, respond_async=no_wait)
    except Refused as refused:
        if refused.status != 409:
            raise
        _explain_conflict(remote, parcel, dict(form), refused, skip_existing)
        return
    document = dict(remote.server.document(response))
    if not no_wait:
        document |= _outcome(remote.server, response, str(document.get("package_id")))
    if remote.output.as_json:
        remote.output.document(json.dumps(document, ensure_ascii=False))
    else:
        _report(remote, document)
    if document.get("verdict") == "unsafe":
        package_id = document.get("package_id")
        raise Refused(f"The scan found unsafe content and quarantined the package; see `weighhouse show {package_id}`.")


def look_ahead(server: Server, form: Mapping[str, str]) -> None:
    """Ask whether the upload has a chance, before its bytes are on their way.

    Raises:
        Refused: The token is no good, may not upload, or the version is there already (status 409).
    """
    me = server.read("/user/me")
    permissions = set(me.get("permissions") or [])
    if not permissions & {"upload", "admin"}:
        raise Refused(f"{me.get('username')} may not upload. Ask an admin for the permission.", 403)
    name, version = form["name"], form.get("version")
    if not version or not permissions & {"search", "admin"}:
        return
    if any(row.get("version") == version for row in versions_named(server, name)):
        raise Refused(f"{name} already has a version {version}. Choose the next one.", 409)


def send(server: Server, parcel: Parcel, form: Sequence[tuple[str, str]], *, respond_async: bool) -> httpx.Response:
    """The answer to an upload; memory does not grow with the parcel.

    Raises:
        Refused: The server said no, or a file changed meanwhile.
    """
    boundary = f"weighhouse-{secrets.token_hex(16)}"
    head, tail = form_parts(form, f"{parcel.path.resolve().stem}.zip", boundary)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + parcel.size_bytes + len(tail)),
    }
    if respond_async:
        headers["Prefer"] = "respond-async"
    with progress(f"Uploading {parcel.path.name}", parcel.size_bytes) as moved:
        content = itertools.chain([head], parcel.stream(moved), [tail])
        return server.ask("POST", "/package", content=content, headers=headers, read_seconds=_ANSWER_SECONDS)


def _outcome(server: Server, response: httpx.Response, package_id: str) -> Row:
    """Status, net score and verdict when the evaluation has ended; nothing when this user may not see them."""
    path = package_path(package_id, "metadata")
    location = urlsplit(response.headers.get("Location", ""))
    base = urlsplit(server.url)
    # The Location may name the public address of a server that is reached by another one: the token stays here.
    if location.path and (location.netloc in ("", base.netloc)) and location.path.startswith(base.path):
        path = location.path[len(base.path) :]
    try:
        with waiting("Weighing; Ctrl-C leaves it to the server"):
            for pause in itertools.chain(_POLL_SECONDS, itertools.repeat(_POLL_SECONDS[-1])):
                if response.status_code != 201:
                    time.sleep(max(pause, min(pause_seconds(response, 0.0), 30.0)))
                response = server.ask("GET", path)
                metadata = server.document(response)
                if metadata.get("status") != "evaluating":
                    break
    except KeyboardInterrupt:
        raise Interrupted(
            f"The package is uploaded and still being weighed; see `weighhouse show {package_id}`."
        ) from None
    except Refused as refused:
        note(f"The package is uploaded; how its evaluation goes could not be read: {refused.message}")
        return {}
    net_score = (metadata.get("metrics") or {}).get("net_score")
    return {"status": metadata.get("status"), "net_score": net_score, "verdict": metadata.get("verdict")}


def _report(remote: Remote, document: Row) -> None:
    package_id = clean(document.get("package_id"))
    remote.output.show(
        f"{clean(document.get('name'))} {clean(document.get('version'))}",
        f"package id  {package_id}",
        f"status      {clean(document.get('status') or 'uploaded')}",
        f"net score   {score(document.get('net_score'))}",
        f"verdict     {clean(document.get('verdict') or 'not known yet')}",
    )
    for warning in document.get("warnings") or []:
        note(f"Easily confused with {warning}")
    note(f"See why with `weighhouse show {package_id}`.")


def _explain_conflict(remote: Remote, parcel: Parcel, form: Row, refused: Refused, skip_existing: bool) -> None:
    """Say whether the version that is in the way is this very one."""
    name, version = str(form["name"]), str(form.get("version") or refused.members.get("version") or "")
    try:
        existing = find_package(remote.server, name, version) if version else {}
        same = bool(existing) and _holds_exactly(remote.server, str(existing["id"]), parcel)
    except (Refused, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        # What is in the way cannot be looked at (deleted, or hidden from this user), or the ZIP cannot be read: the
        # first answer stands.
        raise refused from None
    if not same:
        raise refused
    told = f"{name} {version} is already there with exactly these files ({existing['id']}); nothing to upload."
    if not skip_existing:
        raise Refused(f"{told} With --skip-existing this is no failure.", 409)
    if remote.output.as_json:
        remote.output.document(json.dumps(dict(existing), ensure_ascii=False))
    else:
        remote.output.show(clean(told))


def _holds_exactly(server: Server, package_id: str, parcel: Parcel) -> bool:
    pages = server.pages(package_path(package_id, "files"), "files", {"limit": 100})
    recorded = {str(row["path"]): str(row["sha256"]) for page in pages for row in page.rows}
    if not parcel.is_zip and recorded.keys() != {member.path for member in parcel.members}:
        return False
    with waiting("Comparing with the version that is there"):
        return recorded == parcel.digests()
