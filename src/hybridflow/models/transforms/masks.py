"""RealNVP's couplings: checkerboards and channel halves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.models.layers.compiling import OwnsNetwork
from hybridflow.models.layers.precision import run_network
from hybridflow.models.layers.weight_norm import WeightNormScale
from hybridflow.models.transforms.base import Transform


def checkerboard(x: Tensor, parity: int) -> Tensor:
    """1 where row + column has the given parity (0 even, 1 odd), else 0; (H, W), like the images ``x``."""
    height, width = x.shape[-2:]
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    return ((rows[:, None] + columns) % 2 == parity).to(x.dtype)


class TanhScaleCoupling(OwnsNetwork, Transform):
    """What RealNVP's couplings share: log_scale = a tanh(r), with (r, t) the halves of the network's output.

    z = (x + t) exp(log_scale) at the changed entries,   log|det| = sum log_scale

    The paper (eq. 8) prints x exp(s) + t, which is the same family with t exp(s) for t; the order here is that of the
    authors' program.

    Args:
        net: maps what passes to twice the channels of what changes.
        changed: channels that change; each has its own factor a.
    """

    def __init__(self, net: nn.Module, changed: int) -> None:
        super().__init__()
        self.net = net
        self.scale = WeightNormScale(changed)

    def _log_scale_and_shift(self, passed: Tensor) -> tuple[Tensor, Tensor]:
        r, t = run_network(self.net, passed).chunk(2, dim=1)
        return self.scale() * torch.tanh(r), t


class CheckerboardCoupling(TanhScaleCoupling):
    """Affine coupling of the two colours of a checkerboard (RealNVP, arXiv 1605.08803, eq. 9, fig. 3 left).

    Args:
        net: maps the masked image (N, C, H, W) to (N, 2C, H, W).
        channels: C.
        parity: positions where row + column has this parity pass.
    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, net: nn.Module, channels: int, parity: int) -> None:
        super().__init__(net, channels)
        self.parity = parity

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, t = self._masked(x)
        return (x + t) * torch.exp(log_scale), log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        log_scale, t = self._masked(z)
        return z * torch.exp(-log_scale) - t

    def _masked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log-scale and shift of every entry: 0 where it passes."""
        passes = checkerboard(x, self.parity)
        log_scale, t = self._log_scale_and_shift(x * passes)
        changes = 1 - passes
        return log_scale * changes, t * changes


class ChannelCoupling(TanhScaleCoupling):
    """Affine coupling of channel halves, which keep their places (RealNVP, arXiv 1605.08803, fig. 3 right).

    Args:
        net: maps (N, C/2, H, W) to (N, C, H, W).
        channels: C, even.
        second_passes: whether the second half passes, or the first.
    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, net: nn.Module, channels: int, second_passes: bool) -> None:
        super().__init__(net, channels // 2)
        self.second_passes = second_passes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passed, changed = self._parts(x)
        log_scale, t = self._log_scale_and_shift(passed)
        return self._joined(passed, (changed + t) * torch.exp(log_scale)), log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        passed, changed = self._parts(z)
        log_scale, t = self._log_scale_and_shift(passed)
        return self._joined(passed, changed * torch.exp(-log_scale) - t)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.chunk(2, dim=1)
        return (second, first) if self.second_passes else (first, second)

    def _joined(self, passed: Tensor, changed: Tensor) -> Tensor:
        return torch.cat((changed, passed) if self.second_passes else (passed, changed), dim=1)
