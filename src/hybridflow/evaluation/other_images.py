"""What a likelihood says of images of several kinds: those of the dataset, changed ones, and made-up ones."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from hybridflow.evaluation.likelihood import image_bounds
from hybridflow.models.generators.base import LikelihoodModel


def image_kinds(train: np.ndarray, test: np.ndarray, count: int, seed: int) -> dict[str, np.ndarray]:
    """Up to ``count`` images of every kind, (n, 3, H, W) uint8.

    - train, test: the first ones of the split;
    - flipped: those of ``test``, left and right exchanged;
    - smoothed: those of ``test``, every pixel the mean of 3 x 3;
    - constant: one random colour an image;
    - noise: every level random by itself.
    """
    test, rng = np.array(test[:count]), np.random.default_rng(seed)
    colours = rng.integers(0, 256, (*test.shape[:2], 1, 1), dtype=np.uint8)
    return {
        "train": np.array(train[:count]),
        "test": test,
        "flipped": test[..., ::-1].copy(),
        "smoothed": smoothed(test),
        "constant": np.broadcast_to(colours, test.shape).copy(),
        "noise": rng.integers(0, 256, test.shape, dtype=np.uint8),
    }


def smoothed(images: np.ndarray) -> np.ndarray:
    """Every pixel the rounded mean of the 3 x 3 around it; beyond the border the outermost pixels go on."""
    return np.rint(uniform_filter(images.astype(np.float64), (1, 1, 3, 3), mode="nearest")).astype(np.uint8)


def bits_of_images(model: LikelihoodModel, images: np.ndarray, batch_size: int, seed: int) -> np.ndarray:
    """The ELBO of every image from one draw of noise, in bits/dim: (N,) float64.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W) uint8.
    """
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(images), batch_size):
        x = torch.from_numpy(images[start : start + batch_size]).to(device)
        parts.append(image_bounds(model, x, 1, seed, start)[:, 0].cpu().numpy())
    return -np.concatenate(parts) / (model.dimensions * math.log(2))
