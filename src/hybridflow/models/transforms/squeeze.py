"""Space to channels, and other orders of the channels."""

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


class OrderedSqueeze(Transform):
    """The squeeze before RealNVP factors out half of the channels (arXiv 1605.08803, section 3.6, its program).

    Each of the positions (0,0) (1,1) (0,1) (1,0), in this order, with all its channels: the first half of the result is
    one colour of a checkerboard, the second half the other one.

    Shape:
        x: (N, C, H, W); z: (N, 4C, H/2, W/2); log_det: zeros (N,).
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = x.shape
        positions = F.pixel_unshuffle(x, 2).reshape(n, c, 4, h // 2, w // 2).unbind(2)
        return torch.cat([positions[p] for p in (0, 3, 1, 2)], dim=1), x.new_zeros(n)

    def inverse(self, z: Tensor) -> Tensor:
        parts = z.chunk(4, dim=1)
        return F.pixel_shuffle(torch.stack([parts[k] for k in (0, 2, 3, 1)], dim=2).flatten(1, 2), 2)


class ReverseChannels(Transform):
    """Channels in reversed order.

    Shape:
        x, z: (N, C, H, W); log_det: zeros (N,).
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(1), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z.flip(1)


class Flatten(Transform):
    """Every value its own channel, in the order of memory: channel, row, column.

    Args:
        image_shape: (C, H, W).
    Shape:
        x: (N, C, H, W); z: (N, C H W, 1, 1); log_det: zeros (N,).
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.reshape(x.shape[0], -1, 1, 1), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z.reshape(z.shape[0], *self.image_shape)
