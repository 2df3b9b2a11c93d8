"""What the hub knows: facts of models and datasets, their cards, results and commits. Nothing unchanged is fetched twice."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from weighhouse.rules.evidence import Claim, Commit, DatasetFacts, History, HubModel, Missing, Reason, Source
from weighhouse.sources.budget import Budget
from weighhouse.sources.cache import Cache
from weighhouse.sources.hub_answers import (
    HubFile,
    claims_of,
    commit_of,
    commits_of,
    files_of,
    model_of,
    read_info,
    read_json,
    read_object,
)
from weighhouse.sources.once import Once
from weighhouse.sources.outbound import Answer, Outbound, Query

MAX_TEXT_BYTES = 1024 * 1024
MAX_FIXED_BYTES = 4 * 1024 * 1024
COMMIT_PAGES = 3

# `expand` and `blobs` exclude each other, so the facts of a model take two questions.
_MORE = ("baseModels", "evalResults", "gguf", "safetensors", "gated", "widgetData")
_NO_FILE = frozenset({404})
# What the hub answers when it makes no Croissant document of a dataset.
_NO_DOCUMENT = frozenset({400, 404, 405, 409, 410, 422, 501})

NamedBy = Literal["given", "card", "link", "inferred"]


@dataclass(frozen=True)
class HubRevision:
    """A commit of a model and its files, for those who fetch them."""

    id: str
    sha: str
    files: Sequence[HubFile]


class NotThere(Missing):
    """The hub has no repository of this id, which is an observation, or it has no such revision."""


class HubSource:
    """The hub at one endpoint, asked for one evaluation. Every answer is had once; what could not be had is `Missing`.

    Args:
        endpoint: The hub's address, as the operator set it.
        token: The operator's token for it.
        cache: What was answered before.
        budget: Calls and seconds of this evaluation.
        revisions: The revision of each model by id in lower case, where it is not the newest.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        token: str | None,
        cache: Cache,
        budget: Budget,
        revisions: Mapping[str, str] | None = None,
    ) -> None:
        self._out = Outbound(endpoint, token=token)
        self._has_token = token is not None
        self._cache = cache
        self._budget = budget
        self._revisions = {name.lower(): revision for name, revision in (revisions or {}).items()}
        self._once = Once()

    def __enter__(self) -> "HubSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
        self._out.close()

    def model(self, model_id: str) -> HubModel:
        """The facts of a model.

        Raises:
            Missing: They could not be had; `no_evidence` when the hub has no such model.
        """
        return self._once.get(("model", model_id), lambda: self._model(model_id))

    def listed(self, model_id: str) -> HubModel:
        """The facts of a model that one question tells: its files and license, not its parameters, bases and results.

        Raises:
            Missing: As for `model`.
        """
        return self._once.get(("listed", model_id), lambda: model_of(model_id, self._info(model_id), {}))

    def card(self, model_id: str) -> str:
        """The model's card at its commit; `""` when it has none, or when there is no such model.

        Raises:
            Missing: The card could not be had.
        """
        try:
            document = self._info(model_id)
        except NotThere:
            return ""
        if not any(file.path == "README.md" for file in files_of(document)):
            return ""
        return self.text(model_id, "README.md") or ""

    def text(self, model_id: str, path: str) -> str | None:
        """A small file of a model at its commit, what is not UTF-8 replaced; `None` when it is not there.

        Raises:
            Missing: It could not be had, or is over 1 MiB (`too_large`).
        """
        sha = commit_of(self._info(model_id), model_id)
        return self._once.get(("text", model_id, path), lambda: self._file(quote(model_id), sha, path, model_id))

    def claims(self, model_id: str) -> Sequence[Claim]:
        """The results that the hub lists for a model; none when there is no such model.

        Raises:
            Missing: They could not be had.
        """
        try:
            return claims_of(self._more(model_id))
        except NotThere:
            return ()

    def history(self, model_id: str) -> History:
        """The newest commits of a model's repository, oldest first, without their files.

        Raises:
            Missing: They could not be had.
        """
        return self._once.get(("history", model_id), lambda: self._history(model_id))

    def dataset(self, address: str, named_by: NamedBy) -> DatasetFacts:
        """What is behind a hub id; any other address is not looked at, since no user's address is ever fetched."""
        if "://" in address:
            advice = f"{address[:80]} is outside the hub and is not fetched; name a dataset on the hub or bundle one"
            return DatasetFacts(address, named_by, "unknown", missing=Missing(Reason.DATASET_HOST_UNSUPPORTED, advice))
        try:
            return self._once.get(("dataset", address, named_by), lambda: self._dataset(address, named_by))
        except Missing as missing:
            return DatasetFacts(address, named_by, "unknown", missing=missing)

    def revision(self, model_id: str) -> HubRevision:
        """The commit and its files.

        Raises:
            NotThere: The hub has no such model or revision.
            Missing: They could not be had.
        """
        document = self._info(model_id)
        return HubRevision(model_id, commit_of(document, model_id), files_of(document))

    # Models

    def _model(self, model_id: str) -> HubModel:
        return model_of(model_id, self._info(model_id), self._more(model_id))

    def _info(self, model_id: str) -> Mapping[str, Any]:
        return self._once.get(("info", model_id), lambda: self._ask_info(model_id))

    def _ask_info(self, model_id: str) -> Mapping[str, Any]:
        revision = self._revisions.get(model_id.lower())
        path = f"/api/models/{quote(model_id)}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
        answer = self._asked(path, {"blobs": "true"})
        self._require(answer, f"the model {model_id[:80]}")
        return read_info(answer.body, model_id)

    def _more(self, model_id: str) -> Mapping[str, Any]:
        return self._once.get(("more", model_id), lambda: self._ask_more(model_id))

    def _ask_more(self, model_id: str) -> Mapping[str, Any]:
        sha = commit_of(self._info(model_id), model_id)
        path = f"/api/models/{quote(model_id)}/revision/{sha}"
        answer = self._fixed(path, {"expand": _MORE})
        self._require(answer, f"the model {model_id[:80]}")
        return read_object(answer.body, model_id)

    def _history(self, model_id: str) -> History:
        document = self._info(model_id)
        sha = commit_of(document, model_id)
        commits: list[Commit] = []
        path: str | None = f"/api/models/{quote(model_id)}/commits/{sha}"
        for _ in range(COMMIT_PAGES):
            if path is None:
                break
            answer = self._fixed(path, {}, keeps_link=True)
            self._require(answer, f"the commits of {model_id[:80]}")
            commits += commits_of(read_json(answer.body, model_id))
            path = _next_page(answer.headers.get("link", ""), self._out.base_url)
        paths = [file.path for file in files_of(document)]
        return History(Source("hub", f"{model_id}@{sha} commits"), commits[::-1], paths)

    # Datasets

    def _dataset(self, dataset_id: str, named_by: NamedBy) -> DatasetFacts:
        answer = self._asked(f"/api/datasets/{quote(dataset_id)}", {"blobs": "true"})
        if answer.status == 404:
            return DatasetFacts(dataset_id, named_by, "dead")
        if _is_gated(answer):
            # The refusal itself says that it is there; what is in it stays unread.
            return DatasetFacts(dataset_id, named_by, "gated", missing=self._refusal(answer, dataset_id))
        self._require(answer, f"the dataset {dataset_id[:80]}")
        document = read_info(answer.body, dataset_id)
        sha = commit_of(document, dataset_id)
        files = files_of(document)
        card, unread = "", None
        croissant: Mapping[str, Any] | None = None
        try:
            if any(file.path == "README.md" for file in files):
                card = self._file(f"datasets/{quote(dataset_id)}", sha, "README.md", dataset_id) or ""
            croissant = self._croissant(dataset_id, sha)
        except Missing as missing:
            unread = missing
        return DatasetFacts(
            id=dataset_id,
            named_by=named_by,
            state="gated" if document.get("gated") else "public",
            card=card,
            file_sizes={file.path: file.size_bytes for file in files},
            croissant=croissant,
            missing=unread,
            source=Source("hub", f"datasets/{dataset_id}@{sha}"),
        )

    def _croissant(self, dataset_id: str, sha: str) -> Mapping[str, Any] | None:
        """The document that the hub makes of a dataset; `None` when it makes none, or none for this token.

        Raises:
            Missing: It could not be had.
        """
        # The address has no revision: the commit in the key is the one that it was made for when it was asked.
        answer = self._fixed(f"/api/datasets/{quote(dataset_id)}/croissant", {}, of=sha, absent=_NO_DOCUMENT)
        if answer.status in _NO_DOCUMENT or _is_gated(answer):
            return None
        self._require(answer, f"the Croissant document of {dataset_id[:60]}")
        return read_object(answer.body, dataset_id)

    # Asking

    def _file(self, repository: str, sha: str, path: str, what: str) -> str | None:
        answer = self._fixed(f"/{repository}/resolve/{sha}/{quote(path)}", {}, max_bytes=MAX_TEXT_BYTES)
        if answer.status == 404:
            return None
        self._require(answer, f"{path[-60:]} of {what[:60]}")
        return answer.body.decode("utf-8", errors="replace").removeprefix("\ufeff")

    def _asked(self, path: str, query: Query) -> Answer:
        """The answer to a question whose answer may change: asked each time, sent only when it did."""
        key = self._key(path, query, "")
        kept = self._cache.get(key)
        headers = {"If-None-Match": kept[0]} if kept and kept[0] else {}
        answer = self._out.ask(path, budget=self._budget, query=query, headers=headers)
        if answer.status == 304 and kept is not None:
            return Answer(200, answer.headers, kept[1])
        etag = answer.headers.get("etag")
        if answer.status == 200 and etag:
            self._cache.put(key, etag[:400], answer.body)
        return answer

    def _fixed(
        self,
        path: str,
        query: Query,
        *,
        of: str = "",
        absent: Container[int] = _NO_FILE,
        max_bytes: int = MAX_FIXED_BYTES,
        keeps_link: bool = False,
    ) -> Answer:
        """The answer to a question about one commit: it never changes, so it is asked once.

        Args:
            of: The commit, where the address does not name it.
            absent: Statuses that say for good that there is nothing.
            keeps_link: Whether the address of the next page belongs to the answer.
        """
        key = self._key(path, query, of)
        kept = self._cache.get(key)
        if kept is not None:
            status, _, link = (kept[0] or "200 ").partition(" ")
            return Answer(int(status), {"link": link}, kept[1])
        answer = self._out.ask(path, budget=self._budget, query=query, max_bytes=max_bytes)
        if answer.status == 200 or answer.status in absent:
            link = answer.headers.get("link", "")[:2000] if keeps_link else ""
            self._cache.put(key, f"{answer.status} {link}", answer.body if answer.status == 200 else b"")
        return answer

    def _key(self, path: str, query: Query, of: str) -> str:
        named = "&".join(
            f"{name}={value if isinstance(value, str) else ','.join(value)}" for name, value in query.items()
        )
        return f"hub {self._out.base_url} {path.removeprefix(self._out.base_url)}?{named} {of}".rstrip()

    def _require(self, answer: Answer, what: str) -> None:
        """Returns when the answer is a yes.

        Raises:
            NotThere: The hub has no such thing.
            Missing: It did not say.
        """
        if answer.status == 404:
            raise NotThere(Reason.NO_EVIDENCE, f"The hub does not have {what}; correct the address")
        if answer.status in {401, 403}:
            raise self._refusal(answer, what)
        if answer.status != 200:
            raise Missing(Reason.UNREACHABLE, f"The hub answered {answer.status} about {what}; evaluate again later")

    def _refusal(self, answer: Answer, what: str) -> Missing:
        if _is_gated(answer):
            return Missing(
                Reason.FORBIDDEN, f"{what[:90]} is gated; let the operator set HF_TOKEN of one who may read it"
            )
        if not self._has_token:
            advice = f"{what[:80]} is private or not there; let the operator set HF_TOKEN to tell which"
            return Missing(Reason.NO_TOKEN, advice)
        return Missing(Reason.FORBIDDEN, f"The hub does not let this server's token see {what[:90]}")


def _is_gated(answer: Answer) -> bool:
    return answer.status in {401, 403} and answer.headers.get("x-error-code") == "GatedRepo"


def _next_page(link: str, base_url: str) -> str | None:
    """The address that a `Link` header names as the next; `None` when there is none on this hub."""
    address, _, relation = link.partition(">")
    address = address.strip().removeprefix("<")
    return address if 'rel="next"' in relation and address.startswith(f"{base_url}/") else None
