"""The URL file of the batch command: a line is `code_url, dataset_url, model_url` (metrics specification, section 12)."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from weighhouse.rules.errors import Malformed
from weighhouse.rules.urls import HUB_HOSTS, check_url, hub_id

MIN_WORD_CHARACTERS = 4
"""A shorter last part of a dataset's id is too common a word to name it."""

_BARE_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_LOCAL_PATH = re.compile(r"(?:file://)?/[^\0\r\n]+")
# What people copy beside the page's address; it is read into owner and name like that.
_SSH_ADDRESS = re.compile(r"(?:ssh://)?git@[A-Za-z0-9.-]+[:/][A-Za-z0-9._~/-]+")


class BadLine(Malformed):
    """This line of the URL file cannot be read."""


@dataclass(frozen=True)
class Line:
    """A model to weigh; `number` is its line in the file, from 1."""

    number: int
    name: str
    """Last part of the model's id."""
    model_url: str | None
    dataset_url: str | None = None
    code_url: str | None = None


@dataclass(frozen=True)
class Unread:
    """A line of which nothing came, with the sentence to show."""

    number: int
    detail: str


def read_url_file(text: str, *, endpoint: str) -> Sequence[Line | Unread]:
    """The lines of a URL file in their order; blank ones are left out, and any line end is understood.

    Args:
        endpoint: The hub that is asked; its addresses count beside the public ones.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [_entry(number, line, endpoint) for number, line in enumerate(lines, 1) if line.strip()]


def read_line(text: str, number: int = 1, *, endpoint: str) -> Line:
    """The model that one line names.

    Args:
        number: Where the line stands in its file, from 1.
        endpoint: As for `read_url_file`.

    Raises:
        Malformed: It names none, or an address that cannot be used.

    >>> read_line(", , https://huggingface.co/google/bert/tree/main/", endpoint="https://huggingface.co")
    Line(number=1, name='bert', model_url='https://huggingface.co/google/bert/tree/main', dataset_url=None, code_url=None)
    """
    code, dataset, model = _fields(text)
    if not model:
        raise BadLine("The model's address is missing. It comes last: code_url, dataset_url, model_url.")
    return Line(
        number=number,
        name=_model_name(model, endpoint),
        model_url=model,
        dataset_url=_checked_dataset(dataset, endpoint) if dataset else None,
        code_url=_checked_code(code) if code else None,
    )


def datasets_before(lines: Sequence[Line], line: Line, *, endpoint: str) -> Sequence[str]:
    """The ids of the datasets that lines before `line` name, each once, in their order."""
    ids: dict[str, str] = {}
    for earlier in lines:
        if earlier.number < line.number and earlier.dataset_url:
            found = hub_id(earlier.dataset_url, "dataset_url", endpoint=endpoint, kind="datasets")
            if found:
                ids.setdefault(found.id.lower(), found.id)
    return tuple(ids.values())


def named_in(card: str, datasets: Sequence[str]) -> Sequence[str]:
    """Those of `datasets` whose id, or else unique last part of at least four characters, stands as a word in a card.

    Case does not count. Letters, digits, `-`, `_` and `/` make words here, so that the name of a model that was tuned on a
    dataset does not name the dataset.

    Args:
        datasets: Ids, `owner/name` or `name`.

    >>> named_in("Tuned on SQuAD, unlike distil-imdb.", ["rajpurkar/squad", "stanford/imdb"])
    ['rajpurkar/squad']
    """
    text = card.lower()
    lasts = Counter(_last(one) for one in datasets)
    return [one for one in datasets if _stands_in(one.lower(), text) or _last_stands_in(_last(one), lasts, text)]


def _entry(number: int, line: str, endpoint: str) -> Line | Unread:
    try:
        return read_line(line, number, endpoint=endpoint)
    except Malformed as error:
        return Unread(number, error.detail)


def _fields(text: str) -> tuple[str, str, str]:
    fields = [field.strip().rstrip("/") for field in text.split(",")]
    if len(fields) == 1:
        return "", "", fields[0]
    if len(fields) != 3:
        raise BadLine(
            f"It has {len(fields)} fields and needs three: code_url, dataset_url, model_url; two may be blank."
        )
    return fields[0], fields[1], fields[2]


def _model_name(url: str, endpoint: str) -> str:
    if "://" not in url and not _BARE_ID.fullmatch(url):
        raise BadLine(f"{url[:80]!r} is no address of a model. Give one like https://huggingface.co/owner/name.")
    found = hub_id(url, "model_url", endpoint=endpoint)
    if found:
        return found.id.rpartition("/")[2]
    parts = urlsplit(url)
    if parts.netloc.lower() in HUB_HOSTS | {urlsplit(endpoint).netloc.lower()}:
        raise BadLine(f"{url[:80]} is a page of the hub and no model. Give one like https://huggingface.co/owner/name.")
    segments = [segment for segment in parts.path.split("/") if segment]
    if not segments:
        raise BadLine(f"{url[:80]} names no model. Give one like https://huggingface.co/owner/name.")
    return segments[-1]


def _checked_dataset(url: str, endpoint: str) -> str:
    """The address as it was given.

    Raises:
        Malformed: It is neither a web address nor an id of the form owner/name.
    """
    if "://" in url or not _BARE_ID.fullmatch(url):
        hub_id(url, "dataset_url", endpoint=endpoint, kind="datasets")
        check_url(url, "dataset_url")
    return url


def _checked_code(url: str) -> str:
    """The address as it was given: for the web or for SSH, or a path, since on the command line this machine is read too.

    Raises:
        Malformed: It is none of these.
    """
    if not (_LOCAL_PATH.fullmatch(url) or _SSH_ADDRESS.fullmatch(url)):
        check_url(url, "code_url")
    return url


def _last(dataset: str) -> str:
    return dataset.rpartition("/")[2].lower()


def _last_stands_in(last: str, lasts: Mapping[str, int], text: str) -> bool:
    return len(last) >= MIN_WORD_CHARACTERS and lasts[last] == 1 and _stands_in(last, text)


def _stands_in(word: str, text: str) -> bool:
    # Before a full id a `/` may stand: it is the id's address.
    before = r"(?<![\w-])(?<!\w\.)" if "/" in word else r"(?<![\w/-])(?<!\w\.)"
    return word in text and re.search(before + re.escape(word) + r"(?![\w/-]|\.\w)", text) is not None
