"""The corruptions that give FD-CIFAR a scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hybridflow.evaluation.calibration import CORRUPTIONS, add_noise, blur, measure_floor, measure_ruler
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


class Pixels:
    """Features that are easy to check: the mean of every quarter of an image."""

    name, dimensions = "pixels", 12

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images.float(), 16).flatten(1)


def test_the_ruler_measures_what_it_names(images: np.ndarray) -> None:
    moments = compute_moments(images, Pixels(), 16, "cpu", "test")
    ruler = measure_ruler(images, moments, moments, Pixels(), 16, torch.device("cpu"))
    unchanged, noise, averaged = ruler.values()
    assert list(ruler)[1:] == list(CORRUPTIONS)
    assert unchanged == pytest.approx(0, abs=1e-6)
    assert averaged < 1  # the mean of a quarter survives the averaging
    assert noise > averaged  # clamping moves dark and bright images


def test_the_floor_is_that_of_as_many_images(images: np.ndarray) -> None:
    train = compute_moments(images, Pixels(), 16, "cpu", "test")
    count, floor = measure_floor(images, 20, train, Pixels(), 16, torch.device("cpu"))
    assert count == 20
    assert floor == frechet_distance(compute_moments(images[:20], Pixels(), 16, "cpu", "test"), train)
    assert floor > 1
    assert measure_floor(images, 1000, train, Pixels(), 16, torch.device("cpu")) == (64, pytest.approx(0, abs=1e-6))
