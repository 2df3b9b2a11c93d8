"""The evidence of one evaluation: lazy, fetched once, and Missing where it could not be had."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from weighhouse.rules.cards import read_card
from weighhouse.rules.errors import Malformed
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
from weighhouse.rules.manifest import File, digest
from weighhouse.rules.parents import ParentRef, files_to_read, parent_references
from weighhouse.rules.trial import Trial
from weighhouse.rules.url_file import named_in
from weighhouse.rules.urls import hub_id
from weighhouse.sources.bundled_data import bundled_datasets
from weighhouse.sources.claims import card_claims, eval_file_claims
from weighhouse.sources.files import PackageFiles, Read
from weighhouse.sources.hub_parents import MAX_TEXTS, hub_texts, with_hub_facts
from weighhouse.sources.lint import undefined_names
from weighhouse.sources.once import Once
from weighhouse.sources.package_code import package_code

PUBLIC_HUB = "https://huggingface.co"
MAX_DATASETS = 3

NamedBy = Literal["given", "card", "link", "inferred"]

Sourced = TypeVar("Sourced", CodeTree, History, Contributors, Changesets)

_MAX_EVAL_FILES = 50


class Hub(Protocol):
    """What can be asked of the hub about one id; every call answers, or raises `Missing`."""

    def model(self, model_id: str) -> HubModel: ...

    def listed(self, model_id: str) -> HubModel:
        """The facts that one question tells: no parameters, bases and results."""

    def card(self, model_id: str) -> str:
        """The model's card, `""` when it has none."""

    def text(self, model_id: str, path: str) -> str | None:
        """A small file of the model's repository, `None` when it is not there."""

    def claims(self, model_id: str) -> Sequence[Claim]: ...

    def history(self, model_id: str) -> History:
        """The newest commits of the model's repository, without their files."""

    def dataset(self, address: str, named_by: NamedBy) -> DatasetFacts:
        """What is behind a hub id or an address; a look that failed is a `missing` of the answer."""


class Repositories(Protocol):
    """What can be learned from a repository of code; every call answers, or raises `Missing`.

    A repository that its forge says is not there is `no_code_repo` (for changesets `no_github_repo`): a dead link.
    """

    def tree(self, code_url: str) -> CodeTree:
        """The repository at HEAD."""

    def history(self, code_url: str) -> History: ...

    def contributors(self, code_url: str) -> Contributors: ...

    def changesets(self, code_url: str) -> Changesets: ...


class NoHub:
    """The hub of a server that does not ask it."""

    def model(self, model_id: str) -> HubModel:
        raise _not_asked(model_id)

    def listed(self, model_id: str) -> HubModel:
        raise _not_asked(model_id)

    def card(self, model_id: str) -> str:
        raise _not_asked(model_id)

    def text(self, model_id: str, path: str) -> str | None:
        raise _not_asked(model_id)

    def claims(self, model_id: str) -> Sequence[Claim]:
        return ()

    def history(self, model_id: str) -> History:
        raise _not_asked(model_id)

    def dataset(self, address: str, named_by: NamedBy) -> DatasetFacts:
        return DatasetFacts(address, named_by, "unknown", missing=_not_asked(address))


class NoRepositories:
    """The repositories of a server that does not clone any."""

    def tree(self, code_url: str) -> CodeTree:
        raise _not_read(code_url)

    def history(self, code_url: str) -> History:
        raise _not_read(code_url)

    def contributors(self, code_url: str) -> Contributors:
        raise _not_read(code_url)

    def changesets(self, code_url: str) -> Changesets:
        raise _not_read(code_url)


def _not_read(code_url: str) -> Missing:
    return Missing(
        Reason.UNREACHABLE, f"This server does not read code repositories; {code_url[:60]} was not looked at"
    )


def _not_asked(what: str) -> Missing:
    return Missing(Reason.UNREACHABLE, f"This server does not ask the hub yet; {what[:80]} was not looked at")


class PackageSources:
    """The `Evidence` of a package of this registry.

    Every answer is computed once, under its own lock, so that metrics may ask from several threads.

    Args:
        read: Bytes of a blob by SHA-256, start and length.
        look_up: What the registry knows of each parent that the files name.
        hub_endpoint: The hub whose addresses count beside the public ones.
        try_out: How a program ends in the sandbox; left out where none of this package is run.
        max_hub_texts: How many configuration files the package lacks and the hub is asked for.
        known_datasets: Ids that count as named, by inference, when the card's text names them and nothing else names any.
    """

    def __init__(
        self,
        *,
        name: str,
        files: Sequence[File],
        read: Read,
        look_up: Callable[[Sequence[ParentRef]], Sequence[Parent]],
        model_url: str | None = None,
        dataset_url: str | None = None,
        code_url: str | None = None,
        hub: Hub | None = None,
        repositories: Repositories | None = None,
        hub_endpoint: str = PUBLIC_HUB,
        max_hub_texts: int = MAX_TEXTS,
        known_datasets: Sequence[str] = (),
        try_out: Callable[[str], Trial] | None = None,
    ) -> None:
        self.name = name
        self.model_url = model_url or None
        self.dataset_url = dataset_url or None
        self.code_url = code_url or None
        self.model_id = _model_id(self.model_url, hub_endpoint) or name
        self._files = PackageFiles(files, read)
        self._look_up = look_up
        self._hub: Hub = hub or NoHub()
        self._repositories: Repositories = repositories or NoRepositories()
        self._hub_endpoint = hub_endpoint
        self._max_hub_texts = max_hub_texts
        self._known_datasets = known_datasets
        self._try_out = try_out
        self._once = Once()
        self._package = Source("package", digest(files))
        self._touched = {self._package}
        self._touched_guard = threading.Lock()

    def sources(self) -> Sequence[Source]:
        """What was looked at so far, in a fixed order."""
        with self._touched_guard:
            return sorted(self._touched, key=lambda source: (source.kind, source.ref))

    def evidence_digest(self) -> str:
        """SHA-256 over the sources looked at so far, in hexadecimal: it changes when what was seen does."""
        lines = (f"{source.kind} {source.ref}\n" for source in self.sources())
        return hashlib.sha256("".join(lines).encode("utf-8", errors="replace")).hexdigest()

    def files(self) -> Sequence[File]:
        return self._files.all

    def text(self, path: str) -> str:
        return self._files.text(path)

    def read_at(self, path: str, start: int, size: int) -> bytes:
        return self._files.read_at(path, start, size)

    def card(self) -> str:
        return self._once.get("card", self._find_card)

    def hub(self) -> HubModel:
        return self._once.get("hub", self._ask_hub)

    def claims(self) -> Sequence[Claim]:
        return self._once.get("claims", self._find_claims)

    def datasets(self) -> Sequence[DatasetFacts]:
        return self._once.get("datasets", self._find_datasets)

    def code(self) -> CodeTree:
        return self._once.get("code", self._find_code)

    def linked_code(self, address: str) -> CodeTree:
        return self._once.get(("linked", address), lambda: self._touched_by(self._repositories.tree(address)))

    def history(self) -> History:
        return self._once.get("history", lambda: self._touched_by(self._repositories.history(self._code_url())))

    def contributors(self) -> Contributors:
        return self._once.get(
            "contributors", lambda: self._touched_by(self._repositories.contributors(self._code_url()))
        )

    def hub_history(self) -> History:
        return self._once.get("hub history", self._find_hub_history)

    def changesets(self) -> Changesets:
        return self._once.get("changesets", self._find_changesets)

    def undefined_names(self, program: str) -> Sequence[str]:
        return self._once.get(("undefined", program), lambda: undefined_names(program))

    def try_out(self, program: str) -> Trial | None:
        run = self._try_out
        return None if run is None else self._once.get(("trial", program), lambda: run(program))

    def parents(self) -> Sequence[Parent]:
        return self._once.get("parents", self._find_parents)

    def _touch(self, source: Source) -> None:
        with self._touched_guard:
            self._touched.add(source)

    def _find_card(self) -> str:
        cards = [file.path for file in self._files.all if PurePosixPath(file.path).name.lower() == "readme.md"]
        if cards:
            return self._files.lenient_text(min(cards, key=lambda path: (path.count("/"), path)))
        return self._hub.card(self._hub_model_id()) if self.model_url else ""

    def _ask_hub(self) -> HubModel:
        model = self._hub.model(self._hub_model_id())
        self._touch(Source("hub", f"{model.id}@{model.sha}"))
        return model

    def _hub_model_id(self) -> str:
        """The hub's id of the model.

        Raises:
            Missing: No `model_url` was given, or it lies on another host.
        """
        if self.model_url is None:
            raise Missing(
                Reason.NO_EVIDENCE, "No model_url was given; give the model's address on the hub to have it asked"
            )
        found = _model_id(self.model_url, self._hub_endpoint, only_hub=True)
        if found is None:
            raise Missing(
                Reason.HOST_UNSUPPORTED, f"{self.model_url[:100]} is not on the hub; give the model's address there"
            )
        return found

    def _metadata(self) -> Mapping[str, Any]:
        return read_card(self.card()).metadata

    def _find_claims(self) -> Sequence[Claim]:
        paths = [file.path for file in self._files.all if _is_eval_file(file.path)][:_MAX_EVAL_FILES]
        claims = [*eval_file_claims(map(self._files.lenient_text, paths))] if paths else []
        try:
            metadata = self._metadata()
        except Missing:
            if not claims:
                raise
            return claims
        claims += card_claims(metadata) if "model-index" in metadata else ()
        try:
            return [*claims, *self._hub.claims(self._hub_model_id())]
        except Missing:
            # The hub only adds to what the package says.
            return claims

    def _find_datasets(self) -> Sequence[DatasetFacts]:
        found: dict[str, DatasetFacts] = {}
        for facts in self._named_datasets():
            found.setdefault(facts.id.lower(), facts)
            if facts.source:
                self._touch(facts.source)
            if len(found) == MAX_DATASETS:
                break
        return tuple(found.values())

    def _named_datasets(self) -> Iterator[DatasetFacts]:
        """Lazily, so that the hub is asked for no more than are wanted."""
        yield from bundled_datasets(self._files)
        if self.dataset_url:
            yield self._hub.dataset(self._dataset_id(self.dataset_url) or self.dataset_url, "given")
        card = read_card(self.card())
        listed = card.metadata.get("datasets")
        for name in listed if isinstance(listed, list) else [listed]:
            if isinstance(name, str) and (known := self._dataset_id(name)):
                yield self._hub.dataset(known, "card")
        for link in card.links:
            if "/datasets/" in link.target and (known := self._dataset_id(link.target)):
                yield self._hub.dataset(known, "link")
        if not self.dataset_url and not listed:
            for known in named_in(self.card(), self._known_datasets):
                yield self._hub.dataset(known, "inferred")

    def _dataset_id(self, address: str) -> str | None:
        try:
            found = hub_id(address.strip(), "dataset_url", endpoint=self._hub_endpoint, kind="datasets")
        except Malformed:
            return None
        return found.id if found else None

    def _find_code(self) -> CodeTree:
        if self.code_url:
            try:
                return self._touched_by(self._repositories.tree(self.code_url))
            except Missing as missing:
                # A dead link: metrics about what is behind it take it as not given.
                if missing.reason is not Reason.NO_CODE_REPO:
                    raise
        return package_code(self._files, self._package)

    def _code_url(self) -> str:
        if not self.code_url:
            raise Missing(Reason.NO_CODE_REPO, "No code repository was given; publish with its address as code_url")
        return self.code_url

    def _find_changesets(self) -> Changesets:
        if not self.code_url:
            raise Missing(Reason.NO_GITHUB_REPO, "No GitHub repository was given; publish with its address as code_url")
        return self._touched_by(self._repositories.changesets(self.code_url))

    def _find_hub_history(self) -> History:
        if not self.model_url:
            raise Missing(Reason.NO_CODE_REPO, "Neither a code_url nor a model_url was given; publish with one of them")
        try:
            return self._touched_by(self._hub.history(self._hub_model_id()))
        except Missing as missing:
            # A model that is not there is one that was not given.
            reason = Reason.NO_CODE_REPO if missing.reason is Reason.NO_EVIDENCE else missing.reason
            raise Missing(reason, missing.advice) from missing

    def _touched_by(self, answer: Sourced) -> Sourced:
        self._touch(answer.source)
        return answer

    def _find_parents(self) -> Sequence[Parent]:
        unread: Missing | None = None
        texts: dict[str, str] = {}
        for path in files_to_read(file.path for file in self._files.all):
            try:
                texts[path] = self._files.text(path)
            except Missing as missing:
                unread = missing
        try:
            texts |= self._hub_texts()
        except Missing as missing:
            unread = unread or missing
        try:
            metadata = self._metadata()
        except Missing as missing:
            metadata, unread = {}, missing
        references = parent_references(metadata, texts, own_names=(self.name, self.model_id))
        references = [*references, *self._hub_references(references)]
        if not references and unread:
            raise unread
        parents = with_hub_facts(self._hub, self._look_up(references)) if references else ()
        for parent in parents:
            if parent.in_registry:
                self._touch(Source("registry", f"{parent.name} net={parent.net_score} license={parent.license}"))
        return parents

    def _hub_references(self, known: Sequence[ParentRef]) -> Sequence[ParentRef]:
        try:
            model = self.hub()
        except Missing:
            # The hub's list is derived from the card; it can only add to what the files name.
            return ()
        named = {reference.name.lower() for reference in known} | {self.name.lower(), self.model_id.lower()}
        relation = model.base_relation or "finetune"
        return [ParentRef(base, relation, "the hub") for base in model.base_models if base.lower() not in named]

    def _hub_texts(self) -> Mapping[str, str]:
        try:
            model = self.hub()
        except Missing:
            # Without the list of its files nothing says that there is one to be read.
            return {}
        return hub_texts(self._hub, model, (file.path for file in self._files.all), limit=self._max_hub_texts)


def _is_eval_file(path: str) -> bool:
    return path.rpartition("/")[0].endswith(".eval_results") and path.lower().endswith((".yaml", ".yml"))


def _model_id(model_url: str | None, endpoint: str, *, only_hub: bool = False) -> str | None:
    """The hub's id of an address, or outside the hub the last two parts of its path."""
    if not model_url:
        return None
    try:
        found = hub_id(model_url, "model_url", endpoint=endpoint)
        path = urlsplit(model_url).path
    except (Malformed, ValueError):
        return None
    if found or only_hub:
        return found.id if found else None
    return "/".join([segment for segment in path.split("/") if segment][-2:]) or None
