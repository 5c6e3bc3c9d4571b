"""How exactly a flow gives images back: encode, then decode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hybridflow.models.generators.base import Flow
from hybridflow.models.transforms.dequantization import LEVELS, quantise
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.runtime.seeding import derive_seed


@dataclass(frozen=True)
class Reconstruction:
    """The error |decode(encode(x)) - y| over all values of a set of images, in levels (1/256 of the range).

    Attributes:
        images: how many.
        max_levels, mean_levels: of the continuous image, before it is rounded to levels.
        changed: share of values that come back as another level.
    """

    images: int
    max_levels: float
    mean_levels: float
    changed: float


@torch.no_grad()
def reconstruction(flow: Flow, images: np.ndarray, batch_size: int, seed: int) -> Reconstruction:
    """Measures it.

    Args:
        flow: in evaluation mode.
        images: (N, C, H, W) uint8.
        batch_size: images per pass.
        seed: of the dequantization and augmentation noise.
    """
    parameter = next(flow.parameters())
    largest, total, changed = 0.0, 0.0, 0
    for start in range(0, len(images), batch_size):
        x = torch.from_numpy(np.array(images[start : start + batch_size])).to(parameter.device)
        noise = GeneratorNoise(derive_seed(seed, "reconstruction", start), parameter.device, parameter.dtype)
        encoding = flow.encode(x, noise)
        decoded = flow.decode(encoding.latents)
        error = LEVELS * (decoded - encoding.y).abs().double()
        largest = max(largest, error.max().item())
        total += error.sum().item()
        changed += int((quantise(decoded) != x).sum())
    values = images[0].size * len(images)
    return Reconstruction(len(images), largest, total / values, changed / values)
