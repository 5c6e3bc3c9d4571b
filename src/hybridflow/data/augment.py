"""Random flips and small translations of training images."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridflow.config.training import AugmentationSettings


def augment(images: Tensor, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Flip, edge padding, translation by whole pixels and centre crop, each image on its own.

    The published recipe of DenseFlow (arXiv 2106.04627): a horizontal flip with probability 1/2,
    ``pad`` replicated pixels on each side, a translation by round(uniform(-t*S, t*S)) pixels along
    each axis, where S is the padded side and t is ``translate``, and a centre crop to the old size.
    Where a shift exceeds the padding the edge pixels are replicated further.

    Three numbers are drawn for every image whatever the settings are, so that switching one
    change off leaves the others as they were.

    Args:
        images: uint8 (N, C, H, W); not modified.
        settings: what to do.
        generator: on any device; its draws follow the images to theirs.

    Returns:
        A new uint8 tensor (N, C, H, W) on the images' device.
    """
    count, channels, height, width = images.shape
    device = images.device
    draws = torch.rand(count, 3, generator=generator, device=generator.device).to(device, non_blocking=True)
    # Padding by replication, shifting and cropping is one look-up with clamped coordinates:
    # output pixel i is input pixel clamp(i - shift, 0, size - 1).
    rows = _source_pixels(draws[:, 0], height, settings)
    columns = _source_pixels(draws[:, 1], width, settings)
    if settings.horizontal_flip:
        flipped = (draws[:, 2] < 0.5)[:, None]
        columns = torch.where(flipped, width - 1 - columns, columns)
    image = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return images[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _source_pixels(draws: Tensor, size: int, settings: AugmentationSettings) -> Tensor:
    """The coordinate each of ``size`` output pixels is taken from, (N, size) int64, for uniform draws (N,)."""
    reach = settings.translate * (size + 2 * settings.pad)
    shift = torch.round((2 * draws - 1) * reach).long()
    return (torch.arange(size, device=draws.device) - shift[:, None]).clamp(0, size - 1)
