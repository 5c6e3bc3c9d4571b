"""Cross-unit coupling: noise channels conditioned on what the earlier units saw."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.models.layers.compiling import OwnsNetwork
from hybridflow.models.layers.precision import run_network
from hybridflow.models.transforms.coupling import bounded_log_scale
from hybridflow.runtime.noise import Noise, standard_normal_log_prob


class Augment(OwnsNetwork, nn.Module):
    """Appends noise channels, scaled and shifted by the history (DenseFlow, arXiv 2106.04627, section 3.1).

    eta = mu + exp(log_sigma) * e with e ~ N(0, I) and (mu, log_sigma) computed from the history;
    log_weight = sum(log_sigma) - ln N(e; 0, I), the change of a lower bound on the likelihood.

    Args:
        history_channels: channels of all inputs of earlier units together.
        growth_rate: number of noise channels.
    Shape:
        x: (N, C, H, W); history: (N, history_channels, H, W); z: (N, C + growth_rate, H, W);
        log_weight: (N,), nats.
    """

    def __init__(self, history_channels: int, growth_rate: int) -> None:
        super().__init__()
        self.growth_rate = growth_rate
        self.net = nn.Sequential(
            nn.Conv2d(history_channels, 4 * history_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * history_channels, 2 * growth_rate, 1),
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x: Tensor, history: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        mu, s = run_network(self.net, history).chunk(2, dim=1)
        log_sigma = bounded_log_scale(s)
        e = noise(mu.shape)
        eta = mu + torch.exp(log_sigma) * e
        log_weight = log_sigma.flatten(1).sum(1) - standard_normal_log_prob(e)
        return torch.cat((x, eta), dim=1), log_weight

    def inverse(self, z: Tensor) -> Tensor:
        return z[:, : -self.growth_rate]
