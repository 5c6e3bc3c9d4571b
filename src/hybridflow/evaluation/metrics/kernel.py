"""Kernel distance (KID, arXiv 1801.01401)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hybridflow.evaluation.metrics.features import Estimate, Features

BLOCK = 1000  # rows of a kernel matrix in memory at once


def kernel_distance(generated: Features, reference: Features) -> Estimate:
    """Unbiased squared MMD with the kernel (x·y / D + 1)^3, of all stored vectors; float64.

    About 0 for equal distributions, and then negative about as often as positive. The paper and torch-fidelity average
    the same statistic over random subsets of 1,000, which has the same expectation and a larger variance.
    """
    fake, real = (features.vectors.astype(np.float64) for features in (generated, reference))
    within = _row_means(fake, fake)
    across = _row_means(fake, real)
    value = float(within.mean() + _mean_within(reference) - 2 * across.mean())
    influence = 2 * (within - across)  # of an image of the U-statistic, up to a constant
    return Estimate(value, value + influence - influence.mean())


@lru_cache(maxsize=2)  # every model has the same reference
def _mean_within(features: Features) -> float:
    vectors = features.vectors.astype(np.float64)
    return float(_row_means(vectors, vectors).mean())


def _row_means(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean kernel of every vector of ``a`` with those of ``b``; if they are the same, without itself."""
    blocks = (rows @ b.T / b.shape[1] + 1 for rows in np.split(a, range(BLOCK, len(a), BLOCK)))
    sums = np.concatenate([np.einsum("ij,ij,ij->i", block, block, block) for block in blocks])
    if a is b:
        return (sums - ((a**2).sum(1) / b.shape[1] + 1) ** 3) / (len(b) - 1)
    return sums / len(b)
