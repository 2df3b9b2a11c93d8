"""How much of the code did a second person look at before it was merged? (metrics specification, section 10)"""

import re
from collections.abc import Sequence
from datetime import datetime

from weighhouse.rules.code_files import is_source
from weighhouse.rules.evidence import Changeset, Evidence, Missing, Reason, Source
from weighhouse.rules.metrics.result import Result, ok

NAME = "reviewedness"
METRIC_VERSION = "reviewedness/1"

LINES_CAP = 1_000
"""Lines of one changeset that count, so that one large import does not decide."""

_MINIFIED = re.compile(r"[.-](min|bundle)\.(js|ts)$", re.IGNORECASE)


def measure(evidence: Evidence, as_of: datetime) -> Result:
    """The share of the last changes' lines that a second person reviewed before the merge.

    Raises:
        Missing: No GitHub repository is given, its reviews could not be had, or people changed no code in them.
    """
    found = evidence.changesets()
    return judge(found.changesets, found.source, lines_known=found.lines_known)


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


def is_counted(path: str) -> bool:
    """Whether the lines of the file at `path` are code that people write and review.

    >>> is_counted("src/a.py"), is_counted("vendor/a.py"), is_counted("a.min.js"), is_counted("uv.lock")
    (True, False, False, False)
    """
    return is_source(path) and _MINIFIED.search(path) is None


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
