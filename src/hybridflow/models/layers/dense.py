"""Densely connected convolutions (DenseNet, arXiv 1608.06993) as DenseFlow uses them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.models.layers.dense_buffer import dense_layers
from hybridflow.models.layers.pointwise import PointwiseConv


def zero_conv1x1(in_channels: int, out_channels: int) -> PointwiseConv:
    """A 1x1 convolution whose output starts at zero: the transform it feeds starts as the identity."""
    conv = PointwiseConv(in_channels, out_channels)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


class DenseLayer(nn.Module):
    """Parameters of conv1x1, ReLU, conv3x3, ReLU.

    :func:`~hybridflow.models.layers.dense_buffer.dense_layers` computes them.
    """

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.nn = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, growth, 3, padding=1),
            nn.ReLU(),
        )


class GatedConv1x1(nn.Module):
    """a + b * sigmoid(c), where (a, b, c) are three outputs of one 1x1 convolution.

    Shape:
        (N, C, H, W) -> (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = PointwiseConv(in_channels, 3 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.conv(x).chunk(3, dim=1)
        return a + b * torch.sigmoid(c)


class DenseNet(nn.Sequential):
    """``depth`` dense layers and a gated 1x1 convolution.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int, growth: int) -> None:
        layers = [DenseLayer(in_channels + j * growth, growth) for j in range(depth)]
        super().__init__(*layers, GatedConv1x1(in_channels + depth * growth, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        *layers, gate = self
        return gate(dense_layers(x, [parameter for layer in layers for parameter in layer.parameters()]))


class ResidualDenseNet(nn.Module):
    """conv1x1, h + dense(h), conv1x1 from zero: the network of the dequantization's couplings.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, mid_channels: int, depth: int, growth: int) -> None:
        super().__init__()
        self.input = PointwiseConv(in_channels, mid_channels)
        self.dense = DenseNet(mid_channels, mid_channels, depth, growth)
        self.output = zero_conv1x1(mid_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.input(x)
        return self.output(h + self.dense(h))


class ContextNet(nn.Sequential):
    """Features of an image at half its resolution, for the dequantization.

    Depth 4 and growth 16 are fixed in the published model, whatever the flow's sizes.

    Shape:
        (N, channels, H, W) -> (N, context_channels, H/2, W/2).
    """

    def __init__(self, channels: int, mid_channels: int, context_channels: int) -> None:
        super().__init__(
            DenseNet(channels, mid_channels, depth=4, growth=16),
            nn.Conv2d(mid_channels, mid_channels, 2, stride=2),
            DenseNet(mid_channels, context_channels, depth=4, growth=16),
        )
