"""A model of the hub without a package: its small files stand for the package's, so that metrics read what an ingest would."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Protocol

from weighhouse.rules.evidence import Claim, DatasetFacts, History, HubModel, Missing, Reason
from weighhouse.rules.license_files import is_license_text
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.parents import files_to_read
from weighhouse.sources.files import MAX_TEXT_BYTES, LooseFiles
from weighhouse.sources.gather import Hub, NamedBy
from weighhouse.sources.hub import HubRevision
from weighhouse.sources.hub_answers import HubFile

MAX_FILES = 4
"""With the card, the facts, the datasets and GitHub they stay within the calls of one evaluation."""

_RESULTS = ("all_results.json", "eval_results.json", "test_results.json")
# The file exists, and is not for us: then it is as if the list did not name it.
_NOT_FOR_US = frozenset({Reason.FORBIDDEN, Reason.NO_TOKEN, Reason.NO_EVIDENCE})


class RevisionHub(Hub, Protocol):
    """A hub that lists the files of a model."""

    def revision(self, model_id: str) -> HubRevision: ...


class OnlyHub:
    """The hub as the only place to look: a model that it does not have is no evidence, not a model without a card."""

    def __init__(self, hub: RevisionHub) -> None:
        self._hub = hub

    def listed(self, model_id: str) -> HubModel:
        return self._hub.listed(model_id)

    def card(self, model_id: str) -> str:
        """The model's card, `""` when it has none.

        Raises:
            Missing: It could not be had; `no_evidence` when there is no such model.
        """
        self._hub.revision(model_id)
        return self._hub.card(model_id)

    def model(self, model_id: str) -> HubModel:
        return self._hub.model(model_id)

    def text(self, model_id: str, path: str) -> str | None:
        return self._hub.text(model_id, path)

    def claims(self, model_id: str) -> Sequence[Claim]:
        return self._hub.claims(model_id)

    def history(self, model_id: str) -> History:
        return self._hub.history(model_id)

    def dataset(self, address: str, named_by: NamedBy) -> DatasetFacts:
        return self._hub.dataset(address, named_by)


def hub_package(hub: RevisionHub, model_id: str) -> LooseFiles:
    """The license, the configuration and the results of a model, as files; none when the hub lists none for us."""
    try:
        chosen = small_files(hub.revision(model_id).files)
    except Missing:
        # Each metric asks again, and says what its own question lacks.
        chosen = ()
    with ThreadPoolExecutor(MAX_FILES, thread_name_prefix="hub-file") as pool:
        texts = dict(zip(chosen, pool.map(lambda file: _text(hub, model_id, file.path), chosen), strict=True))
    files = {_as_file(file): text for file, text in texts.items() if text is not None}
    by_digest = {file.sha256: text for file, text in files.items()}

    def read(sha256: str, start: int, size: int) -> bytes:
        text = by_digest[sha256]
        if isinstance(text, Missing):
            raise Missing(text.reason, text.advice)
        return text.encode()[start : start + size]

    return LooseFiles(tuple(files), read)


def small_files(listed: Iterable[HubFile]) -> Sequence[HubFile]:
    """At most four files worth a question: a license, two configurations that can name a parent, results."""
    by_path = {file.path: file for file in listed if 0 < file.size_bytes <= MAX_TEXT_BYTES}
    ordered = sorted(by_path, key=lambda path: (path.count("/"), path))
    licenses = [path for path in ordered if "/" not in path and is_license_text(path)]
    results = [path for path in ordered if path.startswith(".eval_results/") and path.endswith((".yaml", ".yml"))]
    results += [path for path in ordered if PurePosixPath(path).name in _RESULTS]
    chosen = [*licenses[:1], *files_to_read(ordered)[:2], *results[:1]]
    return [by_path[path] for path in chosen]


def _text(hub: RevisionHub, model_id: str, path: str) -> str | Missing | None:
    try:
        return hub.text(model_id, path)
    except Missing as missing:
        return None if missing.reason in _NOT_FOR_US else missing


def _as_file(file: HubFile) -> File:
    # A small file has a digest as a git blob only; here it is but a name that changes with the content.
    digest = file.sha256 or file.git_sha1 or file.path
    return File(file.path, file.size_bytes, digest, 0, component_of(file.path))
