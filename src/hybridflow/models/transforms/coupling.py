"""Couplings on two parts of the channels: affine, with a sigmoid for its scale, and additive."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


class SigmoidCoupling(OwnsNetwork, Transform):
    """Glow's affine coupling on channel halves (arXiv 1807.03039, table 1, as published in code).

    z1 = x1,   z2 = (x2 + t(x1)) * sigmoid(r(x1) + 2),   log|det| = sum ln sigmoid(r(x1) + 2)

    The paper prints exp(log s). Here a scale is below 1, and its inverse is unbounded: samples of an affine Glow can
    overflow. At a network that returns zero, each changed entry contributes ln sigmoid(2) = -0.126928.

    Args:
        net: maps (N, C/2, H, W) to (N, C, H, W); channels 2j and 2j+1 are (t, r) of channel j.
    Shape:
        x, z: (N, C, H, W), C even; log_det: (N,), nats.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x.chunk(2, dim=1)
        t, r = self._shift_and_raw_scale(x1)
        return torch.cat((x1, (x2 + t) * torch.sigmoid(r)), dim=1), F.logsigmoid(r).flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        z1, z2 = z.chunk(2, dim=1)
        t, r = self._shift_and_raw_scale(z1)
        return torch.cat((z1, z2 / torch.sigmoid(r) - t), dim=1)

    def _shift_and_raw_scale(self, passed: Tensor) -> tuple[Tensor, Tensor]:
        h = run_network(self.net, passed)
        return h[:, 0::2], h[:, 1::2] + 2


class AdditiveCoupling(OwnsNetwork, Transform):
    """Additive coupling: the changed channels are shifted (NICE, arXiv 1410.8516, section 3.2).

    z[passed] = x[passed],   z[changed] = x[changed] + net(x[passed]),   log|det| = 0

    Args:
        net: maps the passed channels to as many values as there are changed ones.
        passed, changed: two slices that together take every channel once.
    Shape:
        x, z: (N, C, H, W); log_det: zeros (N,).
    """

    def __init__(self, net: nn.Module, passed: slice, changed: slice) -> None:
        super().__init__()
        self.net, self.passed, self.changed = net, passed, changed

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._shifted(x, 1), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return self._shifted(z, -1)

    def _shifted(self, x: Tensor, sign: int) -> Tensor:
        out = x.clone()
        out[:, self.changed] += sign * run_network(self.net, x[:, self.passed])
        return out
