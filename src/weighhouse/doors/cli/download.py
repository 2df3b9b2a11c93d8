"""The command that brings a package here, verified, and unpacks it if asked to."""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urljoin

import click

from weighhouse.doors.cli.asking import Remote, remote_command
from weighhouse.doors.cli.client import Refused, Server, package_path
from weighhouse.doors.cli.fetching import PartFile, fetch
from weighhouse.doors.cli.naming import describe_package
from weighhouse.doors.cli.output import Row, clean, note, size
from weighhouse.doors.cli.progress import progress
from weighhouse.doors.cli.verifying import Listed, Mismatch, check_free, listed_files, unpack, verify

_UNFIT = re.compile(r"[^0-9A-Za-z.+_-]")


@remote_command("download")
@click.argument("package", metavar="NAME[@VERSION]|ID")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Where the ZIP goes: a file or folder.")
@click.option("--weights", is_flag=True, help="Only the weights (with cards and configs); combines with the next two.")
@click.option("--datasets", is_flag=True, help="Only the datasets.")
@click.option("--code", is_flag=True, help="Only the code.")
@click.option("--unpack", "folder", type=click.Path(path_type=Path), help="Unpack into this new or empty folder.")
@click.option("--force", is_flag=True, help="Replace the ZIP if it is there already.")
def download(
    remote: Remote,
    package: str,
    target: Path | None,
    weights: bool,
    datasets: bool,
    code: bool,
    folder: Path | None,
    force: bool,
) -> None:
    """Download a package, check every byte of it, and go on where an interrupted download stopped.

    Each file's SHA-256 is compared with the registry's record; what differs is removed and the exit code is 1.
    With --unpack and without -o no ZIP is kept.

    \b
    Example:
      weighhouse download bert-base@1.0.0
      weighhouse download bert-base --weights --unpack ./bert
    """
    if folder is not None:
        check_free(folder)
    described = describe_package(remote.server, package)
    package_id = str(described["id"])
    asked = {name: "true" for name, wanted in (("weights", weights), ("datasets", datasets), ("code", code)) if wanted}
    place = _place(described, target, folder, asked)
    if place.exists() and not force and (folder is None or target is not None):
        raise Refused(f"{place} is there already. Choose another with -o, or replace it with --force.")
    pages = remote.server.pages(package_path(package_id, "files"), "files", {"limit": 100})
    rows = [row for page in pages for row in page.rows]
    offer = _ask_offer(remote.server, package_id, asked)
    listed = listed_files(rows, offer.document.get("components_included") if asked else None)
    part = PartFile(place.with_name(place.name + ".part"), " ".join((package_id, *asked)))
    with part.held():
        fetch(offer.renew, part, f"{clean(described.get('name'))} {clean(described.get('version'))}")
        _take(part, place, folder, listed, keep_zip=folder is None or target is not None)
    if remote.output.as_json:
        remote.output.document(offer.text)
        return
    total = sum(one.size_bytes for one in listed.values())
    where = place if folder is None else folder
    remote.output.show(f"{where}: {len(listed)} files, {size(total)}, every SHA-256 verified.")


class _Offer:
    """The server's answer to a download, and the next one when its address has expired."""

    def __init__(self, server: Server, path: str, asked: dict[str, str]) -> None:
        self._server, self._path, self._asked = server, path, asked
        self.document: Row = {}
        self.text = self.verdict = self._address = ""
        self._ask()

    def renew(self) -> str:
        """A signed address that was not used yet."""
        if not self._address:
            self._ask()
        address, self._address = self._address, ""
        return address

    def _ask(self) -> None:
        response = self._server.ask("GET", self._path, params=dict(self._asked))
        self.document = self._server.document(response)
        self.text, self.verdict = response.text, response.headers.get("X-Weighhouse-Verdict", "")
        self._address = urljoin(self._server.url + "/", str(self.document.get("download_url") or ""))


def _ask_offer(server: Server, package_id: str, asked: dict[str, str]) -> _Offer:
    offer = _Offer(server, package_path(package_id), asked)
    if missing := offer.document.get("components_missing"):
        note(f"Not in this package: {', '.join(map(clean, missing))}.")
    if offer.verdict not in ("", "safe"):
        note(f"The scan calls this package {offer.verdict}: look at `weighhouse show {package_id}`.")
    return offer


def _place(described: Row, target: Path | None, folder: Path | None, asked: Iterable[str]) -> Path:
    # A server's name never chooses the folder: everything but the letters of a name becomes a dash.
    parts = (str(described.get("name")), str(described.get("version")), *asked)
    name = _UNFIT.sub("-", "-".join(parts)).lstrip(".-") + ".zip"
    if target is not None:
        return target / name if target.is_dir() else target
    return folder.with_name(folder.name + ".zip") if folder is not None else Path(name)


def _take(part: PartFile, place: Path, folder: Path | None, listed: dict[str, Listed], *, keep_zip: bool) -> None:
    total = sum(one.size_bytes for one in listed.values())
    try:
        with progress("Verifying", total) as moved:
            if folder is None:
                verify(part.path, listed, moved)
            else:
                unpack(part.path, folder, listed, moved)
    except Mismatch:
        part.remove()
        raise
    if keep_zip:
        part.keep_as(place)
    else:
        part.remove()
