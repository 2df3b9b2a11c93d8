"""All eleven metrics, each judged in one place, so that no failure becomes a score."""

import logging
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from weighhouse.rules.evidence import Evidence, Missing, Reason
from weighhouse.rules.metrics import (
    bus_factor,
    code_quality,
    dataset_and_code_score,
    dataset_quality,
    license,  # noqa: A004 - the metric's name
    performance_claims,
    ramp_up_time,
    reproducibility,
    reviewedness,
    size_score,
    tree_score,
)
from weighhouse.rules.metrics.result import Metric, Result, inconclusive

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        ramp_up_time.NAME: ramp_up_time.measure,
        bus_factor.NAME: bus_factor.measure,
        performance_claims.NAME: performance_claims.measure,
        license.NAME: license.measure,
        size_score.NAME: size_score.measure,
        dataset_and_code_score.NAME: dataset_and_code_score.measure,
        dataset_quality.NAME: dataset_quality.measure,
        code_quality.NAME: code_quality.measure,
        reproducibility.NAME: reproducibility.measure,
        reviewedness.NAME: reviewedness.measure,
        tree_score.NAME: tree_score.measure,
    }
)

VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        ramp_up_time.NAME: ramp_up_time.METRIC_VERSION,
        bus_factor.NAME: bus_factor.METRIC_VERSION,
        performance_claims.NAME: performance_claims.METRIC_VERSION,
        license.NAME: license.METRIC_VERSION,
        size_score.NAME: size_score.METRIC_VERSION,
        dataset_and_code_score.NAME: dataset_and_code_score.METRIC_VERSION,
        dataset_quality.NAME: dataset_quality.METRIC_VERSION,
        code_quality.NAME: code_quality.METRIC_VERSION,
        reproducibility.NAME: reproducibility.METRIC_VERSION,
        reviewedness.NAME: reviewedness.METRIC_VERSION,
        tree_score.NAME: tree_score.METRIC_VERSION,
    }
)
"""Version of each metric: a change of score is traced to the model or to the method."""

_log = logging.getLogger(__name__)


def judge(name: str, evidence: Evidence, as_of: datetime) -> Result:
    """The result of one metric; `inconclusive` when evidence is missing or the metric itself failed.

    Raises:
        KeyError: `name` is not a metric.
    """
    measure = METRICS[name]
    try:
        return measure(evidence, as_of)
    except Missing as missing:
        return inconclusive(name, missing)
    except Exception:
        # A defect of ours must neither lose the other ten results nor look like a bad model.
        _log.exception("metric %s failed", name)
        advice = "The metric failed on this package; this is a defect of the registry, see its log"
        return inconclusive(name, Missing(Reason.INTERNAL_ERROR, advice))
