"""Durations in logarithmic classes: percentiles with a bounded relative error, from counts that simply add up.

The classes are those of DDSketch (Masson, Rim, Lee: *DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees*, 2019) with an accuracy of 5 %.
"""

import math
from collections.abc import Iterable, Mapping

ACCURACY = 0.05
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)

# 0.01 ms and less share the lowest class, eleven days and more the highest.
_LOWEST, _HIGHEST = -47, 208


def duration_class(duration_ms: float) -> int:
    """The class that a duration falls into.

    >>> duration_class(1.0), duration_class(100.0)
    (0, 47)
    """
    if duration_ms <= 0:
        return _LOWEST
    return max(_LOWEST, min(_HIGHEST, math.ceil(math.log(duration_ms) / _LOG_GAMMA)))


def class_value_ms(index: int) -> float:
    """The duration that stands for a class, at most 5 % from any in it."""
    return 2 * _GAMMA**index / (_GAMMA + 1)


def class_bound_ms(index: int) -> float:
    """The longest duration of a class."""
    return float(_GAMMA**index)


def percentile_ms(counts: Mapping[int, int], share: float) -> float:
    """The duration that `share` of all stay at or below; 0 when there are none.

    Args:
        counts: Number of durations by class.
        share: In [0, 1]: 0.95 for the 95th percentile.
    """
    total = sum(counts.values())
    rank = max(1, math.ceil(share * total))
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        if seen >= rank:
            return class_value_ms(index)
    return 0.0


def merged(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The counts of several histograms together."""
    total: dict[int, int] = {}
    for part in parts:
        for index, count in part.items():
            total[index] = total.get(index, 0) + count
    return total
