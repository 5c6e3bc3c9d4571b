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
from hybridflow.evaluation.metrics.products import inner_products, row_blocks, squared_lengths

PRECISION_NEIGHBOURS = 3  # Kynkäänniemi et al., arXiv 1904.06991
DENSITY_NEIGHBOURS = 5  # Naeem et al., arXiv 2002.09797


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
    that. Samples unlike the data may lower it, too (test images with noise of σ = 25 levels have 56 in the classifier's
    features, undisturbed ones 70), so a low value alone does not prove copies.
    """
    between = _reach(reference, len(reference.vectors))[:, 0]
    found = [(block.argmin(1), block.min(1)) for block in _between(generated, reference)]
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
    narrow, wide = _reach(reference, count).T[1:]
    own = radii(generated, count, [PRECISION_NEIGHBOURS])[:, 0]
    fake_inside, balls, nearest = [], [], np.full(count, np.inf)
    real_inside = np.zeros(count, bool)
    for part, distances in zip(row_blocks(count), _between(generated, reference, count), strict=True):
        fake_inside.append((distances <= narrow).any(1))
        balls.append((distances < wide).sum(1))
        real_inside |= (distances <= own[part, None]).any(0)
        nearest = np.minimum(nearest, distances.min(0))
    return _Neighbours(np.concatenate(fake_inside), np.concatenate(balls), real_inside, nearest < wide)


def radii(features: Features, count: int, ks: Sequence[int]) -> np.ndarray:
    """Squared distance of each of the first ``count`` vectors to its k-th nearest neighbour among them, for every k.

    The 0-th neighbour is the vector itself.

    Returns:
        (count, len(ks)) float64.
    """
    found = []
    for part, block in zip(row_blocks(count), _between(features, features, count), strict=True):
        rows = np.arange(count)[part]
        block[rows - part.start, rows] = 0  # a vector's distance to itself, whatever rounding says
        found.append(np.partition(block, ks, axis=1)[:, ks])
    return np.concatenate(found)


def squared_distances(products: np.ndarray, lengths_a: np.ndarray, lengths_b: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of rows of the matrix of |a_i - b_j|^2, from a_i·b_j, |a_i|^2 and |b_j|^2; float64."""
    for part in row_blocks(len(products)):
        block = lengths_a[part, None] + lengths_b - 2 * products[part]
        yield np.maximum(block, 0, out=block)


@lru_cache(maxsize=4)  # the sets of a job and most metrics have the same reference
def _reach(features: Features, count: int) -> np.ndarray:
    return radii(features, count, [1, PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS])


def _between(a: Features, b: Features, count: int | None = None) -> Iterator[np.ndarray]:
    """Squared distances between the vectors of two sets, or between the first ``count`` of each."""
    products = inner_products(a, b)[:count, :count]
    return squared_distances(products, squared_lengths(a)[:count], squared_lengths(b)[:count])
