"""Space to channels, and the swap of channel parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridflow.models.transforms.base import Transform


class Squeeze(Transform):
    """2x2 space-to-channel rearrangement (RealNVP, arXiv 1605.08803, section 3.6).

    Output channel 4c + p holds position p of input channel c; positions run (0,0) (0,1) (1,0) (1,1).

    Shape:
        x: (N, C, H, W); z: (N, 4C, H/2, W/2); log_det: zeros (N,).
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(z, 2)


class SwapHalves(Transform):
    """Exchanges the two parts of the channels, so that the next coupling changes the other one.

    The first part has ceil(C/2) channels, as the coupling's pass-through part has.

    Shape:
        x, z: (N, C, H, W); log_det: zeros (N,).
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x.chunk(2, dim=1)
        return torch.cat((x2, x1), dim=1), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        second = z.shape[1] // 2
        x2, x1 = z.split((second, z.shape[1] - second), dim=1)
        return torch.cat((x1, x2), dim=1)
