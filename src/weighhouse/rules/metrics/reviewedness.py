"""How much of the code did a second person look at before it was merged? (metrics specification, section 10)"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from weighhouse.rules.evidence import Evidence, Missing, Reason, Source
from weighhouse.rules.metrics.result import Result, ok

NAME = "reviewedness"
METRIC_VERSION = "reviewedness/1"

LINES_CAP = 1_000
"""Lines of one changeset that count, so that one large import does not decide."""

_WEB_ADDRESS = re.compile(
    r"(?:https?://|ssh://git@|git@)?(?:www\.)?([^/:@]+)(?::\d+)?[/:](.*)", re.IGNORECASE | re.DOTALL
)


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


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """Inconclusive: this server reads no reviews yet; `judge` scores changesets.

    Raises:
        Missing: Always.
    """
    address = _WEB_ADDRESS.match((evidence.code_url or "").strip())
    if address is None or not address[2].strip("/"):
        raise Missing(Reason.NO_GITHUB_REPO, "No GitHub repository was given; publish with its address as code_url")
    if address[1].lower() != "github.com":
        raise Missing(Reason.HOST_UNSUPPORTED, f"Reviews can be read on GitHub only, and the code is on {address[1]}")
    raise Missing(Reason.UNREACHABLE, "This server does not read the reviews of repositories yet")


def judge(changesets: Sequence[Changeset], source: Source, *, lines_known: bool = True) -> Result:
    """The share of lines that came by a reviewed request.

    Args:
        changesets: The last 300 of the default branch.
        lines_known: Whether lines could be counted; otherwise each changeset weighs 1.

    Raises:
        Missing: People changed no code in them.
    """
    weights = [
        (min(LINES_CAP, changeset.lines) if lines_known else 1, is_reviewed(changeset))
        for changeset in changesets
        if not changeset.is_bot
    ]
    total = sum(weight for weight, _ in weights)
    if not total:
        raise Missing(Reason.NO_EVIDENCE, "The last changes hold no lines of code written by people")
    reviewed = sum(weight for weight, seen in weights if seen)
    unit = "added lines" if lines_known else "changes"
    return ok(
        NAME,
        reviewed / total,
        [f"{reviewed:,} of {total:,} {unit} were reviewed by a second person before the merge"],
        inputs={"reviewed": reviewed, "total": total, "changesets": len(weights)},
        method="lines" if lines_known else "changesets",
        sources=(source,),
    )


def is_reviewed(changeset: Changeset) -> bool:
    """Whether a person who wrote none of it reviewed the request before it was merged."""
    request = changeset.request
    if request is None or request.merged_at is None:
        return False
    authors = {author.lower() for author in request.authors}
    return any(
        not review.is_bot
        and review.by.lower() not in authors
        and review.at <= request.merged_at
        and (review.state in ("APPROVED", "CHANGES_REQUESTED") or (review.state == "COMMENTED" and review.has_text))
        for review in request.reviews
    )
