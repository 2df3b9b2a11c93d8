"""A model of the hub becomes a package, if it is good enough: fetched, weighed and let in, or refused with nothing kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.audit import record
from weighhouse.registry.evaluate import Weighing, weigh_subject
from weighhouse.registry.evidence_cache import DatabaseCache
from weighhouse.registry.fetch import Fetch
from weighhouse.registry.housekeeping import forget_unrecorded
from weighhouse.registry.outages import look_again
from weighhouse.registry.record import Recorded, Submission, record_package, require_publishable
from weighhouse.registry.scans import objections, scan_files
from weighhouse.registry.subject import Subject
from weighhouse.registry.upload import UploadTooLarge
from weighhouse.rules.errors import Away, Invalid, RegistryError, TooLarge
from weighhouse.rules.evidence import Missing, Reason
from weighhouse.rules.hub_files import repeated_weights
from weighhouse.rules.manifest import File
from weighhouse.rules.metrics.gate import FIXES, Decision, decide
from weighhouse.rules.names import PackageName, check_name
from weighhouse.rules.paths import PathSet, check_path
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.rules.self_report import MAX_TEXT_BYTES, MAX_TEXTS, SelfReport, is_read, read_self_report
from weighhouse.rules.urls import HubId, check_url, hub_id
from weighhouse.rules.versions import check_version
from weighhouse.sources.budget import Budget
from weighhouse.sources.hub import HubRevision, HubSource, NotThere
from weighhouse.sources.hub_answers import HubFile
from weighhouse.sources.hub_download import Damaged, HubFiles
from weighhouse.sources.outbound import Outbound

MAX_FILES = 50_000
COMMIT_CHARACTERS = 12
"""Of the commit, in the version that a model gets when nobody says another."""

_NOT_FOR_US = frozenset({Reason.FORBIDDEN, Reason.NO_TOKEN})


class ModelUnknown(Invalid):
    """The hub has no such model for this server."""


class UpstreamAway(Away):
    """The hub does not give the model."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after_seconds=30)


class TooManyFiles(TooLarge):
    """The model has more files than a package holds."""

    def __init__(self) -> None:
        super().__init__(f"The model has more than {MAX_FILES} files. Upload those that are needed as a package.")


class ModelRefused(Invalid):
    """This model does not reach what the registry asks for."""

    def __init__(self, subject: str, decision: Decision, weighing: Weighing) -> None:
        failing = [f"{one.metric} is {one.score:.2f} and {one.threshold:.2f} is asked for" for one in decision.failing]
        said = "; ".join([*failing, *(why.rstrip(".") for why in decision.why)])
        super().__init__(f"{subject} is not let in: {said}. Nothing was kept; see what would fix it.")
        self.gate = "refuse"
        self.net_score = decision.net.score
        self.coverage = decision.net.coverage
        self.net_low = decision.net.low
        self.net_high = decision.net.high
        self.scores = {name: result.score for name, result in weighing.results.items()}
        self.failing = [one.metric for one in decision.failing]
        self.metrics = list(_shown(decision, weighing))
        self.errors = [
            *({"field": one.metric, "detail": f"{one.reasons[0]}. {one.fix}"} for one in decision.failing),
            *({"field": "", "detail": why} for why in decision.why),
        ]


@dataclass(frozen=True)
class Wanted:
    """What is asked for; `None` for what was left out."""

    model_url: str
    revision: str | None = None
    name: str | None = None
    version: str | None = None
    dataset_url: str | None = None
    code_url: str | None = None
    all_weights: bool = False


@dataclass(frozen=True)
class Ingested:
    """A model that was let in.

    Args:
        left_out: Files that hold the same weights once more.
    """

    recorded: Recorded
    decision: Decision
    revision: str
    left_out: Sequence[str]


class Watch:
    """Is told how an ingest goes on, and may raise to end it; this one takes no notice."""

    def before(self) -> Mapping[str, File]:
        """Files that an earlier attempt kept, by path."""
        return {}

    def found(self, files: Sequence[HubFile]) -> None:
        """These files are going to be fetched."""

    def moved(self, count: int) -> None:
        """So many bytes arrived; told by several threads."""

    def kept(self, file: File) -> None:
        """A file is whole and kept; told by several threads."""

    def fetched(self) -> None:
        """All files are there and are going to be weighed."""

    def refused(self) -> None:
        """The model does not pass; what was kept is about to go."""

    def admitted(self, tx: Session, ingested: Ingested) -> None:
        """The model becomes a package, in this transaction."""


def pin(app: App, caller: Caller, wanted: Wanted) -> Wanted:
    """The same with the commit that it is now, and with its name and version; it could be published this moment.

    Raises:
        As `ingest_model`, of what is known before a file is fetched.
    """
    caller.require(Permission.UPLOAD)
    model = _model(app, wanted)
    revision = _resolve(app, model)
    name = check_name(wanted.name or model.id)
    version = check_version(wanted.version or revision.sha[:COMMIT_CHARACTERS])
    with app.db.read() as tx:
        require_publishable(tx, caller, name, version)
    return replace(wanted, revision=revision.sha, name=name, version=version)


def ingest_model(app: App, caller: Caller, wanted: Wanted, *, watch: Watch | None = None) -> Ingested:
    """Fetches a model from the hub, weighs it, and makes it a package when it passes the gate.

    Raises:
        PermissionMissing: The caller may not upload.
        BadUrl, InvalidName, InvalidVersion, ModelUnknown: A field breaks a rule, or names nothing that can be fetched.
        UploadTooLarge, TooManyFiles, BadPath: The model is more, or something else, than a package holds.
        UpstreamAway: The hub does not give it.
        ModelRefused: It does not pass; nothing of it is kept.
        And whatever `record_package` raises.
    """
    caller.require(Permission.UPLOAD)
    model = _model(app, wanted)
    revision = _resolve(app, model)
    name = check_name(wanted.name or model.id)
    version = check_version(wanted.version or revision.sha[:COMMIT_CHARACTERS])
    with app.db.read() as tx:
        require_publishable(tx, caller, name, version)
    files, left_out = choose_files(app, revision, all_weights=wanted.all_weights)
    watch = watch or Watch()
    watch.found(files)
    token = _token(app)
    with (
        Outbound(app.settings.hf_endpoint, token=token) as out,
        Fetch(
            app, HubFiles(out, model.id, revision.sha), moved=watch.moved, kept=watch.kept, before=watch.before()
        ) as fetch,
    ):
        kept = _fetched(fetch, files)
        watch.fetched()
        submission = _submission(app, wanted, revision, name, version, kept)
        scan_files(app, submission.files)
        verdict, objected = objections(app, submission.files)
        weighing = weigh_subject(app, _subject(submission, verdict))
        decision = _decide(app, weighing, verdict, objected)
        if decision.outcome == "refuse":
            watch.refused()
            raise _refused(app, caller, submission, decision, weighing)

        def ingested(recorded: Recorded) -> Ingested:
            return Ingested(recorded, decision, revision.sha, left_out)

        def admit(tx: Session, recorded: Recorded) -> None:
            watch.admitted(tx, ingested(recorded))
            look_again(tx, recorded.package.id, weighing.results.values())

        recorded = record_package(
            app,
            caller,
            submission,
            fetch.staged,
            weighing=weighing,
            also=admit,
        )
    return ingested(recorded)


def choose_files(app: App, revision: HubRevision, *, all_weights: bool) -> tuple[Sequence[HubFile], Sequence[str]]:
    """The files that are fetched, and those left out because they hold the same weights once more.

    Raises:
        BadPath: A path that a package cannot hold, or two that some system takes for one.
        TooManyFiles, UploadTooLarge: They are more than this server takes.
    """
    sizes = {file.path: file.size_bytes for file in revision.files}
    repeated = frozenset() if all_weights else repeated_weights(sizes)
    files = [file for file in revision.files if file.path not in repeated]
    if len(files) > MAX_FILES:
        raise TooManyFiles
    paths = PathSet()
    for file in files:
        check_path(file.path)
        paths.add(file.path)
    paths.close()
    if sum(file.size_bytes for file in files) > app.settings.max_upload_bytes:
        raise UploadTooLarge(app.settings.max_upload_bytes)
    return files, sorted(repeated)


def _model(app: App, wanted: Wanted) -> HubId:
    """The model's id and revision.

    Raises:
        BadUrl, ModelUnknown: The addresses cannot be used.
    """
    endpoint = app.settings.hf_endpoint
    model = hub_id(wanted.model_url, "model_url", endpoint=endpoint)
    if model is None:
        raise ModelUnknown(
            "model_url is not a model on the hub. Give an address like https://huggingface.co/owner/name.",
            field="model_url",
        )
    if wanted.dataset_url:
        hub_id(wanted.dataset_url, "dataset_url", endpoint=endpoint, kind="datasets")
    if wanted.code_url:
        check_url(wanted.code_url, "code_url")
    return replace(model, revision=wanted.revision or model.revision)


def _resolve(app: App, model: HubId) -> HubRevision:
    """The commit and its files.

    Raises:
        ModelUnknown: The hub has none, or none for this server.
        UpstreamAway: The hub does not say.
    """
    revisions = {model.id: model.revision} if model.revision else {}
    endpoint, cache = app.settings.hf_endpoint, DatabaseCache(app.db)
    with HubSource(endpoint=endpoint, token=_token(app), cache=cache, budget=Budget(), revisions=revisions) as hub:
        try:
            found = hub.revision(model.id)
        except NotThere:
            which = f"{model.id} with a revision {model.revision}" if model.revision else model.id
            raise ModelUnknown(f"The hub has no model {which}. Correct the address.", field="model_url") from None
        except Missing as missing:
            raise _translated(missing) from missing
    if not found.files:
        raise ModelUnknown(f"The hub's model {model.id} has no files. There is nothing to take in.", field="model_url")
    return found


def _translated(missing: Missing) -> RegistryError:
    sentence = f"{missing.advice.rstrip('.')}."
    if missing.reason in _NOT_FOR_US:
        return ModelUnknown(sentence, field="model_url")
    return UpstreamAway(sentence)


def _fetched(fetch: Fetch, files: Sequence[HubFile]) -> Sequence[File]:
    try:
        return fetch.run(files)
    except Missing as missing:
        raise _translated(missing) from missing
    except Damaged as damaged:
        raise UpstreamAway(f"{damaged}. Nothing was taken in; try again, or tell the hub's operator.") from damaged


def _token(app: App) -> str | None:
    return app.settings.hf_token.get_secret_value() if app.settings.hf_token else None


def _submission(
    app: App, wanted: Wanted, revision: HubRevision, name: PackageName, version: str, files: Sequence[File]
) -> Submission:
    report = _report(app, files, own_names=(name, revision.id))
    return Submission(
        name=name,
        version=version,
        files=files,
        card=report.card,
        license=report.license,
        model_url=wanted.model_url,
        model_id=revision.id,
        dataset_url=wanted.dataset_url,
        code_url=wanted.code_url,
        parents=report.parents,
        source_revision=revision.sha,
    )


def _report(app: App, files: Sequence[File], *, own_names: Sequence[str]) -> SelfReport:
    read = [file for file in files if is_read(file.path) and file.size_bytes <= MAX_TEXT_BYTES][:MAX_TEXTS]
    return read_self_report({file.path: b"".join(app.blobs.read(file.sha256)) for file in read}, own_names=own_names)


def _subject(submission: Submission, verdict: str) -> Subject:
    return Subject(
        name=submission.name,
        files=submission.files,
        model_url=submission.model_url,
        dataset_url=submission.dataset_url,
        code_url=submission.code_url,
        revision=submission.source_revision,
        verdict=verdict,
    )


def _decide(app: App, weighing: Weighing, verdict: str, objected: Sequence[str]) -> Decision:
    settings = app.settings
    return decide(
        weighing.results,
        thresholds=settings.gate_thresholds,
        min_coverage=settings.gate_min_coverage,
        refuses_hold=settings.gate_refuse_hold,
        verdict=verdict,
        objections=objected,
    )


def _refused(app: App, caller: Caller, submission: Submission, decision: Decision, weighing: Weighing) -> ModelRefused:
    forget_unrecorded(app, (bytes.fromhex(file.sha256) for file in submission.files))
    refused = ModelRefused(
        f"{submission.model_id} at {(submission.source_revision or '')[:COMMIT_CHARACTERS]}", decision, weighing
    )
    with app.db.write() as tx:
        record(
            tx, caller, "refuse model", f"model {submission.model_id}", failing=refused.failing, scores=refused.scores
        )
    return refused


def _shown(decision: Decision, weighing: Weighing) -> Iterator[Mapping[str, Any]]:
    """Every metric with its reasons, those that fail first, then those not known."""
    first = [one.metric for one in decision.failing] + [one.metric for one in decision.unknown]
    thresholds = {one.metric: one for one in decision.failing}
    for name in [*first, *(name for name in weighing.results if name not in first)]:
        result = weighing.results[name]
        shown: dict[str, Any] = {
            "metric": name,
            "status": result.status.value,
            "score": result.score,
            "reasons": list(result.reasons),
        }
        if result.reason_code:
            shown["reason_code"] = result.reason_code.value
        if name in thresholds:
            shown |= {"threshold": thresholds[name].threshold, "fix": FIXES[name]}
        yield shown
