"""The Frechet distance with its sampling error."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from hybridflow.evaluation.metrics.features import Estimate, Features
from hybridflow.evaluation.metrics.frechet import Moments, distance_of, frechet_distance, overlap

NEGLIGIBLE = 1e-10  # of the largest eigenvalue: rounding, in directions without variance


def frechet(generated: Features, reference: Features) -> Estimate:
    """Frechet distance of all images; its error from the influence of the generated ones whose vectors are kept.

    The bootstrap is no choice here: images drawn twice make the covariance of a resample narrower, and the distance
    larger by more than its error.
    """
    if len(generated.vectors) < 2:
        return Estimate(frechet_distance(generated.moments, reference.moments))
    value, influence = frechet_influence(generated.vectors, generated.moments, reference.moments)
    return Estimate(value, value + influence, generated.moments.count)


def frechet_influence(vectors: np.ndarray, generated: Moments, reference: Moments) -> tuple[float, np.ndarray]:
    """The distance, and its influence function at vectors of the generated set: (n,) float64, of mean 0.

    With y = x − m: 2 (m − m_r)·y + y^T G y − tr(G C), where G = I − R (R^T C R)^(-1/2) R^T, C_r = R R^T, is the
    derivative of the distance by the covariance C. The mean over the
    given vectors is subtracted, which makes the last term one with it.
    """
    root, matrix = overlap(generated, reference)
    values, directions = linalg.eigh(matrix, driver="evd")
    kept = values > NEGLIGIBLE * values[-1]
    centred = vectors.astype(np.float64) - generated.mean
    turned = centred @ (root @ (directions[:, kept] * values[kept] ** -0.25))
    quadratic = (centred**2).sum(1) - (turned**2).sum(1)
    influence = 2 * centred @ (generated.mean - reference.mean) + quadratic
    return distance_of(generated, reference, values), influence - influence.mean()
