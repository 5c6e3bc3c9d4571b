"""What the metrics say of images whose quality is known: a scale for distances of arbitrary unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.metrics import Metric
from hybridflow.evaluation.extractors.base import Extractor, compute_features
from hybridflow.evaluation.metrics.features import Features, evaluate
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
AS_THEY_ARE = "test images as they are"
AS_MANY = "test images, as many as a set of samples"


class _Corrupted:
    """An extractor that sees every image through a corruption."""

    def __init__(self, extractor: Extractor, corrupt: Callable[[Tensor, int], Tensor]) -> None:
        self.extractor, self.corrupt, self.seen = extractor, corrupt, 0

    def __call__(self, images: Tensor) -> Tensor:
        corrupted = self.corrupt(images, self.seen)
        self.seen += len(images)
        return self.extractor(corrupted)


def calibrate(
    metrics: Sequence[Metric],
    images: np.ndarray,
    count: int,
    train: Features,
    extractor: Extractor,
    batch_size: int,
    device: torch.device,
    keep: int = 0,
) -> list[dict[str, Any]]:
    """Metrics against the training images: of test images, of as many as a set of samples has, of corrupted ones.

    A distance is biased: of fewer images it is larger, even if they are real. What a perfect model would get is the
    value of as many test images.

    Args:
        metrics: of one extractor, each compared with the training split.
        images: test split, (N, 3, H, W) uint8.
        count: images of a set of samples.
        train: the training images' features.
        keep: feature vectors of a set, of metrics that need them.

    Returns:
        One row a kind of images: ``images`` (a description), ``count``, ``reference_count``, and each metric's value.
    """

    def row(name: str, chosen: np.ndarray, see: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        features = compute_features(chosen, see, batch_size, device, f"calibration, {name}", keep)
        values = {metric.name: evaluate(metric, features, train) for metric in metrics}
        return {"images": name, "count": len(chosen), "reference_count": train.moments.count, **values}

    rows = [row(AS_THEY_ARE, images, extractor)]
    if count < len(images):
        rows.append(row(AS_MANY, images[:count], extractor))
    return rows + [row(name, images, _Corrupted(extractor, corrupt)) for name, corrupt in CORRUPTIONS.items()]
