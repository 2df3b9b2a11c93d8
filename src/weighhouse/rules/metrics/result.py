"""What a metric answers: status, score, reasons, inputs; and the one way to round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any, Protocol

from weighhouse.rules.evidence import Evidence, Missing, Reason, Source

METRICS_VERSION = "wh-metrics/1.0.0"

_REASON_CHARACTERS = 160


class Status(StrEnum):
    """Whether the evidence was looked at."""

    OK = "ok"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True)
class Result:
    """One metric's answer. `score` is a number in [0, 1] with two decimals exactly when `status` is `ok`.

    `reasons` are 1 to 5 facts, most decisive first; `inputs` holds every number that enters the formula.
    """

    metric: str
    status: Status
    score: float | None
    reasons: Sequence[str]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    method: str = "static"
    reason_code: Reason | None = None
    sources: Sequence[Source] = ()


class Metric(Protocol):
    """A pure function of evidence and `as_of`, the only clock it may read; raises `Missing` when evidence could not be had."""

    def __call__(self, evidence: Evidence, as_of: datetime) -> Result: ...


def r2(value: float) -> float:
    """`value`, clamped to [0, 1], to two decimals: first to six, then half up (metrics specification, section 1).

    >>> r2(0.765), r2(0.0349999999), r2(1.2), r2(-1)
    (0.77, 0.04, 1.0, 0.0)
    """
    six = round(Decimal(repr(min(1.0, max(0.0, float(value))))), 6)
    return float(six.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things as a reason says it.

    >>> counted(1, "file"), counted(0, "file"), counted(2, "person", "people")
    ('1 file', '0 files', '2 people')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def reason(text: str) -> str:
    """`text` as a reason may be shown: one line of printable characters, at most 160 of them."""
    shown = " ".join(text.split())
    if not shown.isprintable():
        shown = "".join(character if character.isprintable() else " " for character in shown)
    return shown if len(shown) <= _REASON_CHARACTERS else shown[: _REASON_CHARACTERS - 1] + "…"


def ok(
    metric: str,
    score: float,
    reasons: Sequence[str],
    *,
    inputs: Mapping[str, Any] | None = None,
    method: str = "static",
    sources: Sequence[Source] = (),
) -> Result:
    """A score that was measured; rounds it and cuts the reasons to five."""
    return Result(
        metric, Status.OK, r2(score), tuple(reason(text) for text in reasons[:5]), inputs or {}, method, None, sources
    )


def not_applicable(metric: str, code: Reason, why: str) -> Result:
    """The question does not arise for this package."""
    return Result(metric, Status.NOT_APPLICABLE, None, (reason(why),), reason_code=code)


def inconclusive(metric: str, missing: Missing) -> Result:
    """The evidence could not be had."""
    return Result(metric, Status.INCONCLUSIVE, None, (reason(missing.advice),), reason_code=missing.reason)
