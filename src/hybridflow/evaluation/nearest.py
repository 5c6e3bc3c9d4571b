"""The training images that are nearest to samples, in the features of a network."""

from __future__ import annotations

import numpy as np

from hybridflow.evaluation.metrics.neighbours import squared_distances


def nearest(vectors: np.ndarray, reference: np.ndarray, count: int) -> np.ndarray:
    """Positions of the ``count`` rows of ``reference`` that are nearest to each row of ``vectors``, nearest first.

    Args:
        vectors: (n, D).
        reference: (m, D).

    Returns:
        (n, count) int64; the Euclidean distance counts, and of equally near rows the first.
    """
    a, b = vectors.astype(np.float64), reference.astype(np.float64)
    blocks = squared_distances(a @ b.T, (a**2).sum(1), (b**2).sum(1))
    return np.concatenate([np.argsort(block, axis=1, kind="stable")[:, :count] for block in blocks])
