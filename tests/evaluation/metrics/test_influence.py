"""The Frechet distance's sampling error: the influence of an image, and how it predicts the spread over sets."""

from __future__ import annotations

import numpy as np
import pytest

from hybridflow.evaluation.metrics.features import NO_VECTORS, Features
from hybridflow.evaluation.metrics.frechet import Moments, frechet_distance
from hybridflow.evaluation.metrics.influence import frechet, frechet_influence


def draw(seed: int, count: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (count, 4)) @ np.diag([1, 0.7, 1.5, 0.2])


def moments(vectors: np.ndarray) -> Moments:
    return Moments(vectors.mean(0), np.cov(vectors.T), len(vectors))


def test_influence_is_what_a_little_more_weight_on_an_image_changes() -> None:
    vectors, reference = draw(0, 200, 1.3, 0.4), moments(draw(1, 500))
    given = moments(vectors)
    value, influence = frechet_influence(vectors, given, reference)
    assert value == pytest.approx(frechet_distance(given, reference), rel=1e-12)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    for image in (0, 17, 199):
        weight = 1e-5
        centred = vectors[image] - given.mean
        moved = Moments(
            given.mean + weight * centred,
            (1 - weight) * given.covariance + weight * np.outer(centred, centred),
            given.count,
        )
        # the finite difference is not centred: its mean over images is 0 but for n / (n − 1)
        slope = (frechet_distance(moved, reference) - frechet_distance(given, reference)) / weight
        assert slope == pytest.approx(influence[image], rel=2e-2, abs=2e-2)


def test_the_error_is_the_spread_over_sets_of_samples() -> None:
    reference = moments(draw(9, 4000))
    sets = [draw(seed, 400, 1.2, 0.3) for seed in range(100, 300)]
    found = [frechet(Features(moments(vectors), vectors), Features(reference, NO_VECTORS)) for vectors in sets]
    spread = np.std([one.value for one in found], ddof=1)
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.15)


def test_vectors_of_a_part_speak_for_all_images() -> None:
    vectors, reference = draw(0, 2000, 1.3), Features(moments(draw(1, 500)), NO_VECTORS)
    whole = frechet(Features(moments(vectors), vectors), reference)
    part = frechet(Features(moments(vectors), vectors[:500]), reference)
    assert part.value == whole.value
    assert part.standard_error == pytest.approx(whole.standard_error, rel=0.15)


def test_without_vectors_there_is_no_error() -> None:
    features = Features(moments(draw(0, 50)), NO_VECTORS)
    assert frechet(features, features).standard_error is None


def test_a_direction_without_variance_is_no_trouble() -> None:
    vectors = draw(0, 100) * [1, 1, 1, 0]
    assert np.isfinite(frechet_influence(vectors, moments(vectors), moments(draw(1, 100)))[1]).all()
