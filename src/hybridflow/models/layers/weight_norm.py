"""Weight normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightNormConv2d(nn.Conv2d):
    """A convolution whose filters have a length and a direction (Salimans and Kingma, arXiv 1602.07868, eq. 2).

    w = gain * v / ||v||, the norm over all inputs of one output channel. ``weight`` is v; the gain starts as ||v||, so
    that the convolution starts as torch's own.

    Shape:
        as torch.nn.Conv2d.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        self.gain = nn.Parameter(self._norm().detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * (self.gain / self._norm()), self.bias)

    def _norm(self) -> Tensor:
        return self.weight.square().sum((1, 2, 3), keepdim=True).sqrt()


class WeightNormScale(nn.Module):
    """One number a channel, weight-normalised: a gain and the sign of its direction.

    Of a scalar, the direction v / |v| is a sign. No gradient ever moves it, so it is a parameter that does not train.

    Shape:
        (C, 1, 1), starts as ones.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.direction = nn.Parameter(torch.ones(channels, 1, 1), requires_grad=False)

    def forward(self) -> Tensor:
        return self.gain * torch.sign(self.direction)
