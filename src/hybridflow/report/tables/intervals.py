"""95 % intervals: of a number over training seeds, or over images where there is one seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats

LEVEL = 0.95
UNLIMITED = (-math.inf, math.inf)


def seed_interval(values: Sequence[float], limits: tuple[float, float] = UNLIMITED) -> tuple[float, float] | None:
    """Student's interval of the mean of two values or more, within ``limits``; None if they are all the same."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return _around(statistics.fmean(values), float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error, limits)


def image_interval(value: float, error: float, limits: tuple[float, float] = UNLIMITED) -> tuple[float, float] | None:
    """Normal interval of a value with this standard error over images, of which there are many, within ``limits``.

    None if the error is 0: that no image differed says little of the next one.
    """
    return _around(value, float(stats.norm.ppf((1 + LEVEL) / 2)) * error, limits)


def _around(value: float, half: float, limits: tuple[float, float]) -> tuple[float, float] | None:
    low, high = limits
    return (max(value - half, low), min(value + half, high)) if half > 0 else None
