"""The corruptions that give a distance a scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.calibration import AS_MANY, AS_THEY_ARE, CORRUPTIONS, add_noise, blur, calibrate
from hybridflow.evaluation.extractors.base import compute_moments
from hybridflow.evaluation.metrics.frechet import frechet_distance


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    with np.load(Path(__file__).parents[1] / "data" / "cifar10_64.npz") as file:
        return file["images"]


def test_noise_has_its_deviation_and_its_seed() -> None:
    grey = torch.full((8, 3, 32, 32), 128, dtype=torch.uint8)
    noisy = add_noise(grey, 0)
    assert noisy.dtype == torch.uint8
    assert float((noisy.float() - 128).std()) == pytest.approx(25, rel=0.02)
    assert torch.equal(noisy, add_noise(grey, 0))
    assert not torch.equal(noisy, add_noise(grey, 8))


def test_blur_averages_squares(images: np.ndarray) -> None:
    blurred = blur(torch.from_numpy(images[:2]))
    square = images[0, 1, 4:8, 8:12].astype(float).mean()
    assert float(blurred[0, 1, 5, 10]) == pytest.approx(square, abs=0.51)
    assert torch.equal(blurred[:, :, ::4].repeat_interleave(4, 2), blurred)


def pixels(images: torch.Tensor) -> torch.Tensor:
    """Features that are easy to check: the mean of every quarter of an image."""
    return torch.nn.functional.avg_pool2d(images.float(), 16).flatten(1)


def test_the_rows_are_what_they_name(images: np.ndarray) -> None:
    train = compute_moments(images, pixels, 16, "cpu", "test")
    few, many = (
        calibrate([METRICS["fd_cifar"]], images, count, train, pixels, 16, torch.device("cpu")) for count in (20, 64)
    )
    assert [row["images"] for row in few] == [AS_THEY_ARE, AS_MANY, *CORRUPTIONS]
    assert [row["images"] for row in many] == [AS_THEY_ARE, *CORRUPTIONS]
    unchanged, fewer, noise, averaged = (row["fd_cifar"] for row in few)
    assert unchanged == pytest.approx(0, abs=1e-6)
    assert fewer == frechet_distance(compute_moments(images[:20], pixels, 16, "cpu", "test"), train) > 1
    assert averaged < 1  # the mean of a quarter survives the averaging
    assert noise > averaged  # clamping moves dark and bright images
    assert [row["count"] for row in few] == [64, 20, 64, 64]
