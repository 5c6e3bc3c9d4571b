"""The Frechet distance of infinitely many samples (Chong and Forsyth, arXiv 1911.07023)."""

from __future__ import annotations

import numpy as np

from hybridflow.evaluation.metrics.features import Estimate, Features
from hybridflow.evaluation.metrics.frechet import MomentAccumulator, Moments, frechet_distance
from hybridflow.evaluation.metrics.influence import frechet_influence

SIZES = 8


def frechet_infinity(generated: Features, reference: Features) -> Estimate:
    """Intercept of the least-squares line of the distance of n samples on 1/n.

    n takes 8 values from half of the stored vectors to all of them, each a random subset; the reference is complete.
    Only the bias of the generated side goes away. Far fewer vectors than features bend the line.

    The intercept is a weighted sum of the eight distances, so an image's influence on it is the sum of its influences
    on those whose subset it is in, with the same weights.
    """
    vectors, rng = generated.vectors, np.random.default_rng(0)
    sizes = np.linspace(len(vectors) / 2, len(vectors), SIZES).astype(int)
    subsets = [np.sort(rng.permutation(len(vectors))[:size]) for size in sizes]
    moments = [_moments(vectors[subset]) for subset in subsets]
    whole, influence = frechet_influence(vectors, moments[-1], reference.moments)
    distances = [*(frechet_distance(found, reference.moments) for found in moments[:-1]), whole]
    weights = np.linalg.pinv(np.stack([np.ones(SIZES), 1 / sizes], axis=1))[0]  # of the distances in the intercept
    value = float(weights @ distances)
    shares = np.zeros(len(vectors))
    for weight, subset in zip(weights, subsets, strict=True):
        shares[subset] += weight * len(vectors) / len(subset)
    return Estimate(value, value + shares * influence)


def _moments(vectors: np.ndarray) -> Moments:
    accumulator = MomentAccumulator()
    accumulator.update(vectors)
    return accumulator.moments()
