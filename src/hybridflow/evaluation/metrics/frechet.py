"""Moments of feature vectors and the Frechet distance between two of them, computed in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import linalg

from hybridflow.io.files import atomic_path
from hybridflow.io.records import read_record, record_of, write_record
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError


@dataclass(frozen=True)
class Moments:
    """Sample mean and covariance of ``count`` feature vectors.

    Attributes:
        mean: (D,) float64.
        covariance: (D, D) float64, unbiased (divided by ``count - 1``).
        count: number of vectors.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int


class MomentAccumulator:
    """Sums a stream of feature batches into :class:`Moments`.

    The first batch's mean is subtracted from every vector before squares are summed: without that the
    covariance of features far from zero would be the small difference of two large numbers.
    """

    def __init__(self) -> None:
        self.count = 0
        self._shift: np.ndarray | None = None

    def update(self, features: np.ndarray) -> None:
        """Adds a batch.

        Args:
            features: (N, D), any real dtype.

        Raises:
            ValueError: not two-dimensional, of another dimension than before, or not finite.
        """
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2:
            raise ValueError(f"features must have shape (N, D), got {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError(f"features hold non-finite values (among vectors {self.count} and following)")
        if len(features) == 0:
            return
        if self._shift is None:
            self._shift = features.mean(axis=0)
            self._sum = np.zeros(features.shape[1])
            self._products = np.zeros((features.shape[1], features.shape[1]))
        elif features.shape[1] != len(self._shift):
            raise ValueError(f"features have {features.shape[1]} dimensions, those before had {len(self._shift)}")
        shifted = features - self._shift
        self._sum += shifted.sum(axis=0)
        self._products += shifted.T @ shifted
        self.count += len(features)

    def moments(self) -> Moments:
        """The moments of everything that was added.

        Raises:
            ValueError: fewer than two vectors were added.
        """
        if self._shift is None or self.count < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors, got {self.count}")
        offset = self._sum / self.count
        covariance = (self._products - self.count * np.outer(offset, offset)) / (self.count - 1)
        return Moments(self._shift + offset, covariance, self.count)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared Frechet (2-Wasserstein) distance of the Gaussians with these moments (arXiv 1706.08500, eq. 6).

    |m_a - m_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)). With a factor R of B = R R^T, the last trace is
    the sum of the square roots of the eigenvalues of the symmetric R^T A R. That needs two symmetric
    eigenvalue problems and no matrix square root, and singular covariances (fewer vectors than
    dimensions) are no special case.

    Returns:
        The distance, in squared units of the features. Rounding can make the distance of equal
        distributions a negative number of the size of 1e-12 of the traces; it is returned as 0.

    Raises:
        ValueError: dimensions differ, a count is below 2, or a number is not finite.
    """
    return distance_of(a, b, linalg.eigvalsh(overlap(a, b)[1]))


def overlap(a: Moments, b: Moments) -> tuple[np.ndarray, np.ndarray]:
    """R of B = R R^T, and R^T A R, for the covariances A and B.

    Raises:
        ValueError: as :func:`frechet_distance`.
    """
    for moments in (a, b):
        dimensions = moments.mean.shape
        if len(dimensions) != 1 or moments.covariance.shape != dimensions * 2:
            raise ValueError(f"moments have mean {dimensions} and covariance {moments.covariance.shape}")
        if moments.count < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors, got {moments.count}")
        if not (np.isfinite(moments.mean).all() and np.isfinite(moments.covariance).all()):
            raise ValueError("moments hold non-finite values")
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"moments of {len(a.mean)} and of {len(b.mean)} dimensions cannot be compared")
    values, vectors = linalg.eigh(b.covariance.astype(np.float64), driver="evd")
    root = vectors * np.sqrt(np.clip(values, 0, None))
    return root, root.T @ a.covariance.astype(np.float64) @ root


def distance_of(a: Moments, b: Moments, eigenvalues: np.ndarray) -> float:
    """The distance, from the eigenvalues of the second matrix of :func:`overlap`."""
    difference = a.mean.astype(np.float64) - b.mean.astype(np.float64)
    traces = sum(np.trace(moments.covariance, dtype=np.float64) for moments in (a, b))
    distance = difference @ difference + traces - 2 * np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    return max(float(distance), 0.0)


def save_moments(path: str | Path, moments: Moments, values: dict[str, Any], beside: Sequence[Path] = ()) -> None:
    """Writes moments to an .npz file, atomically, and then its record.

    Of the covariance, which is symmetric, it keeps the lower triangle, row by row, in float32: half the size, for a
    relative change of distances of about 1e-9 (docs/metrics.md).

    Args:
        values: the record's: what the numbers are (extractor, split, ...).
        beside: finished files that the record speaks for, too.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            mean=moments.mean,
            covariance=moments.covariance[np.tril_indices(len(moments.mean))].astype(np.float32),
            count=np.int64(moments.count),
        )
    write_record(record_of(path), values, [path, *beside])


def load_moments(path: str | Path) -> tuple[Moments, dict[str, Any]]:
    """Reads what :func:`save_moments` wrote: the moments and the record's values.

    Raises:
        UserError: file or record is missing, damaged or exchanged.
    """
    values = read_record(record_of(path), [Path(path).name])
    try:
        with np.load(path, allow_pickle=False) as content:
            moments = Moments(content["mean"], _symmetric(content["covariance"]), int(content["count"]))
    except Exception:  # numpy and zipfile raise nearly anything on another file
        raise UserError(f"{path} is not a file of feature statistics; {repair_hint(path)}.") from None
    return moments, values


def _symmetric(kept: np.ndarray) -> np.ndarray:
    """A matrix, float64, from its lower triangle."""
    dimensions = math.isqrt(2 * len(kept))  # D (D + 1) / 2 numbers
    matrix = np.empty((dimensions, dimensions))
    rows, columns = np.tril_indices(dimensions)
    matrix[rows, columns] = matrix[columns, rows] = kept
    return matrix
