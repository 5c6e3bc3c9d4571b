"""Priors as transforms: from the variable a prior describes to standard-normal latents.

With e = f(z) the standardised latent, ln p(z) = ln N(e; 0, I) + log|det de/dz|: a prior adds its log-determinant like
any other transform, and every latent of a flow is standard normal.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.models.layers.compiling import OwnsNetwork
from hybridflow.models.layers.precision import run_network
from hybridflow.models.layers.zero_conv import GAIN_RATE, ZeroConv2d
from hybridflow.models.transforms.base import Transform
from hybridflow.models.transforms.discretized_logistic import logistic_quantile
from hybridflow.runtime.noise import standard_normal_log_prob


class LogisticPrior(Transform):
    """Independent standard logistic variables (NICE, arXiv 1410.8516, section 3.4).

    ln p(h) = sum [-softplus(h) - softplus(-h)],   e = Phi^-1(sigmoid(h)),   h = ln Phi(e) - ln Phi(-e)

    The quantile is computed in double precision at -|h|, where sigmoid keeps its digits: exact to |h| of about 700.

    Shape:
        h, e: (N, C, H, W); log_det: (N,), nats.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        e = (-torch.sign(x) * torch.special.ndtri(torch.sigmoid(-x.abs().double()))).to(x.dtype)
        return e, logistic_log_prob(x) - standard_normal_log_prob(e)

    def inverse(self, z: Tensor) -> Tensor:
        return logistic_quantile(z)


def logistic_log_prob(h: Tensor) -> Tensor:
    """Log-density of standard logistic variables, summed over all but the first axis: (N, ...) -> (N,), nats."""
    return -(F.softplus(h) + F.softplus(-h)).flatten(1).sum(1)


class ChannelPrior(Transform):
    """Independent normal variables, one mean and scale a channel.

    e = (z - loc) exp(-log_scale),   log|det| = -H W sum(log_scale)

    Shape:
        z, e: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and log-scale, (C, 1, 1) each."""
        return self.loc, self.log_scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = self.moments()
        log_det = -(x.shape[2] * x.shape[3]) * log_scale.sum()
        return (x - loc) * torch.exp(-log_scale), log_det.expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        loc, log_scale = self.moments()
        return loc + torch.exp(log_scale) * z


class ZeroInputPrior(ChannelPrior):
    """A :class:`ChannelPrior` in the published Glow's form: a zero-convolution of an image of zeros.

    (loc, log_scale) = halves of bias * exp(3 log_gain). The convolution's weights have no effect, since their input
    is zero; they are here, without training, because published weights and parameter counts include them.

    Shape:
        z, e: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, channels: int) -> None:
        Transform.__init__(self)
        self.conv = ZeroConv2d(2 * channels, 2 * channels)
        self.conv.weight.requires_grad_(False)

    def moments(self) -> tuple[Tensor, Tensor]:
        loc, log_scale = (self.conv.bias[:, None, None] * torch.exp(GAIN_RATE * self.conv.log_gain)).chunk(2)
        return loc, log_scale


class SplitPrior(OwnsNetwork, Transform):
    """The second half of the channels is normal given the first (Glow, arXiv 1807.03039, published program).

    e1 = z1,   e2 = (z2 - mean(z1)) exp(-log_scale(z1)),   log|det| = -sum log_scale(z1)

    mean and log_scale are the even and odd channels of a zero-convolution of z1.

    Args:
        channels: C, even.
    Shape:
        z, e: (N, C, H, W), e2 standard normal under the model; log_det: (N,), nats.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = ZeroConv2d(channels // 2, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.chunk(2, dim=1)
        mean, log_scale = self._moments(first)
        e = (second - mean) * torch.exp(-log_scale)
        return torch.cat((first, e), dim=1), -log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        first, e = z.chunk(2, dim=1)
        mean, log_scale = self._moments(first)
        return torch.cat((first, mean + torch.exp(log_scale) * e), dim=1)

    def _moments(self, first: Tensor) -> tuple[Tensor, Tensor]:
        h = run_network(self.net, first)
        return h[:, 0::2], h[:, 1::2]
