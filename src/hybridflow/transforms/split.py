"""The transition between scales: squeeze, then score and drop half of the channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.noise import standard_normal_log_prob
from hybridflow.transforms.squeeze import Squeeze


class Transition(nn.Module):
    """Squeezes 2x2 and leaves the second half of the channels to a standard normal.

    Shape:
        x: (N, C, H, W); z: (N, 2C, H/2, W/2); log_prob: (N,), nats, of the dropped half.
    """

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = Squeeze()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, _ = self.squeeze(x)
        z, dropped = z.chunk(2, dim=1)
        return z, standard_normal_log_prob(dropped)

    def inverse(self, z: Tensor, dropped: Tensor) -> Tensor:
        """Args: z and dropped, each (N, 2C, H/2, W/2); dropped is a draw from N(0, I)."""
        return self.squeeze.inverse(torch.cat((z, dropped), dim=1))
