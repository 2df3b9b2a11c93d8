"""Whether a project's license goes with a package's."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from weighhouse.doors.api.answers import answer, problems
from weighhouse.doors.api.schemas import licenses as schemas
from weighhouse.doors.api.strict import StrictRoute
from weighhouse.doors.caller import Registry, Searcher
from weighhouse.registry import license_check
from weighhouse.rules.compatibility import DISCLAIMER, category_word, name_of
from weighhouse.rules.license_use import Use
from weighhouse.rules.project_license import Stated

router = APIRouter(tags=["Packages"], route_class=StrictRoute)


@router.post(
    "/package/license-check",
    response_model=schemas.LicenseChecked,
    responses=problems(400, 401, 403, 404, 413, 422, 429, 503),
    summary="Check a project's license against a package's",
)
def post_package_license_check(registry: Registry, caller: Searcher, body: schemas.LicenseQuestion) -> Response:
    """Whether the code of a project on GitHub may be part of a work published under a package's license.

    `compatible` is false where the licenses do not settle it; `verdict` and `determined` tell that from a no. `model_use` says
    what the model's license lets the project do with it. An automated comparison, not legal advice.
    """
    return answer(_shown(license_check.check_license(registry, caller, body.github_url, body.model_id)))


def _shown(check: license_check.LicenseCheck) -> dict[str, Any]:
    found = check.compatibility
    return {
        "compatible": found.compatible,
        "github_license": name_of(check.project.license),
        "model_license": name_of(check.model.license),
        "reason": found.reason,
        "warnings": list(found.warnings) or None,
        "verdict": found.verdict,
        "determined": found.determined,
        "confidence": found.confidence.name.lower(),
        "rule": found.rule,
        "mode": found.mode,
        "project": _side(check.project)
        | {"match_score": check.project.match_score, "files": list(check.project.files)},
        "model": _side(check.model),
        "conditions": list(found.conditions),
        "notes": list(found.notes),
        "chosen_inbound": found.chosen_inbound,
        "chosen_outbound": found.chosen_outbound,
        "reverse_compatible": check.reverse_compatible,
        "model_use": {operation: _use(use) for operation, use in check.use.items()},
        "derivative_license": check.derivative_license,
        "disclaimer": DISCLAIMER,
    }


def _side(stated: Stated) -> dict[str, Any]:
    return {
        "raw": stated.license.raw or None,
        "spdx": stated.license.expression or None,
        "display": name_of(stated.license),
        "category": category_word(stated.license),
        "source": stated.source,
    }


def _use(use: Use) -> dict[str, Any]:
    return {"permission": use.leave.word, "obligations": list(use.obligations), "notes": list(use.notes)}
