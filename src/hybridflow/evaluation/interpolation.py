"""Images on the way from one image to another, through the latents of a flow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hybridflow.models.generators.base import Flow
from hybridflow.models.transforms.dequantization import quantise
from hybridflow.runtime.noise import GeneratorNoise


@torch.no_grad()
def interpolate(flow: Flow, first: np.ndarray, second: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """Encodes both ends and decodes ``steps`` latents on the arc between theirs; the ends are among them.

    Args:
        flow: in evaluation mode.
        first, second: (N, C, H, W) uint8.

    Returns:
        (N, steps, C, H, W) uint8.
    """
    device = next(flow.parameters()).device
    noise = GeneratorNoise(seed, device, next(flow.parameters()).dtype)
    ends = [flow.encode(torch.from_numpy(np.array(images)).to(device), noise).latents for images in (first, second)]
    decoded = [quantise(flow.decode(on_arc(*ends, share))).cpu().numpy() for share in np.linspace(0, 1, steps)]
    return np.stack(decoded, axis=1)


def on_arc(first: Sequence[Tensor], second: Sequence[Tensor], share: float) -> list[Tensor]:
    """Spherical interpolation (Shoemake 1985) of an image's latents, taken as one vector.

    sin((1 - s) w) / sin w * a + sin(s w) / sin w * b,   w the angle between a and b

    Unlike a straight line it keeps the length of a normal vector, which the flow has learned to decode. Parallel
    vectors have no arc: they are joined by a line.

    Args:
        first, second: tensors (N, *shape), the latents of N images.
        share: s, from 0 (the first) to 1 (the second).
    """
    a, b = (torch.cat([part.flatten(1) for part in parts], dim=1).double() for parts in (first, second))
    angle = torch.arccos(torch.cosine_similarity(a, b, dim=1).clamp(-1, 1))
    line = torch.sin(angle) < 1e-6
    safe = angle.where(~line, torch.ones_like(angle))
    from_first, from_second = (torch.where(line, s, torch.sin(s * safe) / torch.sin(safe)) for s in (1 - share, share))
    return [_rows(from_first, x) * x + _rows(from_second, y) * y for x, y in zip(first, second, strict=True)]


def _rows(weights: Tensor, like: Tensor) -> Tensor:
    """One weight an image, in the shape and type that multiplies ``like``."""
    return weights.to(like).reshape(-1, *[1] * (like.ndim - 1))
