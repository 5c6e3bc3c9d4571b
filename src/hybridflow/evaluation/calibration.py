"""What FD-CIFAR says of images whose quality is known: a ruler for a distance of arbitrary scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hybridflow.evaluation.extractors.base import Extractor, compute_moments
from hybridflow.evaluation.metrics.frechet import Moments, frechet_distance
from hybridflow.runtime.seeding import derive_seed

NOISE = 25  # standard deviation, in levels
BLUR = 4  # side of the averaged square, in pixels


def add_noise(images: Tensor, first: int) -> Tensor:
    """Gaussian noise of standard deviation 25 levels, rounded and clamped.

    Args:
        images: (N, 3, H, W) uint8.
        first: index of the first image, which the noise's seed depends on.
    """
    generator = torch.Generator().manual_seed(derive_seed("ruler", first))
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return (images + NOISE * noise).round().clamp(0, 255).to(torch.uint8)


def blur(images: Tensor, first: int = 0) -> Tensor:
    """Every 4x4 square replaced by its mean: detail is lost, colours and layout stay.

    Args:
        images: (N, 3, H, W) uint8.
    """
    small = torch.nn.functional.avg_pool2d(images.float(), BLUR)
    return small.repeat_interleave(BLUR, 2).repeat_interleave(BLUR, 3).round().to(torch.uint8)


CORRUPTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    f"test images with noise (σ = {NOISE} levels)": add_noise,
    f"test images averaged over {BLUR}×{BLUR} pixels": blur,
}


RULER_COLUMNS = ("images", "count", "reference_count", "fd_cifar")  # of ruler.csv


class _Corrupted:
    """An extractor that sees every image through a corruption."""

    def __init__(self, extractor: Extractor, corrupt: Callable[[Tensor, int], Tensor]) -> None:
        self.extractor, self.corrupt, self.seen = extractor, corrupt, 0
        self.name, self.dimensions = extractor.name, extractor.dimensions

    def __call__(self, images: Tensor) -> Tensor:
        corrupted = self.corrupt(images, self.seen)
        self.seen += len(images)
        return self.extractor(corrupted)


def measure_ruler(
    images: np.ndarray, train: Moments, test: Moments, extractor: Extractor, batch_size: int, device: torch.device
) -> dict[str, float]:
    """FD-CIFAR against the training images: of the test images, and of corrupted test images.

    Args:
        images: test split, (N, 3, H, W) uint8.
        train, test: moments of both splits' features.

    Returns:
        A description of the images: their distance.
    """
    result = {"test images as they are": frechet_distance(test, train)}
    for name, corrupt in CORRUPTIONS.items():
        seen = _Corrupted(extractor, corrupt)
        result[name] = frechet_distance(compute_moments(images, seen, batch_size, device, f"ruler, {name}"), train)
    return result


def measure_floor(
    images: np.ndarray, count: int, train: Moments, extractor: Extractor, batch_size: int, device: torch.device
) -> tuple[int, float]:
    """FD-CIFAR of as many test images as a set of samples has: what a perfect model would get at that number.

    The distance is biased: of fewer images it is larger, even if they are real.

    Args:
        images: test split, (N, 3, H, W) uint8; its first ``count`` images are used, or all if there are fewer.
        train: moments of the training images' features.

    Returns:
        The number of images and their distance.
    """
    chosen = images[:count]
    moments = compute_moments(chosen, extractor, batch_size, device, "ruler, as many test images as samples")
    return len(chosen), frechet_distance(moments, train)
