"""The Inception score: torch-fidelity's, closed cases, and its error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

from hybridflow.evaluation.metrics.features import Features
from hybridflow.evaluation.metrics.frechet import Moments
from hybridflow.evaluation.metrics.inception_score import inception_score

NONE = Features(Moments(0, np.zeros(1), np.zeros((1, 1))), np.empty((0, 0), np.float16))


def features(vectors: np.ndarray, head: np.ndarray) -> Features:
    return Features(NONE.moments, vectors.astype(np.float16), head)


def test_that_of_torch_fidelity() -> None:
    rng = np.random.default_rng(0)
    generated = features(rng.random((300, 32)), rng.standard_normal((1008, 32)).astype(np.float32))
    logits = torch.from_numpy(generated.vectors.astype(np.float64) @ generated.head.T.astype(np.float64))
    expected = isc_features_to_metric(logits, splits=1, shuffle=False)[KEY_METRIC_ISC_MEAN]
    assert inception_score(generated, NONE).value == pytest.approx(expected, rel=1e-6)


def test_sure_of_every_class_alike() -> None:
    found = inception_score(features(np.repeat(np.eye(8), 25, axis=0), 200.0 * np.eye(8)), NONE)
    assert found.value == pytest.approx(8)
    assert found.standard_error == pytest.approx(0, abs=1e-9)
    assert inception_score(features(np.ones((40, 8)), np.eye(8)), NONE).value == pytest.approx(1)


def test_its_error_is_that_of_other_samples() -> None:
    rng, head = np.random.default_rng(1), np.random.default_rng(2).standard_normal((20, 16))
    found = [inception_score(features(rng.random((400, 16)) * 2, head), NONE) for _ in range(300)]
    spread = np.std([estimate.value for estimate in found])
    assert np.mean([estimate.standard_error for estimate in found]) == pytest.approx(spread, rel=0.15)
