"""Features of a set of images as metrics see them: moments of all, vectors of the first ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.config.metrics import Metric
from hybridflow.evaluation.metrics.frechet import Moments
from hybridflow.io.files import atomic_path
from hybridflow.io.records import read_record, record_of
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a set of images.

    Attributes:
        moments: of all images.
        vectors: (n, D) float16, of the first n images; n = 0 where no metric needs them.
        head: (classes, D), the network's last layer, where a metric needs it.
    """

    moments: Moments
    vectors: np.ndarray
    head: np.ndarray | None = None


NO_VECTORS = np.empty((0, 0), np.float16)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric's value, and what single images add to it.

    Attributes:
        value: of the metric.
        contributions: (n,) one an image, generated or real, whose spread is the value's sampling error: where the value
            is a mean over images, its terms; else the value plus the image's influence on it (the infinitesimal
            jackknife). None where that is not known.
        count: images the value rests on, where contributions are of the first n of them only.
    """

    value: float
    contributions: np.ndarray | None = None
    count: int | None = None

    @property
    def standard_error(self) -> float | None:
        """Over the images, with those they are compared with held fixed."""
        return None if self.contributions is None else standard_error(self.contributions, self.count)

    @classmethod
    def mean_of(cls, contributions: np.ndarray) -> Estimate:
        """A metric that is the mean of a number of every image."""
        return cls(float(contributions.mean()), contributions)


def standard_error(contributions: np.ndarray, count: int | None = None) -> float:
    """Of the mean of ``count`` numbers (as many as are given, if None), from the spread of the given ones."""
    return float(contributions.std(ddof=1)) / math.sqrt(count or len(contributions))


def estimate(metric: Metric, generated: Features, reference: Features) -> Estimate:
    """A metric with its error, if the metric knows it."""
    found = metric.load()(generated, reference)
    return found if isinstance(found, Estimate) else Estimate(float(found))


def evaluate(metric: Metric, generated: Features, reference: Features) -> float:
    """The value of a metric alone; a metric of moments is spared what its error costs."""
    if metric.needs == "moments":
        generated = Features(generated.moments, NO_VECTORS)
    return estimate(metric, generated, reference).value


def write_vectors(path: Path, vectors: np.ndarray) -> None:
    """Writes feature vectors, atomically; their record follows.

    Raises:
        ValueError: a value is beyond what float16 holds.
    """
    if not np.isfinite(vectors).all():
        raise ValueError(f"features of {path} are beyond 65504, which float16 cannot hold")
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, vectors.astype(np.float16, copy=False))


def load_vectors(path: str | Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Reads feature vectors, (n, D) float16, and the record that speaks for them.

    Raises:
        UserError: file or record is missing, damaged or exchanged.
    """
    record = read_record(record_of(path), [Path(path).name])
    try:
        vectors = np.load(path, allow_pickle=False)
    except ValueError:
        vectors = None
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype != np.float16:
        raise UserError(f"{path} is not a file of feature vectors; {repair_hint(path)}.")
    return vectors, record
