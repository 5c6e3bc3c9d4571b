"""Differentiable augmentation of what a discriminator sees, real and generated."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from hybridflow.runtime.noise import Noise

DRAWS = 7
"""Uniform numbers that one image takes, whatever is switched on: one change leaves the others as they were."""


def augmentation_draws(count: int, noise: Noise) -> Tensor:
    """(count, 7), uniform in [0, 1]: one row an image."""
    return torch.special.ndtr(noise((count, DRAWS)))


def augment_differentiably(images: Tensor, policies: Collection[str], draws: Tensor) -> Tensor:
    """Colour, translation and cutout, in this order (DiffAugment, arXiv 2006.10738, section 3).

    - color: brightness + U(-1/2, 1/2), then saturation times U(0, 2), then contrast times U(1/2, 3/2)
    - translation: by whole pixels, up to an eighth of the side on each axis; what enters is 0
    - cutout: a square of half the side, its centre anywhere, becomes 0

    Both players see all images so, so that the generator has no reason to draw what the augmentation made. Twice
    differentiable.

    Args:
        images: (N, C, H, W) in [-1, 1].
        policies: which of the three.
        draws: (N, 7), see :func:`augmentation_draws`.
    """
    u = draws.to(images.dtype).unbind(1)
    if "color" in policies:
        images = _color(images, *u[:3])
    if "translation" in policies:
        images = _translate(images, *u[3:5])
    if "cutout" in policies:
        images = _cut_out(images, *u[5:])
    return images


def _color(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    images = images + (brightness - 0.5)[:, None, None, None]
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, (2 * saturation)[:, None, None, None])
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, (contrast + 0.5)[:, None, None, None])


def _translate(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """One matrix product an axis: row i of the matrix picks the source of pixel i, or nothing beyond the border."""

    def matrix(draws: Tensor, size: int) -> Tensor:
        reach = round(size / 8)
        shift = _integers(draws, -reach, reach)
        pixels = torch.arange(size, device=images.device)
        return (pixels[:, None] - shift[:, None, None] == pixels).to(images.dtype)  # (N, to, from)

    rows, columns = matrix(down, images.shape[2]), matrix(right, images.shape[3])
    return rows[:, None] @ images @ columns[:, None].mT


def _cut_out(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    def inside(draws: Tensor, size: int) -> Tensor:
        distance = torch.arange(size, device=images.device) - _integers(draws, 0, size)[:, None]
        half = size // 4
        return (distance >= -half) & (distance < half)  # (N, size)

    square = inside(row, images.shape[2])[:, :, None] & inside(column, images.shape[3])[:, None]
    return images.masked_fill(square[:, None], 0)


def _integers(draws: Tensor, low: int, high: int) -> Tensor:
    """Whole numbers from ``low`` to ``high``, both included, for uniform draws."""
    count = high - low + 1
    return low + (draws * count).long().clamp(max=count - 1)
