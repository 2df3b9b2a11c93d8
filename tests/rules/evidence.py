"""Evidence made from plain values: what a test says is there is there, what it says is `Missing` is raised."""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from weighhouse.rules.evidence import (
    Changesets,
    Claim,
    CodeTree,
    Contributors,
    DatasetFacts,
    History,
    HubModel,
    Missing,
    Parent,
    Reason,
    Source,
)
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.trial import Trial

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
"""The clock of a test."""

T = TypeVar("T")

_NO_CODE_REPO = Missing(Reason.NO_CODE_REPO, "No repository was given; give one")
_NOT_LOOKED_AT = Missing(Reason.UNREACHABLE, "The repository does not answer; try again")
_NO_GITHUB_REPO = Missing(Reason.NO_GITHUB_REPO, "No GitHub repository was given; give one")
_NO_CODE = CodeTree("package", Source("package", "test"), paths=(), texts={}, extras={}, findings=())


class PackageEvidence:
    """The `Evidence` of one package, from its files and from what else the test knows of it.

    Args:
        files: Content of each file by path; text is UTF-8. A `Missing` here makes every file unreadable.
        sizes: Bytes of files whose content is shorter than the size that the manifest gives (large weights).
        card: The card; by default the README.md in `files`, else `""`.
        hub: By default what a package without `model_url` has: `no_evidence`.
        history, contributors, hub_history, changesets: By default what a package without addresses has: no repository.
        undefined_names: The names for any program, or a function from the program to them.
        try_out: How each program ends in the sandbox; by default there is none.
        model_id: By default owner/name of `model_url`, else `name`.
    """

    def __init__(
        self,
        files: Mapping[str, bytes | str] | Missing | None = None,
        *,
        sizes: Mapping[str, int] | None = None,
        name: str = "acme/tiny",
        model_url: str | None = None,
        dataset_url: str | None = None,
        code_url: str | None = None,
        model_id: str | None = None,
        card: str | Missing | None = None,
        hub: HubModel | Missing | None = None,
        claims: Sequence[Claim] | Missing = (),
        datasets: Sequence[DatasetFacts] | Missing = (),
        code: CodeTree | Missing = _NO_CODE,
        linked_code: CodeTree | Missing = _NOT_LOOKED_AT,
        history: History | Missing = _NO_CODE_REPO,
        contributors: Contributors | Missing = _NO_CODE_REPO,
        hub_history: History | Missing = _NO_CODE_REPO,
        changesets: Changesets | Missing = _NO_GITHUB_REPO,
        undefined_names: Sequence[str] | Callable[[str], Sequence[str]] | Missing = (),
        parents: Sequence[Parent] | Missing = (),
        try_out: Callable[[str], Trial | None] = lambda program: None,
    ) -> None:
        self.name = name
        self.model_url = model_url
        self.dataset_url = dataset_url
        self.code_url = code_url
        self.model_id = model_id or (_last_two_parts(model_url) if model_url else name)
        self._files = files if isinstance(files, Missing) else _as_bytes(files or {})
        self._sizes = dict(sizes or {})
        self._manifest: Sequence[File] | None = None
        self._card = card
        self._hub = hub if hub is not None else Missing(Reason.NO_EVIDENCE, "No model_url was given; give one")
        self._claims = claims
        self._datasets = datasets
        self._code = code
        self._linked_code = linked_code
        self._history = history
        self._contributors = contributors
        self._hub_history = hub_history
        self._changesets = changesets
        self._undefined_names = undefined_names
        self._parents = parents
        self._try_out = try_out

    def try_out(self, program: str) -> Trial | None:
        return self._try_out(program)

    def files(self) -> Sequence[File]:
        if self._manifest is None:
            contents = _had(self._files)
            paths = sorted(contents.keys() | self._sizes.keys())
            self._manifest = [_file(path, contents.get(path, b""), self._sizes.get(path)) for path in paths]
        return self._manifest

    def text(self, path: str) -> str:
        content = _had(self._files)[path]
        if len(content) > 1 << 20:
            raise Missing(Reason.TOO_LARGE, f"{path} is larger than 1 MiB")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise Missing(Reason.MALFORMED, f"{path} is not UTF-8 text") from None

    def read_at(self, path: str, start: int, size: int) -> bytes:
        return _had(self._files)[path][start : start + size]

    def card(self) -> str:
        if self._card is None:
            return self.text("README.md") if "README.md" in _had(self._files) else ""
        return _had(self._card)

    def hub(self) -> HubModel:
        return _had(self._hub)

    def claims(self) -> Sequence[Claim]:
        return _had(self._claims)

    def datasets(self) -> Sequence[DatasetFacts]:
        return _had(self._datasets)

    def code(self) -> CodeTree:
        return _had(self._code)

    def linked_code(self, address: str) -> CodeTree:
        return _had(self._linked_code)

    def history(self) -> History:
        return _had(self._history)

    def contributors(self) -> Contributors:
        return _had(self._contributors)

    def hub_history(self) -> History:
        return _had(self._hub_history)

    def changesets(self) -> Changesets:
        return _had(self._changesets)

    def undefined_names(self, program: str) -> Sequence[str]:
        names = self._undefined_names
        return names(program) if callable(names) else _had(names)

    def parents(self) -> Sequence[Parent]:
        return _had(self._parents)


def _had(value: T | Missing) -> T:
    if isinstance(value, Missing):
        raise value
    return value


def _as_bytes(files: Mapping[str, bytes | str]) -> dict[str, bytes]:
    return {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}


def _last_two_parts(url: str) -> str:
    return "/".join(url.rstrip("/").split("/")[-2:])


def _file(path: str, content: bytes, size_bytes: int | None) -> File:
    return File(
        path=path,
        size_bytes=len(content) if size_bytes is None else size_bytes,
        sha256=hashlib.sha256(content).hexdigest(),
        crc32=zlib.crc32(content),
        component=component_of(path),
    )
