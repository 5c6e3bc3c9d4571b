"""Affine coupling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.models.layers.compiling import OwnsNetwork
from hybridflow.models.layers.precision import run_network
from hybridflow.models.transforms.base import Transform


def bounded_log_scale(s: Tensor) -> Tensor:
    """2 tanh(s / 2): between -2 and 2, with slope 1 at zero; as in published DenseFlow."""
    return 2 * torch.tanh(s / 2)


def scale_and_shift(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Splits a network's output into (log_scale, shift).

    Args:
        parameters: (N, 2C, H, W); channels 2j and 2j+1 belong to channel j.

    Returns:
        log_scale and shift, each (N, C, H, W).
    """
    s, t = parameters[:, 0::2], parameters[:, 1::2]
    return bounded_log_scale(s), t


class AffineCoupling(OwnsNetwork, Transform):
    """Affine coupling on channel halves (RealNVP, arXiv 1605.08803, eq. 7-8).

    z1 = x1,   z2 = exp(log_scale(x1)) * x2 + t(x1),   log|det| = sum log_scale(x1)

    Args:
        net: maps (N, C1, H, W) to (N, 2*C2, H, W) with C1 = ceil(C/2), C2 = floor(C/2);
            the pair (s, t) of a channel is adjacent.
    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x.chunk(2, dim=1)
        log_scale, t = self._scale_and_shift(x1)
        z2 = t + torch.exp(log_scale) * x2
        return torch.cat((x1, z2), dim=1), log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        z1, z2 = z.chunk(2, dim=1)
        log_scale, t = self._scale_and_shift(z1)
        x2 = (z2 - t) * torch.exp(-log_scale)
        return torch.cat((z1, x2), dim=1)

    def _scale_and_shift(self, passed: Tensor) -> tuple[Tensor, Tensor]:
        return scale_and_shift(run_network(self.net, passed))
