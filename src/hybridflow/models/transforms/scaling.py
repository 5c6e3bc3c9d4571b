"""Elementwise maps: fixed ones before a flow, and a learned scale."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.models.transforms.base import Transform


class FixedAffine(Transform):
    """z = scale * x + shift with fixed numbers,   log|det| = D ln scale.

    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.scale * x + self.shift, x.new_full((x.shape[0],), x[0].numel() * math.log(self.scale))

    def inverse(self, z: Tensor) -> Tensor:
        return (z - self.shift) / self.scale


class LogitScaling(Transform):
    """z = logit(p), p = (1 - c) / 2 + c x: from the unit interval to the real line (RealNVP, section 4.1).

    log|det| = sum [ln c - ln p - ln(1 - p)] = sum [ln c + softplus(z) + softplus(-z)]

    c < 1 keeps the logit of black and white finite. The paper prints (with alpha = 1 - c) alpha + (1 - alpha) x, which
    reaches 1; this is what its program computes.

    Args:
        constraint: c.
    Shape:
        x: (N, C, H, W), in (0, 1); z: the same shape; log_det: (N,), nats.
    """

    def __init__(self, constraint: float) -> None:
        super().__init__()
        self.constraint = constraint

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.logit((1 - self.constraint) / 2 + self.constraint * x)
        return z, (math.log(self.constraint) + F.softplus(z) + F.softplus(-z)).flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """Within -(1 - c) / 2c and 1 + (1 - c) / 2c: a little more than the unit interval."""
        return (torch.sigmoid(z) - (1 - self.constraint) / 2) / self.constraint


class LearnedScale(Transform):
    """z = exp(log_scale) * x, one factor a channel (NICE, arXiv 1410.8516, section 3.3).

    log|det| = H W sum(log_scale); log_scale starts at 0.

    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.shape[2] * x.shape[3] * self.log_scale.sum()
        return x * torch.exp(self.log_scale), log_det.expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z * torch.exp(-self.log_scale)
