"""The transition between scales: squeeze, then drop half of the channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.models.transforms.squeeze import Squeeze


class Transition(nn.Module):
    """Squeezes 2x2 and leaves the second half of the channels to a standard normal.

    Shape:
        x: (N, C, H, W); z and the dropped half: (N, 2C, H/2, W/2) each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = Squeeze()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, _ = self.squeeze(x)
        return z.chunk(2, dim=1)

    def inverse(self, z: Tensor, dropped: Tensor) -> Tensor:
        """Args: z and dropped, each (N, 2C, H/2, W/2); dropped is a draw from N(0, I)."""
        return self.squeeze.inverse(torch.cat((z, dropped), dim=1))
