"""A ZIP becomes a package. It is unpacked, hashed and kept aside while it flows in; nothing is written twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from weighhouse.app import App
from weighhouse.registry.record import Recorded, Submission, record_package
from weighhouse.registry.unpacking import Unpacking
from weighhouse.rules.errors import Invalid, TooLarge
from weighhouse.rules.manifest import File, component_of
from weighhouse.rules.names import PackageName, check_name
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.rules.self_report import MAX_TEXT_BYTES, MAX_TEXTS, SelfReport, is_read, read_self_report
from weighhouse.rules.urls import check_url, hub_id
from weighhouse.rules.versions import check_version
from weighhouse.rules.zipscan import Event, Limits, MemberBegins, MemberBytes, MemberEnds, ZipScan

MAX_DESCRIPTION_CHARACTERS = 10_000


class UploadTooLarge(TooLarge):
    """The upload is larger than this server takes."""

    def __init__(self, max_upload_bytes: int) -> None:
        super().__init__(f"An upload has at most {max_upload_bytes} bytes here. Leave out what is not needed.")
        self.max_upload_bytes = max_upload_bytes


class FieldInvalid(Invalid):
    """A field of the form cannot be used."""


@dataclass(frozen=True)
class UploadForm:
    """What the uploader says of the package; `None` for what they left out."""

    name: str | None = None
    version: str | None = None
    description: str | None = None
    model_url: str | None = None
    dataset_url: str | None = None
    code_url: str | None = None


class Intake:
    """A ZIP on its way in. Leaving the `with` block without `finish` leaves nothing behind.

    Raises:
        PermissionMissing: The caller may not upload; known before a byte was read.
    """

    def __init__(self, app: App, caller: Caller) -> None:
        caller.require(Permission.UPLOAD)
        self._app = app
        self._caller = caller
        self._scan = ZipScan(Limits(unpacked_bytes=app.settings.max_unpacked_bytes))
        self._received_bytes = 0
        self._unpacking = Unpacking(app.blobs)
        self._files: list[File] = []
        self._texts: dict[str, bytearray] = {}
        self._path: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the bytes that were kept aside; what became a package has its own hold on them."""
        self._unpacking.close()

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes of the ZIP.

        Raises:
            UploadTooLarge, UnpacksTooFar: It is larger than this server takes.
            BadArchive, BadPath: It is no ZIP, or one that readers could read differently.
            StoreAway: The store does not take the bytes.
        """
        self._received_bytes += len(data)
        limit = self._app.settings.max_upload_bytes
        if self._received_bytes > limit:
            raise UploadTooLarge(limit)
        for event in self._scan.feed(data):
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case MemberBegins(path=path, is_dir=False):
                self._unpacking.begin()
                self._path = path
                if is_read(path) and len(self._texts) < MAX_TEXTS:
                    self._texts[path] = bytearray()
            case MemberBegins(is_dir=True):
                self._path = None
            case MemberBytes(data=data) if self._path is not None:
                self._unpacking.write(data)
                text = self._texts.get(self._path)
                if text is not None and len(text) <= MAX_TEXT_BYTES:
                    text += data[: MAX_TEXT_BYTES + 1 - len(text)]
            case MemberEnds(path=path, is_dir=False):
                size_bytes, sha256, crc32 = self._unpacking.end()
                self._files.append(File(path, size_bytes, sha256, crc32, component_of(path)))

    def finish(self, form: UploadForm) -> Recorded:
        """Makes what came in a package.

        Raises:
            BadArchive: The ZIP ends too early, or its directory does not agree with its files.
            InvalidName, InvalidVersion, FieldInvalid, BadUrl: A field breaks a rule.
            And whatever `record_package` raises.
        """
        self._scan.close()
        submission = submission_of(self._app, form, self._files, self._texts)
        staged = self._unpacking.finish()
        self._app.blobs.settle(*staged)
        self._app.blobs.adopt(*staged)
        return record_package(self._app, self._caller, submission, staged)


def check_form(app: App, form: UploadForm) -> PackageName:
    """The package's name, when no field breaks a rule; a version may still be missing.

    Raises:
        InvalidName, InvalidVersion, FieldInvalid, BadUrl: A field breaks a rule.
    """
    endpoint = app.settings.hf_endpoint
    if form.model_url:
        hub_id(form.model_url, "model_url", endpoint=endpoint)
    if form.dataset_url:
        hub_id(form.dataset_url, "dataset_url", endpoint=endpoint, kind="datasets")
    if form.code_url:
        check_url(form.code_url, "code_url")
    if form.description is not None and len(form.description) > MAX_DESCRIPTION_CHARACTERS:
        raise FieldInvalid(f"A description has at most {MAX_DESCRIPTION_CHARACTERS} characters.", field="description")
    name = _name(form)
    if form.version is not None:
        check_version(form.version)
    return name


def submission_of(
    app: App, form: UploadForm, files: Sequence[File], texts: Mapping[str, bytes | bytearray]
) -> Submission:
    """The package that the form and the files make, with what these say of themselves.

    Args:
        texts: Bytes of the files that `is_read`, by path; what is longer than `MAX_TEXT_BYTES` says nothing.

    Raises:
        InvalidName, InvalidVersion, FieldInvalid, BadUrl: A field breaks a rule.
    """
    name = check_form(app, form)
    model = hub_id(form.model_url, "model_url", endpoint=app.settings.hf_endpoint) if form.model_url else None
    short = {path: bytes(content) for path, content in texts.items() if len(content) <= MAX_TEXT_BYTES}
    report = read_self_report(short, own_names=[name, model.id] if model else [name])
    return Submission(
        name=name,
        version=_version(form, report),
        files=files,
        card=report.card,
        description=form.description,
        license=report.license,
        model_url=form.model_url,
        model_id=model.id if model else None,
        dataset_url=form.dataset_url,
        code_url=form.code_url,
        parents=report.parents,
    )


def _name(form: UploadForm) -> PackageName:
    if form.name is None:
        raise FieldInvalid("The form has no field 'name'. Say what the package is called.", field="name")
    return check_name(form.name)


def _version(form: UploadForm, report: SelfReport) -> str:
    version = form.version or report.version
    if version is None:
        raise FieldInvalid(
            "The form has no field 'version', and neither the card's front matter nor config.json names one.",
            field="version",
        )
    return check_version(version)
