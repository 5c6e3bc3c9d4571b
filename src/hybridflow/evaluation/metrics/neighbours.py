"""Metrics on nearest neighbours: precision and recall, density and coverage, authenticity.

The ball of an image reaches to its k-th nearest neighbour in its own set, itself not counted. All but
:func:`authenticity` depend on the number of images, so both sets are cut to the same number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hybridflow.evaluation.metrics.features import Estimate, Features

PRECISION_NEIGHBOURS = 3  # Kynkäänniemi et al., arXiv 1904.06991
DENSITY_NEIGHBOURS = 5  # Naeem et al., arXiv 2002.09797
BLOCK = 1000  # rows of a distance matrix in memory at once


def precision(generated: Features, reference: Features) -> Estimate:
    """Share of generated images inside some real image's ball (arXiv 1904.06991)."""
    return Estimate.mean_of(_neighbours(generated, reference).fake_inside)


def recall(generated: Features, reference: Features) -> Estimate:
    """Share of real images inside some generated image's ball (arXiv 1904.06991)."""
    return Estimate.mean_of(_neighbours(generated, reference).real_inside)


def density(generated: Features, reference: Features) -> Estimate:
    """Real balls that a generated image is in, on average, divided by k; about 1 for equal distributions."""
    return Estimate.mean_of(_neighbours(generated, reference).balls / DENSITY_NEIGHBOURS)


def coverage(generated: Features, reference: Features) -> Estimate:
    """Share of real balls that hold a generated image; about 0.97 for equal distributions."""
    return Estimate.mean_of(_neighbours(generated, reference).covered)


def authenticity(generated: Features, reference: Features) -> Estimate:
    """AuthPct (arXiv 2102.08921): percentage of generated images that look like no copy of a training image.

    A generated image counts if the training image nearest to it has another training image that is nearer. The value of
    images that the model cannot have copied, the test images, is far above 50 and depends on the features; compare with
    that.
    """
    fake, real = _vectors(generated), _vectors(reference)
    between = _reach(reference, len(real))[:, 0]
    found = [(distances.argmin(1), distances.min(1)) for distances in squared_distances(fake, real)]
    closest, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    return Estimate.mean_of(100 * (between[closest] < distance))


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """Who is in whose ball, of equally many generated and real images.

    Attributes:
        fake_inside: (n,) bool, whether a generated image is in some real ball of k = 3.
        balls: (n,) in how many real balls of k = 5 it is.
        real_inside: (n,) bool, whether a real image is in some generated ball of k = 3.
        covered: (n,) bool, whether its own ball of k = 5 holds a generated image.
    """

    fake_inside: np.ndarray
    balls: np.ndarray
    real_inside: np.ndarray
    covered: np.ndarray


@lru_cache(maxsize=1)  # four metrics of a set come from one pass
def _neighbours(generated: Features, reference: Features) -> _Neighbours:
    count = min(len(generated.vectors), len(reference.vectors))
    fake, real = _vectors(generated)[:count], _vectors(reference)[:count]
    narrow, wide = _reach(reference, count).T[1:]
    own = radii(fake, [PRECISION_NEIGHBOURS])[:, 0]
    fake_inside, balls, nearest = [], [], np.full(count, np.inf)
    real_inside = np.zeros(count, bool)
    for start, distances in zip(range(0, count, BLOCK), squared_distances(fake, real), strict=True):
        fake_inside.append((distances <= narrow).any(1))
        balls.append((distances < wide).sum(1))
        real_inside |= (distances <= own[start : start + BLOCK, None]).any(0)
        nearest = np.minimum(nearest, distances.min(0))
    return _Neighbours(np.concatenate(fake_inside), np.concatenate(balls), real_inside, nearest < wide)


def radii(vectors: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Squared distance of every vector to its k-th nearest neighbour, for every k: (n, len(ks)) float64.

    The 0-th neighbour is the vector itself.
    """
    blocks = squared_distances(vectors, vectors)
    return np.concatenate([np.partition(block, ks, axis=1)[:, ks] for block in blocks])


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of rows of the matrix of |a_i - b_j|^2, (up to BLOCK, len(b)) float64."""
    squares = (b**2).sum(1)
    for start in range(0, len(a), BLOCK):
        rows = a[start : start + BLOCK]
        block = (rows**2).sum(1)[:, None] + squares - 2 * rows @ b.T
        if a is b:  # a vector's distance to itself is 0, whatever rounding says
            block[np.arange(len(rows)), start + np.arange(len(rows))] = 0
        yield np.maximum(block, 0, out=block)


@lru_cache(maxsize=4)  # the sets of a job and most metrics have the same reference
def _reach(features: Features, count: int) -> np.ndarray:
    return radii(_vectors(features)[:count], [1, PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS])


def _vectors(features: Features) -> np.ndarray:
    return features.vectors.astype(np.float64)
