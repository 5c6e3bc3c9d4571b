"""The network of RealNVP's coupling layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.models.layers.batchnorm import BatchNorm2d
from hybridflow.models.layers.weight_norm import WeightNormConv2d


class PreactivationBlock(nn.Module):
    """h + conv3x3(ReLU(BN(conv3x3(ReLU(BN(h)))))) (He et al., arXiv 1603.05027), weight-normalised.

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = BatchNorm2d(channels)
        self.conv1 = WeightNormConv2d(channels, channels, 3, bias=False)
        self.norm2 = BatchNorm2d(channels)
        self.conv2 = WeightNormConv2d(channels, channels, 3)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(h))))))


class SkipNet(nn.Module):
    """Residual blocks, each of which also adds to the output (RealNVP, arXiv 1605.08803, section 4.1).

    h = BN(x), cat(h, -h), ReLU, conv3x3; then blocks. A 1x1 convolution of the first h and of every block's output
    joins a sum, and BN, ReLU, conv1x1 of the sum are the output. All convolutions are weight-normalised.

    Args:
        in_channels, out_channels, width, blocks: sizes.
        gain: of the normalised input; 2 where half of the input is masked, so that the rest keeps its weight.
    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, blocks: int, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.input_norm = BatchNorm2d(in_channels)
        self.input = WeightNormConv2d(2 * in_channels, width, 3)
        self.blocks = nn.ModuleList(PreactivationBlock(width) for _ in range(blocks))
        self.skips = nn.ModuleList(WeightNormConv2d(width, width, 1) for _ in range(blocks + 1))
        self.output_norm = BatchNorm2d(width)
        self.output = WeightNormConv2d(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.gain * self.input_norm(x)
        h = self.input(torch.relu(torch.cat((h, -h), dim=1)))
        total = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            h = block(h)
            total = total + skip(h)
        return self.output(torch.relu(self.output_norm(total)))
