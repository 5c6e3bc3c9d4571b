"""KID against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from hybridflow.evaluation.metrics.features import NO_VECTORS, Features
from hybridflow.evaluation.metrics.frechet import Moments
from hybridflow.evaluation.metrics.kernel import kernel_distance

NO_MOMENTS = Moments(np.zeros(4), np.eye(4), 2)


def draw(seed: int, count: int, shift: float = 0.0) -> Features:
    vectors = np.random.default_rng(seed).normal(shift, 1, (count, 4)).astype(np.float16)
    assert vectors.shape != NO_VECTORS.shape
    return Features(NO_MOMENTS, vectors)


def test_formula() -> None:
    a, b = draw(0, 60), draw(1, 60, 0.5)
    x, y = a.vectors.astype(float), b.vectors.astype(float)
    xx, yy, xy = ((p @ q.T / 4 + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
    expected = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (60 * 59) - 2 * xy.mean()
    assert kernel_distance(a, b).value == pytest.approx(expected, rel=1e-9)
    subset = kid_features_to_metric(
        *(torch.from_numpy(v) for v in (x, y)), kid_subsets=1, kid_subset_size=60, verbose=False
    )
    assert subset[KEY_METRIC_KID_MEAN] == pytest.approx(expected, rel=1e-9)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kernel_distance(draw(0, 60), draw(1, 70, 0.5))
    monkeypatch.setattr("hybridflow.evaluation.metrics.products.BLOCK", 7)
    found = kernel_distance(draw(0, 60), draw(1, 70, 0.5))  # drawn anew: products of the same sets are kept
    np.testing.assert_allclose(found.contributions, whole.contributions, rtol=1e-9)
    assert found.contributions.mean() == pytest.approx(found.value)


def test_the_error_is_the_spread_over_sets_of_samples() -> None:
    real = draw(0, 1000)
    found = [kernel_distance(draw(seed, 200, 0.3), real) for seed in range(1, 150)]
    spread = np.std([one.value for one in found], ddof=1)
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.2)


def test_it_is_unbiased() -> None:
    real = draw(0, 2000)
    values = [kernel_distance(draw(seed, 100), real).value for seed in range(1, 7)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values)) + 0.02
    assert kernel_distance(draw(9, 100, 1.0), real).value > 1
