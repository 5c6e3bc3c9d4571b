"""The network of DenseFlow's coupling layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.models.layers.batchnorm import BatchNorm2d
from hybridflow.models.layers.dense import DenseNet, zero_conv1x1
from hybridflow.models.layers.nystrom import NystromAttention
from hybridflow.models.layers.pointwise import PointwiseConv


class TwoBranchBlock(nn.Module):
    """Attention beside a dense net; both are normalised together and mixed (DenseFlow, arXiv 2106.04627, fig. 3).

    Shape:
        (N, m, H, W) -> (N, m, H, W).
    """

    def __init__(self, channels: int, depth: int, growth: int, *, attention: bool, batch_norm: bool) -> None:
        super().__init__()
        self.dense = DenseNet(channels, channels, depth, growth)
        self.attention = NystromAttention(channels) if attention else None
        branches = 2 * channels if attention else channels
        self.norm = BatchNorm2d(branches) if batch_norm else nn.Identity()
        self.mix = PointwiseConv(branches, channels, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        out = self.dense(h)
        if self.attention is not None:
            out = torch.cat((self.attention(h), out), dim=1)
        return self.mix(torch.relu(self.norm(out)))


class CouplingNet(nn.Module):
    """conv1x1, two-branch block, conv1x1 from zero.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        depth: int,
        growth: int,
        *,
        attention: bool = True,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.input = PointwiseConv(in_channels, mid_channels)
        self.block = TwoBranchBlock(mid_channels, depth, growth, attention=attention, batch_norm=batch_norm)
        self.output = zero_conv1x1(mid_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.block(self.input(x)))
