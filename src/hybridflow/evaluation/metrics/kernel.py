"""Kernel distance (KID, arXiv 1801.01401)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hybridflow.evaluation.metrics.features import Estimate, Features
from hybridflow.evaluation.metrics.products import inner_products, row_blocks, squared_lengths


def kernel_distance(generated: Features, reference: Features) -> Estimate:
    """Unbiased squared MMD with the kernel (x·y / D + 1)^3, of all stored vectors; float64.

    About 0 for equal distributions, and then negative about as often as positive. The paper and torch-fidelity average
    the same statistic over random subsets of 1,000, which has the same expectation and a larger variance.
    """
    within = _row_means(generated, generated)
    across = _row_means(generated, reference)
    value = float(within.mean() + _mean_within(reference) - 2 * across.mean())
    influence = 2 * (within - across)  # of an image on the U-statistic, up to a constant
    return Estimate(value, value + influence - influence.mean())


@lru_cache(maxsize=2)  # every model has the same reference
def _mean_within(features: Features) -> float:
    return float(_row_means(features, features).mean())


def _row_means(a: Features, b: Features) -> np.ndarray:
    """Mean kernel of every vector of ``a`` with those of ``b``; if they are the same, without itself."""
    dimensions, products = b.vectors.shape[1], inner_products(a, b)
    blocks = (products[part] / dimensions + 1 for part in row_blocks(len(products)))
    sums = np.concatenate([np.einsum("ij,ij,ij->i", block, block, block) for block in blocks])
    if a is b:
        return (sums - (squared_lengths(a) / dimensions + 1) ** 3) / (len(sums) - 1)
    return sums / products.shape[1]
