"""Metrics on nearest neighbours: precision and recall, density and coverage, authenticity.

The ball of an image reaches to its k-th nearest neighbour in its own set, itself not counted. All but
:func:`authenticity` depend on the number of images, so both sets are cut to the same number.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from hybridflow.evaluation.metrics.features import Features

PRECISION_NEIGHBOURS = 3  # Kynkäänniemi et al., arXiv 1904.06991
DENSITY_NEIGHBOURS = 5  # Naeem et al., arXiv 2002.09797
BLOCK = 1000  # rows of a distance matrix in memory at once


def precision(generated: Features, reference: Features) -> float:
    """Share of generated images inside some real image's ball (arXiv 1904.06991)."""
    return _precision_recall(generated, reference)[KEY_METRIC_PRECISION]


def recall(generated: Features, reference: Features) -> float:
    """Share of real images inside some generated image's ball (arXiv 1904.06991)."""
    return _precision_recall(generated, reference)[KEY_METRIC_RECALL]


def density(generated: Features, reference: Features) -> float:
    """Real balls that a generated image is in, on average, divided by k; about 1 for equal distributions."""
    fake, real = _equally_many(generated, reference)
    reach = _reach(reference, len(real), DENSITY_NEIGHBOURS)
    inside = sum(int((distances < reach).sum()) for distances in squared_distances(fake, real))
    return inside / (DENSITY_NEIGHBOURS * len(fake))


def coverage(generated: Features, reference: Features) -> float:
    """Share of real balls that hold a generated image; about 0.97 for equal distributions."""
    fake, real = _equally_many(generated, reference)
    nearest = np.concatenate([distances.min(1) for distances in squared_distances(real, fake)])
    return float((nearest < _reach(reference, len(real), DENSITY_NEIGHBOURS)).mean())


def authenticity(generated: Features, reference: Features) -> float:
    """AuthPct (arXiv 2102.08921): percentage of generated images that look like no copy of a training image.

    A generated image counts if the training image nearest to it has another training image that is nearer. The value of
    images that the model cannot have copied, the test images, is far above 50 and depends on the features; compare with
    that.
    """
    fake, real = _vectors(generated), _vectors(reference)
    between = _reach(reference, len(real), 1)
    found = [(distances.argmin(1), distances.min(1)) for distances in squared_distances(fake, real)]
    closest, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    return 100 * float((between[closest] < distance).mean())


def radii(vectors: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of every vector to its k-th nearest neighbour: (n,) float64. The 0-th is the vector itself."""
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for block in squared_distances(vectors, vectors)])


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of rows of the matrix of |a_i - b_j|^2, (up to BLOCK, len(b)) float64."""
    squares = (b**2).sum(1)
    for start in range(0, len(a), BLOCK):
        rows = a[start : start + BLOCK]
        block = (rows**2).sum(1)[:, None] + squares - 2 * rows @ b.T
        if a is b:  # a vector's distance to itself is 0, whatever rounding says
            block[np.arange(len(rows)), start + np.arange(len(rows))] = 0
        yield np.maximum(block, 0, out=block)


@lru_cache(maxsize=8)  # of a job's sets and metrics, most have the same reference
def _reach(features: Features, count: int, k: int) -> np.ndarray:
    return radii(_vectors(features)[:count], k)


@lru_cache(maxsize=16)  # both metrics of a set come from one computation
def _precision_recall(generated: Features, reference: Features) -> dict[str, float]:
    fake, real = map(torch.from_numpy, _equally_many(generated, reference))
    return prc_features_to_metric(
        fake,
        real,
        prc_neighborhood=PRECISION_NEIGHBOURS,
        prc_batch_size=BLOCK,
        save_cpu_ram=True,
        verbose=False,
    )


def _equally_many(generated: Features, reference: Features) -> tuple[np.ndarray, np.ndarray]:
    count = min(len(generated.vectors), len(reference.vectors))
    return _vectors(generated)[:count], _vectors(reference)[:count]


def _vectors(features: Features) -> np.ndarray:
    return features.vectors.astype(np.float64)
