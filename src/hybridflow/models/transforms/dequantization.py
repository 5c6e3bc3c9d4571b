"""From integer pixels to the unit interval, and back."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.models.layers.compiling import OwnsNetwork
from hybridflow.models.layers.dense import ContextNet, ResidualDenseNet
from hybridflow.models.layers.precision import run_network
from hybridflow.models.transforms.base import StochasticTransform
from hybridflow.models.transforms.conv1x1 import InvertibleConv1x1
from hybridflow.models.transforms.coupling import scale_and_shift
from hybridflow.runtime.noise import Noise, standard_normal_log_prob

LEVELS = 256


def quantise(y: Tensor) -> Tensor:
    """The integer image of a continuous one: floor(256 y), clamped to 0..255, as uint8."""
    return torch.floor(LEVELS * y).clamp(0, LEVELS - 1).to(torch.uint8)


class UniformDequantization(StochasticTransform):
    """y = (x + u) / 256 with u uniform on (0, 1) (Theis et al., arXiv 1511.01844).

    The uniform is the normal distribution function of a standard-normal draw, so that all noise of
    a flow has one source.

    Shape:
        x: (N, C, H, W), integers 0..255; y: the same shape, in (0, 1); log_weight: (N,), nats.
    """

    def forward(self, x: Tensor, noise: Noise, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        e = noise(x.shape)
        y = (x + torch.special.ndtr(e)) / LEVELS
        return y, y.new_full((x.shape[0],), -x[0].numel() * math.log(LEVELS))

    def inverse(self, z: Tensor) -> Tensor:
        """The continuous image; :func:`quantise` makes it an integer one."""
        return z


class ConditionalCoupling(OwnsNetwork, nn.Module):
    """Affine coupling whose network also sees a context (no normalisation, no swap).

    Shape:
        x, z: (N, C, H, W); context: (N, K, H, W); log_det: (N,), nats.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x.chunk(2, dim=1)
        log_scale, t = scale_and_shift(run_network(self.net, torch.cat((x1, context), dim=1)))
        return torch.cat((x1, t + torch.exp(log_scale) * x2), dim=1), log_scale.flatten(1).sum(1)


class VariationalDequantization(StochasticTransform):
    """y = (x + u) / 256 with u drawn from a flow conditioned on x (Flow++, arXiv 1902.00275, eq. 12).

    e ~ N(loc, exp(log_scale)) passes ``steps`` times a 1x1 convolution and a conditional coupling, a last
    1x1 convolution, the inverse squeeze and a sigmoid. log_weight = -D ln 256 - ln q(u|x).

    Shape:
        x: (N, 3, H, W), integers 0..255; y: the same shape, in (0, 1); log_weight: (N,), nats.
    """

    def __init__(
        self, *, steps: int, mid_channels: int, context_channels: int, depth: int, growth: int, channels: int = 3
    ) -> None:
        super().__init__()
        squeezed = 4 * channels
        self.context = ContextNet(channels, mid_channels, context_channels)
        self.loc = nn.Parameter(torch.zeros(1, squeezed, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(1, squeezed, 1, 1))
        self.convolutions = nn.ModuleList(InvertibleConv1x1(squeezed) for _ in range(steps + 1))
        self.couplings = nn.ModuleList(
            ConditionalCoupling(
                ResidualDenseNet(squeezed // 2 + context_channels, squeezed, mid_channels, depth, growth)
            )
            for _ in range(steps)
        )

    def features(self, x: Tensor) -> Tensor:
        """What u is conditioned on: (N, 3, H, W) -> (N, context_channels, H/2, W/2)."""
        return run_network(self.context, 2 * x / (LEVELS - 1) - 1)

    def forward(self, x: Tensor, noise: Noise, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        context = self.features(x) if features is None else features
        draw = noise((x.shape[0], self.loc.shape[1], x.shape[2] // 2, x.shape[3] // 2))
        v = self.loc + torch.exp(self.log_scale) * draw
        pixels = v.shape[2] * v.shape[3]
        log_q = standard_normal_log_prob(draw) - pixels * self.log_scale.sum()
        for convolution, coupling in zip(self.convolutions, self.couplings, strict=False):
            v, log_det = convolution(v)
            log_q = log_q - log_det
            v, log_det = coupling(v, context)
            log_q = log_q - log_det
        v, log_det = self.convolutions[-1](v)
        log_q = log_q - log_det
        v = F.pixel_shuffle(v, 2)  # (N, 3, H, W)
        log_q = log_q - (F.logsigmoid(v) + F.logsigmoid(-v)).flatten(1).sum(1)
        y = (x + torch.sigmoid(v)) / LEVELS
        return y, -x[0].numel() * math.log(LEVELS) - log_q

    def inverse(self, z: Tensor) -> Tensor:
        """The continuous image; :func:`quantise` makes it an integer one."""
        return z
