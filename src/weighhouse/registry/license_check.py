"""Does a project's license go with a package's? And what may the project do with the model? Not legal advice."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from weighhouse.app import App
from weighhouse.registry.evidence_cache import DatabaseCache
from weighhouse.registry.visible import find_package
from weighhouse.rules.compatibility import Compatibility, check
from weighhouse.rules.errors import Away, NotFound
from weighhouse.rules.front_matter import load_metadata, split_front_matter
from weighhouse.rules.license_tables import FAMILIES, Category
from weighhouse.rules.license_terms import terms_of
from weighhouse.rules.license_use import DerivativeLicense, Use, derivative_license, model_use, notes_on
from weighhouse.rules.licenses import NONE, normalise
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.rules.project_license import MAX_FILE_BYTES, Stated, license_paths, put_together
from weighhouse.rules.repositories import Repository, require_repository
from weighhouse.sources.github import GitHub, GitHubMissing
from weighhouse.sources.github_license import project_license
from weighhouse.store.tables import Package, PackageFile, PackageText

# The column keeps no more of what a card states.
_RECORDED_CHARACTERS = 100


class RepositoryNotFound(NotFound):
    """There is no such repository on GitHub."""

    def __init__(self, repository: Repository, *, has_token: bool) -> None:
        private = "" if has_token else " A private one is found once the operator sets WEIGHHOUSE_GITHUB_TOKEN."
        super().__init__(
            f"GitHub shows no repository {repository.owner}/{repository.name}. Check the address.{private}"
        )


class GithubAway(Away):
    """GitHub did not say what was asked."""

    def __init__(self, missing: GitHubMissing) -> None:
        super().__init__(f"{missing.advice}.", retry_after_seconds=missing.retry_after_seconds or 5)
        self.reason = missing.reason.value


@dataclass(frozen=True)
class LicenseCheck:
    """The answer: the project's license, the model's, whether they go together, and what the model's permits."""

    project: Stated
    model: Stated
    compatibility: Compatibility
    reverse_compatible: bool
    """Whether the model may become part of a work under the project's license."""
    use: Mapping[str, Use]
    derivative_license: DerivativeLicense | None


def check_license(app: App, caller: Caller, github_url: str, package_id: UUID) -> LicenseCheck:
    """Whether a project's code may be part of a work published under a package's license.

    Args:
        github_url: The project's address; owner and name are read from it, it is never fetched as it is.

    Raises:
        PermissionMissing: The caller may not search.
        BadRepositoryUrl: The address is none that may be used.
        NoRepository: It is not that of a repository on GitHub.
        PackageNotFound: There is no such package, or the caller may not see it.
        RepositoryNotFound: GitHub shows no such repository.
        GithubAway: GitHub does not answer, or not to this server.
    """
    caller.require(Permission.SEARCH)
    settings = app.settings
    repository = require_repository(github_url, "github_url", api_url=settings.github_api_url)
    model = _model_license(app, caller, package_id)
    token = settings.github_token.get_secret_value() if settings.github_token else None
    with GitHub(settings.github_api_url, token, store=DatabaseCache(app.db)) as github:
        try:
            project = project_license(github, repository)
        except GitHubMissing as missing:
            raise GithubAway(missing) from missing
        if project is None:
            raise RepositoryNotFound(repository, has_token=github.has_token)
    return _compare(app, project, model)


def _compare(app: App, project: Stated, model: Stated) -> LicenseCheck:
    mode = app.settings.license_mode
    found = check(project.license, model.license, mode=mode)
    compatibility = replace(
        found,
        confidence=min(found.confidence, project.confidence, model.confidence),
        notes=(*found.notes, *notes_on(model.license)),
        warnings=tuple(dict.fromkeys((*found.warnings, *project.warnings, *model.warnings))),
    )
    return LicenseCheck(
        project,
        model,
        compatibility,
        reverse_compatible=check(model.license, project.license, mode=mode).compatible,
        use=model_use(model.license, project.license),
        derivative_license=derivative_license(model.license),
    )


def _model_license(app: App, caller: Caller, package_id: UUID) -> Stated:
    """What the card declares; where that has no name that says anything, what the text in the package is.

    Raises:
        PackageNotFound: There is no such package, or the caller may not see it.
        Away: The database or the store does not answer.
    """
    with app.db.read() as tx:
        declared = _declared(tx, find_package(tx, caller, package_id))
        files = {} if _says_something(declared) else _license_files(tx, package_id)
    texts = {path: _text(app, sha256, size_bytes) for path, (sha256, size_bytes) in files.items()}
    shipped = put_together(texts, {})
    return shipped if shipped.license.state == "named" or declared.license.state == "none" else declared


def _declared(tx: Session, package: Package) -> Stated:
    # The card says more than the package's column, which holds the first hundred characters and no `license_name`.
    card = tx.scalar(select(PackageText.card).where(PackageText.package_id == package.id))
    metadata, _ = load_metadata(split_front_matter(card or "")[0])
    name = metadata.get("license_name")
    candidates = (normalise(metadata.get("license"), name=name), normalise(name), normalise(_whole(package.license)))
    stated = next((one for one in candidates if one.state != "none"), NONE)
    return Stated(stated, "none" if stated.state == "none" else "declared")


def _whole(recorded: str | None) -> str | None:
    """The license that was recorded, unless it may have been cut: half an expression can promise more than all of it."""
    return recorded if recorded and len(recorded) < _RECORDED_CHARACTERS else None


def _says_something(declared: Stated) -> bool:
    """Whether a license has a name of which the terms are known."""
    atoms = [atom for branch in declared.license.branches for atom in branch]
    return any(terms_of(atom).category is not Category.UNKNOWN or atom.id in FAMILIES for atom in atoms)


def _license_files(tx: Session, package_id: UUID) -> Mapping[str, tuple[bytes, int]]:
    """Digest and size, by path, of the license files in the folder nearest the root that has any."""
    query = select(PackageFile.path, PackageFile.sha256, PackageFile.size_bytes).where(
        PackageFile.package_id == package_id,
        PackageFile.path.regexp_match("(^|/)(licen[cs]e|copying|unlicense|copyright)[^/]*$", flags="i"),
    )
    rows = {path: (bytes(sha256), size) for path, sha256, size in tx.execute(query.limit(1000))}
    if not rows:
        return {}
    nearest = min(
        (path.rpartition("/")[0] for path in rows), key=lambda folder: (folder.count("/"), bool(folder), folder)
    )
    own = {path.rpartition("/")[2]: path for path in rows if path.rpartition("/")[0] == nearest}
    return {own[name]: rows[own[name]] for name in license_paths(list(own), [])}


def _text(app: App, sha256: bytes, size_bytes: int) -> str:
    content = b"".join(app.blobs.read(sha256.hex(), 0, min(size_bytes, MAX_FILE_BYTES))) if size_bytes else b""
    return content.decode("utf-8", errors="replace").removeprefix("\ufeff")
