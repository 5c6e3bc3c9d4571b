"""From a stack of images to the moments of their features, in one pass."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hybridflow.evaluation.metrics.frechet import MomentAccumulator, Moments
from hybridflow.runtime.progress import Progress


class Extractor(Protocol):
    """Maps images to feature vectors.

    Attributes:
        name: identifies network and weights; stands beside every number that depends on them.
        dimensions: length D of a feature vector.
    """

    name: str
    dimensions: int

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 on the extractor's device -> (N, D) float32 on the same device."""
        ...


def compute_moments(
    images: np.ndarray, extractor: Extractor, batch_size: int, device: torch.device | str, label: str
) -> Moments:
    """Moments of the features of every image, float64.

    Args:
        images: (N, 3, H, W) uint8, may be memory-mapped: one batch is read at a time.
        extractor: the network; it must live on ``device``.
        batch_size: images per call of the network.
        label: what stands in front of the progress lines.

    Raises:
        ValueError: ``images`` has another shape or dtype, or fewer than two images.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 (N, 3, H, W), got {images.dtype} {images.shape}")
    accumulator = MomentAccumulator()
    with Progress(len(images), label, " images", shared=True) as progress:
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size]))  # a copy: the map is read-only
            accumulator.update(extractor(batch.to(device)).cpu().numpy())
            progress.update(len(batch))
    return accumulator.moments()
