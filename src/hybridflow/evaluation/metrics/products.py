"""Inner products of feature vectors, which kernels and distances of two sets are made of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from hybridflow.evaluation.metrics.features import Features

BLOCK = 1000  # rows of a matrix that are worked on at once


@lru_cache(maxsize=3)  # of each of two sets with itself, and of one with the other
def inner_products(a: Features, b: Features) -> np.ndarray:
    """Of every stored vector of ``a`` with every one of ``b``: (n, m) float64.

    They are the larger part of what a metric of single vectors costs, so all metrics of a pair of sets share them.
    """
    rows, columns = (features.vectors.astype(np.float64) for features in (a, b))
    products = np.empty((len(rows), len(columns)))
    for part in row_blocks(len(rows)):
        np.matmul(rows[part], columns.T, out=products[part])
    return products


def squared_lengths(features: Features) -> np.ndarray:
    """Of every stored vector: (n,) float64."""
    return (features.vectors.astype(np.float64) ** 2).sum(1)


def row_blocks(count: int) -> Iterator[slice]:
    """``count`` rows in parts that fit into memory beside the whole."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))
