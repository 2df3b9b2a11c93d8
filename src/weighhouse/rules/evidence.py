"""The evidence a metric may ask for, and the reasons it may be missing.

Evidence that is empty is a fact: `card()` answers `""` for a readable package without a README. Evidence that could
not be had raises `Missing`. The two never meet, so an outage is never scored as an absence.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from weighhouse.rules.manifest import File
from weighhouse.rules.trial import Trial


class Reason(StrEnum):
    """Why a metric has no score."""

    NO_EVIDENCE = "no_evidence"
    NO_CODE_REPO = "no_code_repo"
    NO_GITHUB_REPO = "no_github_repo"
    HOST_UNSUPPORTED = "host_unsupported"
    NO_DATASET_NAMED = "no_dataset_named"
    DATASET_HOST_UNSUPPORTED = "dataset_host_unsupported"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    NO_TOKEN = "no_token"  # noqa: S105 - a reason code, not a secret
    FORBIDDEN = "forbidden"
    TOOL_MISSING = "tool_missing"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    BASE_SIZE_UNKNOWN = "base_size_unknown"
    TOO_LITTLE_CODE = "too_little_code"
    NO_PARENTS = "no_parents"
    PARENTS_NOT_SCORED = "parents_not_scored"
    INTERNAL_ERROR = "internal_error"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"


class Missing(Exception):
    """Evidence that could not be had.

    Args:
        reason: The code that programs read.
        advice: What was missing and what the user can do about it, at most 160 characters of plain text.
    """

    def __init__(self, reason: Reason, advice: str) -> None:
        super().__init__(advice)
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True)
class Source:
    """Where a fact came from: a kind (`package`, `hub`, `git`, `github`, `registry`) and an immutable id."""

    kind: str
    ref: str


@dataclass(frozen=True)
class HubModel:
    """What the hub knows of the model behind `model_url`."""

    id: str
    sha: str
    pipeline_tag: str | None = None
    library_name: str | None = None
    license: str | None = None
    base_models: Sequence[str] = ()
    file_sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each file by path."""
    parameters: int | None = None
    """Parameters of its safetensors files, counted once for the whole repository."""
    gated: bool = False
    has_widget_examples: bool = False
    gguf_parameters: int | None = None
    """Parameters of its GGUF files, likewise."""
    base_relation: Literal["finetune", "adapter", "merge", "quantized"] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    """What the hub keeps of config.json."""


@dataclass(frozen=True)
class Claim:
    """One claimed result, from a card's `model-index` or an `.eval_results` file, as it was written."""

    metric: str
    value: Any
    dataset: str | None = None
    split: str | None = None
    config: str | None = None
    revision: str | None = None
    task: str | None = None
    date: str | None = None
    source_url: str | None = None
    verified: bool = False
    origin: Literal["model-index", "eval-results", "hub"] = "model-index"


@dataclass(frozen=True)
class DatasetFacts:
    """One dataset that the package names or bundles.

    `state` is what was seen behind the name: `bundled` in the package, `public` or `gated` on the hub, a `page` elsewhere that
    answers, or `dead`. When a look could not be taken, `missing` says why and the facts that it would have told are empty.
    """

    id: str
    named_by: Literal["bundled", "given", "card", "link", "inferred"]
    state: Literal["bundled", "public", "gated", "page", "dead", "unknown"]
    card: str = ""
    """The whole README text with its front matter; empty when there is none."""
    file_sizes: Mapping[str, int] = field(default_factory=dict)
    croissant: Mapping[str, Any] | None = None
    missing: Missing | None = None
    source: Source | None = None


@dataclass(frozen=True)
class Finding:
    """One finding of the linter: its code (`F401`), the file and the 1-based line where it starts."""

    code: str
    path: str
    line: int


@dataclass(frozen=True)
class CodeTree:
    """The code that comes with the model: a repository at its HEAD, or what the package bundles.

    `texts` holds Python sources (a notebook as its code cells joined by blank lines) of at most 200 kB, vendored folders
    left out, at most 400 files, those with the lowest SHA-256 of their path first. `paths` lists every path in the tree, so that
    workflows, lock files and other languages can be seen; `extras` the text of small non-Python files that a metric reads
    (requirement files, pyproject, setup.cfg, workflow and CI files).
    """

    origin: Literal["repository", "package"]
    source: Source
    paths: Sequence[str]
    texts: Mapping[str, str]
    extras: Mapping[str, str]
    findings: Sequence[Finding]
    skipped_newer_syntax: Sequence[str] = ()
    part: "CodeTree | None" = None
    """What lies in the folder that `code_url` points into, as though that folder were all; `None` when it names none."""


@dataclass(frozen=True)
class Change:
    """What a commit did to one file. `renamed` moves it unchanged from `old_path`."""

    path: str
    kind: Literal["created", "changed", "renamed", "deleted"]
    old_path: str = ""


@dataclass(frozen=True)
class Commit:
    """A commit that is no merge."""

    author: str
    email: str
    at: datetime
    changes: Sequence[Change] = ()


@dataclass(frozen=True)
class History:
    """Commits of the default branch, oldest first, and the paths at its head."""

    source: Source
    commits: Sequence[Commit]
    paths: Collection[str]


@dataclass(frozen=True)
class Contributors:
    """How many commits each contributor made, as a forge counts them; it does not say when."""

    source: Source
    commits: Mapping[str, int]


@dataclass(frozen=True)
class Review:
    """A review of a request."""

    by: str
    is_bot: bool
    state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]
    has_text: bool
    at: datetime


@dataclass(frozen=True)
class Request:
    """A pull request. `authors` are those of its commits and its own."""

    authors: Collection[str]
    merged_at: datetime | None
    reviews: Sequence[Review] = ()


@dataclass(frozen=True)
class Changeset:
    """A first-parent commit: code lines it adds, and the request it came by."""

    lines: int
    is_bot: bool = False
    request: Request | None = None


@dataclass(frozen=True)
class Changesets:
    """The last 300 changesets of the default branch; `lines_known` says whether their lines could be counted."""

    source: Source
    changesets: Sequence[Changeset]
    lines_known: bool = True


@dataclass(frozen=True)
class Parent:
    """A direct parent: its name as written, the relation, and what the registry (or, for the license, the hub) knows of it."""

    name: str
    relation: Literal["finetune", "adapter", "merge", "quantized"]
    named_in: str
    """The file that names it, for example `adapter_config.json`."""
    in_registry: bool = False
    net_score: float | None = None
    """Net score at the same major version of the metrics; `None` when not scored."""
    license: str | None = None
    closes_cycle: bool = False
    weights_bytes: int | None = None
    """Bytes of the parent's smallest complete set of weights, when known."""


class Evidence(Protocol):
    """What a metric may ask about one package. Every method answers, or raises `Missing`; all are memoised."""

    @property
    def name(self) -> str:
        """The package's name."""

    @property
    def model_id(self) -> str:
        """The model's id: owner/name of `model_url` when given, else the package name."""

    @property
    def model_url(self) -> str | None: ...

    @property
    def dataset_url(self) -> str | None: ...

    @property
    def code_url(self) -> str | None: ...

    def files(self) -> Sequence[File]:
        """The manifest, ordered by path."""

    def text(self, path: str) -> str:
        """A package file of at most 1 MiB as UTF-8 text; `too_large` or `malformed` otherwise."""

    def read_at(self, path: str, start: int, size: int) -> bytes:
        """Bytes of a package file from `start`; shorter at its end. For headers: at most 32 MiB in all a file."""

    def card(self) -> str:
        """The model card with its front matter: the package's, else the hub's; `""` when both were readable and none is there."""

    def hub(self) -> HubModel:
        """Facts of the hub; `no_evidence` when no `model_url` was given."""

    def claims(self) -> Sequence[Claim]:
        """Claims of `model-index`, `.eval_results/*.yaml` and the hub; empty when nothing is claimed there."""

    def datasets(self) -> Sequence[DatasetFacts]:
        """The first three datasets: bundled, given, named in the card, linked, inferred, in this order; may be empty."""

    def code(self) -> CodeTree:
        """The code repository at HEAD, else Python in the package (then `origin` is `package`; its texts may be empty)."""

    def linked_code(self, address: str) -> CodeTree:
        """The code repository behind an address in the card; `no_code_repo` when it is not there."""

    def history(self) -> History:
        """The code repository's history; `no_code_repo` when there is none."""

    def contributors(self) -> Contributors:
        """The forge's own list of contributors to the code repository; `no_code_repo` when there is none."""

    def hub_history(self) -> History:
        """The commits of the model's repository on the hub, without their files; `no_evidence` without a `model_url`."""

    def changesets(self) -> Changesets:
        """The code repository's last changesets with their reviews; `no_github_repo` when there is no such repository."""

    def undefined_names(self, program: str) -> Sequence[str]:
        """Names a program uses and never binds, each once, in order of appearance; builtins are bound."""

    def try_out(self, program: str) -> Trial | None:
        """How a program ends in the sandbox, the package beside it; `None` where this package's programs are not run."""

    def parents(self) -> Sequence[Parent]:
        """Direct parents in the order in which the files name them; empty when nothing names one."""
