"""95 % intervals: of a number over training seeds, or over images where there is one seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats

LEVEL = 0.95


def seed_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's interval of the mean of two values or more."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return around(statistics.fmean(values), float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error)


def image_interval(value: float, error: float) -> tuple[float, float]:
    """Normal interval of a value with this standard error over images, of which there are many."""
    return around(value, float(stats.norm.ppf((1 + LEVEL) / 2)) * error)


def around(value: float, half: float) -> tuple[float, float]:
    """The interval of this half-width."""
    return value - half, value + half
