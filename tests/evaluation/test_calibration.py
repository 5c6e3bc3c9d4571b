"""The corruptions that give a distance a scale."""

from __future__ import annotations

import pytest
import torch
from pictures import IMAGES

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.calibration import AS_MANY, AS_THEY_ARE, CORRUPTIONS, add_noise, blur, calibrate
from hybridflow.evaluation.extractors.base import compute_features
from hybridflow.evaluation.metrics.frechet import frechet_distance

METRICS_OF_BOTH_KINDS = [METRICS["fd_cifar"], METRICS["recall_cifar"]]


def test_noise_has_its_deviation_and_its_seed() -> None:
    grey = torch.full((8, 3, 32, 32), 128, dtype=torch.uint8)
    noisy = add_noise(grey, 0)
    assert noisy.dtype == torch.uint8
    assert float((noisy.float() - 128).std()) == pytest.approx(25, rel=0.02)
    assert torch.equal(noisy, add_noise(grey, 0))
    assert not torch.equal(noisy, add_noise(grey, 8))


def test_blur_averages_squares() -> None:
    blurred = blur(torch.from_numpy(IMAGES[:2]))
    square = IMAGES[0, 1, 4:8, 8:12].astype(float).mean()
    assert float(blurred[0, 1, 5, 10]) == pytest.approx(square, abs=0.51)
    assert torch.equal(blurred[:, :, ::4].repeat_interleave(4, 2), blurred)


def pixels(images: torch.Tensor) -> torch.Tensor:
    """Features that are easy to check: the mean of every quarter of an image."""
    return torch.nn.functional.avg_pool2d(images.float(), 16).flatten(1)


def test_the_rows_are_what_they_name() -> None:
    train = compute_features(IMAGES, pixels, 16, "cpu", "test", 64)
    few, many = (
        calibrate(METRICS_OF_BOTH_KINDS, IMAGES, count, train, pixels, 16, torch.device("cpu"), 64)
        for count in (20, 64)
    )
    assert [row["images"] for row in few] == [AS_THEY_ARE, AS_MANY, *CORRUPTIONS]
    assert [row["images"] for row in many] == [AS_THEY_ARE, *CORRUPTIONS]
    unchanged, fewer, noise, averaged = (row["fd_cifar"] for row in few)
    assert unchanged == pytest.approx(0, abs=1e-6)
    first = compute_features(IMAGES[:20], pixels, 16, "cpu", "test")
    assert fewer == frechet_distance(first.moments, train.moments) > 1
    assert averaged < 1  # the mean of a quarter survives the averaging
    assert noise > averaged  # clamping moves dark and bright images
    assert [row["count"] for row in few] == [64, 20, 64, 64]
    assert [row["recall_cifar"] for row in few[:2]] == [1, 1], "they are among the reference images"
