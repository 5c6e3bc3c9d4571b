"""Nearest-neighbour metrics against the formulas of their papers, written out, and against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from hybridflow.evaluation.metrics.features import Features
from hybridflow.evaluation.metrics.frechet import Moments
from hybridflow.evaluation.metrics.neighbours import authenticity, coverage, density, precision, radii, recall


def features(vectors: np.ndarray) -> Features:
    return Features(Moments(vectors.mean(0), np.cov(vectors.T), len(vectors)), vectors.astype(np.float16))


def draw(seed: int, count: int, shift: float = 0.0, dimensions: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions)).astype(np.float16).astype(np.float64)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(2))


def reach(x: np.ndarray, k: int) -> np.ndarray:
    return np.sort(distances(x, x), axis=1)[:, k]


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_formulas(shift: float) -> None:
    real, fake = draw(0, 300), draw(1, 300, shift)
    between = distances(real, fake)  # rows: real images
    expected = {
        precision: (between <= reach(real, 3)[:, None]).any(0).mean(),
        recall: (between <= reach(fake, 3)[None]).any(1).mean(),
        density: (between < reach(real, 5)[:, None]).sum(0).mean() / 5,
        coverage: (between.min(1) < reach(real, 5)).mean(),
        authenticity: 100 * (reach(real, 1)[between.argmin(0)] < between.min(0)).mean(),
    }
    for metric, value in expected.items():
        assert metric(features(fake), features(real)).value == pytest.approx(value, abs=1e-6), metric.__name__


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = draw(0, 100)
    whole = radii(features(real), 100, [5])[:, 0]
    monkeypatch.setattr("hybridflow.evaluation.metrics.products.BLOCK", 7)
    np.testing.assert_allclose(radii(features(real), 100, [5])[:, 0], whole, rtol=1e-12)
    np.testing.assert_allclose(whole, reach(real, 5) ** 2, rtol=1e-9)


def test_equal_distributions() -> None:
    real, fake = features(draw(0, 1500)), features(draw(1, 1500))
    expected = 1 - math.prod((1500 - i) / (3000 - i) for i in range(1, 6))  # arXiv 2002.09797, eq. 10
    assert coverage(fake, real).value == pytest.approx(expected, abs=0.015)
    assert density(fake, real).value == pytest.approx(1, abs=0.06)


def test_one_image_again_and_again_is_precise_and_recalls_nothing() -> None:
    real = draw(0, 200)
    collapsed = features(np.repeat(real[:1], 200, axis=0))
    assert precision(collapsed, features(real)).value == 1
    assert recall(collapsed, features(real)).value <= 1 / 200  # the image itself
    assert coverage(collapsed, features(real)).value < 0.1


def test_copies_are_not_authentic() -> None:
    real = draw(0, 200)
    assert authenticity(features(real[:50] + 0.002), features(real)).value == 0
    assert authenticity(features(draw(1, 50, shift=9.0)), features(real)).value == 100


def test_both_sets_are_cut_to_the_same_number() -> None:
    real, fake = draw(0, 300), draw(1, 200)
    for metric in (precision, recall, density, coverage):
        whole, cut = (metric(features(fake), features(images)) for images in (real, real[:200]))
        assert whole.value == cut.value, metric.__name__


def test_precision_and_recall_are_those_of_torch_fidelity() -> None:
    real, fake = draw(0, 300), draw(1, 300, 0.5)
    theirs = prc_features_to_metric(*(torch.from_numpy(v) for v in (fake, real)), prc_neighborhood=3, verbose=False)
    assert precision(features(fake), features(real)).value == pytest.approx(theirs[KEY_METRIC_PRECISION])
    assert recall(features(fake), features(real)).value == pytest.approx(theirs[KEY_METRIC_RECALL])


def test_the_error_of_a_share_is_that_of_a_proportion() -> None:
    found = precision(features(draw(1, 300, 0.5)), features(draw(0, 300)))
    assert found.standard_error == pytest.approx(math.sqrt(found.value * (1 - found.value) / 299))
