"""Corruptions of images, in steps of growing strength: what a metric should see."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hybridflow.runtime.seeding import derive_seed


def add_noise(images: Tensor, first: int, deviation: float) -> Tensor:
    """Gaussian noise, rounded and clamped.

    Args:
        images: (N, 3, H, W) uint8.
        first: index of the first; the noise of an image depends on its index, not on the batch.
        deviation: in levels.
    """
    generators = (torch.Generator().manual_seed(derive_seed("ruler", first + i)) for i in range(len(images)))
    noise = torch.stack([torch.randn(images.shape[1:], generator=generator) for generator in generators])
    return (images + deviation * noise.to(images.device)).round().clamp(0, 255).to(torch.uint8)


def average(images: Tensor, first: int, side: int) -> Tensor:
    """Every square replaced by its mean: detail is lost, colours and layout stay.

    Args:
        images: (N, 3, H, W) uint8, H and W multiples of ``side``.
        side: of a square, in pixels.
    """
    small = torch.nn.functional.avg_pool2d(images.float(), side)
    return small.repeat_interleave(side, 2).repeat_interleave(side, 3).round().to(torch.uint8)


def compress(images: Tensor, first: int, quality: int) -> Tensor:
    """Each image written as JPEG, with Pillow's usual halving of the colours' resolution, and read again.

    Args:
        images: (N, 3, H, W) uint8.
        quality: 1 to 95.
    """
    found = []
    for image in images.permute(0, 2, 3, 1).cpu().numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        found.append(np.asarray(Image.open(buffer)))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).to(images.device)


@dataclass(frozen=True)
class Corruption:
    """One step of the ladder.

    Attributes:
        kind: ``noise``, ``average`` or ``jpeg``.
        strength: standard deviation in levels; side of the squares in pixels; quality, of which less is worse.
        label: what a figure says of it.
        name: what a table says of it.
        apply: called with images, (N, 3, H, W) uint8, and the index of the first.
    """

    kind: str
    strength: int
    label: str
    name: str
    apply: Callable[[Tensor, int], Tensor]


LADDER = (
    *(
        Corruption("noise", s, f"σ {s}", f"test images with noise (σ = {s} levels)", partial(add_noise, deviation=s))
        for s in (5, 10, 25, 50)
    ),
    *(
        Corruption("average", s, f"{s}×{s}", f"test images averaged over {s}×{s} pixels", partial(average, side=s))
        for s in (2, 4)
    ),
    *(
        Corruption("jpeg", s, f"JPEG {s}", f"test images as JPEG of quality {s}", partial(compress, quality=s))
        for s in (75, 40, 15)
    ),
)
"""All of them, the strength of each kind rising."""
