"""What a card's `license_link` points to: a file of the package, or the page of a license that is known. It is never fetched."""

import re
from collections.abc import Collection
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from weighhouse.rules.licenses import NONE, License, normalise

_MAX_CHARACTERS = 1_000
_HUB_FILE = re.compile(r"/(?P<id>[^/]+/[^/]+)/(?:blob|resolve|raw)/[^/]+/(?P<path>.+)")
_PAGES = {
    "spdx.org": re.compile(r"/licenses/([\w.+-]+?)(?:\.html|\.txt|\.json)?/?"),
    "opensource.org": re.compile(r"/licenses?/([\w.+-]+?)(?:\.html|\.php)?/?"),
    "choosealicense.com": re.compile(r"/licenses/([\w.+-]+)/?"),
    "apache.org": re.compile(r"/licenses/(LICENSE-[\d.]+?)(?:\.html|\.txt)?/?"),
    "gnu.org": re.compile(
        r"/licenses/(?:old-licenses/)?((?:a|l)?gpl-[\d.]+?)(?:\.en)?(?:-standalone)?(?:\.html|\.txt|\.md)?/?"
    ),
    "mozilla.org": re.compile(r"/(?:en-US/)?(MPL/[\d.]+)/?"),
    "creativecommons.org": re.compile(r"/((?:licenses/by(?:-nc)?(?:-sa|-nd)?|publicdomain/zero)/\d\.\d)(?:/.*)?"),
}


def linked_file(link: object, model_id: str, paths: Collection[str]) -> str | None:
    """The path among `paths` that a link names: relative, or as an address of this very model's file on a hub.

    >>> linked_file("https://huggingface.co/acme/tiny/blob/main/TERMS.md", "acme/tiny", ["TERMS.md"])
    'TERMS.md'
    """
    if not isinstance(link, str) or len(link) > _MAX_CHARACTERS:
        return None
    path = link.strip()
    if "://" in path:
        found = _HUB_FILE.fullmatch(_path_of(path))
        if found is None or found["id"].lower() != model_id.lower():
            return None
        path = found["path"]
    named = PurePosixPath(unquote(path.partition("#")[0]))
    # A card that links to itself names the license in its own words, among words about everything else.
    return str(named) if str(named) in paths and named.name.lower() != "readme.md" else None


def linked_license(link: object) -> License:
    """The license whose well-known page a link is; none for any other address.

    >>> linked_license("https://www.apache.org/licenses/LICENSE-2.0").display
    'Apache-2.0'
    """
    if not isinstance(link, str) or len(link) > _MAX_CHARACTERS:
        return NONE
    try:
        host = (urlsplit(link.strip()).hostname or "").removeprefix("www.")
    except ValueError:
        return NONE
    found = _PAGES[host].fullmatch(_path_of(link.strip())) if host in _PAGES else None
    if found is None:
        return NONE
    named = normalise(_as_id(found[1]))
    return named if named.state == "named" else NONE


def _path_of(address: str) -> str:
    try:
        return urlsplit(address).path
    except ValueError:
        return ""


def _as_id(page: str) -> str:
    """The name of a page as the license's id.

    >>> [_as_id(page) for page in ("licenses/by-nc/4.0", "publicdomain/zero/1.0", "MPL/2.0", "LICENSE-2.0", "mit")]
    ['cc-by-nc-4.0', 'cc0-1.0', 'MPL-2.0', 'apache-2.0', 'mit']
    """
    if page.startswith("LICENSE-"):
        return page.replace("LICENSE", "apache")
    if page.startswith("publicdomain/zero"):
        return page.replace("publicdomain/zero/", "cc0-")
    return page.replace("licenses/", "cc-").replace("/", "-")
