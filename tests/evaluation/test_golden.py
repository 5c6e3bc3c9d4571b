"""Exact numbers of a tiny fixed model: they change only together with a version in config/."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import TINY_FLOW

from hybridflow.config.evaluation import LIKELIHOOD_VERSION, SAMPLING_VERSION
from hybridflow.config.extractors import CifarClassifierSettings
from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.extractors.cifar_classifier import ClassifierExtractor
from hybridflow.evaluation.extractors.cifar_network import CifarClassifier
from hybridflow.evaluation.likelihood import image_bounds
from hybridflow.evaluation.metrics.features import Features, evaluate
from hybridflow.evaluation.metrics.frechet import Moments
from hybridflow.evaluation.sampling import sample_images
from hybridflow.models.generators.base import Flow
from hybridflow.models.generators.registry import build_generator

ADVICE = "the numbers changed: raise the version beside the code, and write the new numbers here"


@pytest.fixture(scope="module")
def model() -> Flow:
    """Weights from formulas: no generator of random numbers may move them."""
    flow = build_generator(TINY_FLOW)
    with torch.no_grad():
        for index, parameter in enumerate(flow.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
            square = parameter.ndim == 2 and parameter.shape[0] == parameter.shape[1]
            wave = 0.05 * torch.sin(steps + index)
            parameter.copy_(wave + torch.eye(len(parameter)) if square else wave)
    return flow.eval()


def images() -> torch.Tensor:
    return (torch.arange(2 * 3072).reshape(2, 3, 32, 32) * 7 % 256).to(torch.uint8)


def test_samples(model: Flow) -> None:
    found = sample_images(model, range(3), seed=0, temperature=1.0, device=torch.device("cpu")).astype(int)
    expected = {1: (126.333, [[255, 155, 255, 255], [0, 152, 255, 255], [11, 255, 255, 0]])}
    mean, first = expected[SAMPLING_VERSION]
    assert found.mean() == pytest.approx(mean, abs=0.01), ADVICE
    assert np.abs(found[:, 0, 0, :4] - np.array(first)).max() <= 1, ADVICE  # rounding may differ between processors


def test_bounds(model: Flow) -> None:
    found = image_bounds(model, images(), importance_samples=3, seed=0, first=0).numpy()
    expected = {1: [[-20631.606, -20614.066], [-20593.813, -20572.958]]}
    assert found == pytest.approx(np.array(expected[LIKELIHOOD_VERSION]), rel=1e-5), ADVICE


def test_features() -> None:
    network = CifarClassifier(4)
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
            parameter.copy_(0.3 * torch.cos(steps * 0.7 + index))
    found = ClassifierExtractor(network, "cpu")(images())[:, :4].numpy()
    expected = {1: [[0.115164, 0.199031, 0.192007, 0.086023], [0.115164, 0.199031, 0.192007, 0.086023]]}
    assert found == pytest.approx(np.array(expected[CifarClassifierSettings.version]), rel=1e-4, abs=1e-6), ADVICE


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metrics(name: str) -> None:
    metric, rng = METRICS[name], np.linspace(0, 5, 60).reshape(20, 3)
    a, b = np.sin(rng * [1, 2, 3]), np.cos(rng * [3, 1, 2]) + 0.5
    head = np.arange(12).reshape(4, 3) % 5
    features = [Features(Moments(x.mean(0), np.cov(x.T), len(x)), x.astype(np.float16), head) for x in (a, b)]
    frechet = {1: 0.3414236303435789}
    expected = {
        **dict.fromkeys(("fid", "fd_imagenet", "fd_cifar", "fd_cifar_test", "fd_dinov2"), frechet),
        "inception_score": {1: 1.8664505285932056},
        "kid": {2: 0.2755667634935655},
        "fd_infinity": {1: 0.544429732778727},
        "precision": {1: 0.75},
        "recall": {1: 0.85},
        "density": {1: 0.92},
        "coverage": {1: 0.95},
        "authpct": {1: 65.0},
    }
    values = expected.get(name) or expected[name.rpartition("_")[0]]
    assert evaluate(metric, *features) == pytest.approx(values[metric.version], rel=1e-6), ADVICE
