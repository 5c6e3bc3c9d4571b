"""A scale for values of which one dwarfs the differences of all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

FROM = 10  # the largest value's distance from the lowest, over the median one's


@dataclass(frozen=True)
class Stretch:
    """Linear within ``width`` of ``low``, logarithmic beyond: arcsinh((x − low) / width)."""

    low: float
    width: float

    def forward(self, values: ArrayLike) -> np.ndarray:
        return np.arcsinh((np.asarray(values, dtype=float) - self.low) / self.width)

    def inverse(self, places: ArrayLike) -> np.ndarray:
        return self.low + self.width * np.sinh(places)

    def ticks(self, left: float, right: float, count: int = 6) -> np.ndarray:
        """Up to ``count`` values inside of ``left`` and ``right`` at equal steps of the scale, with two decimals."""
        places = np.linspace(*self.forward([left, right]), count + 2)[1:-1]
        return np.unique(self.inverse(places).round(2))


def stretch(values: Sequence[float]) -> Stretch | None:
    """The scale for values near their lowest, or none where a linear one shows them."""
    low, median, high = np.quantile(values, [0, 0.5, 1])
    return Stretch(float(low), float(median - low)) if 0 < FROM * (median - low) < high - low else None
