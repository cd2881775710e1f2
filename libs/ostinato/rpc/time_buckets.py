"""Times that were counted in plain arrays, as histograms of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily

from ostinato.taskqueue import BUCKET_ENDS, TimeHistogram

_ENDS = (*(f"{end:.6g}" for end in BUCKET_ENDS), "+Inf")


def add_times(metric: HistogramMetricFamily, labels: Sequence[str], times: TimeHistogram) -> None:
    metric.add_metric(labels, list(zip(_ENDS, accumulate(times.counts), strict=True)), times.total)
