"""What changed from one evaluation to the next, so that a change of score is traced to the model or to the method."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from weighhouse.rules.evidence import Source

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Judged:
    """One metric's answer, as it was recorded."""

    metric: str
    version: str
    status: str
    score: float | None
    reasons: Sequence[str]
    sources: Sequence[Source]


@dataclass(frozen=True)
class MetricChange:
    """A metric whose answer is not the one it was.

    Args:
        before: `None` for a metric that there was not then.
        after: `None` for a metric that there is no more.
    """

    metric: str
    before: Judged | None
    after: Judged | None

    @property
    def score_change(self) -> float | None:
        """What the score gained, `None` unless there are two of them."""
        return difference(
            self.before.score if self.before else None,
            self.after.score if self.after else None,
        )

    @property
    def reasons_gone(self) -> Sequence[str]:
        """Reasons that are given no more."""
        return _without(_reasons(self.before), _reasons(self.after))

    @property
    def reasons_new(self) -> Sequence[str]:
        """Reasons that were not given before."""
        return _without(_reasons(self.after), _reasons(self.before))

    @property
    def sources_gone(self) -> Sequence[Source]:
        """Evidence that was looked at before, and is not what was looked at now."""
        return _without(_sources(self.before), _sources(self.after))

    @property
    def sources_new(self) -> Sequence[Source]:
        """Evidence that was looked at now, and is not what was looked at before."""
        return _without(_sources(self.after), _sources(self.before))


def changes(before: Mapping[str, Judged], after: Mapping[str, Judged]) -> Sequence[MetricChange]:
    """The metrics that answer differently, or from other evidence, by name."""
    names = sorted(before.keys() | after.keys())
    return [
        MetricChange(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    ]


def difference(before: float | None, after: float | None) -> float | None:
    """What a score of two decimals gained, `None` unless there are two of them.

    >>> difference(0.9, 0.5), difference(None, 0.5)
    (-0.4, None)
    """
    return None if before is None or after is None else round(after - before, 2)


def _reasons(judged: Judged | None) -> Sequence[str]:
    return judged.reasons if judged else ()


def _sources(judged: Judged | None) -> Sequence[Source]:
    return judged.sources if judged else ()


def _without(these: Sequence[T], those: Sequence[T]) -> Sequence[T]:
    return [one for one in these if one not in those]
