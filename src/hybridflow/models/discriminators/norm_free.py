"""A residual discriminator without normalisation."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.config.adversarial import NormFreeDiscriminatorSettings


class NormFreeBlock(nn.Module):
    """Average pooling, then two 3x3 convolutions beside a 1x1 one; their sum / sqrt(2).

    The branch starts at 0 (R3GAN, arXiv 2501.05441, after Fixup, arXiv 1901.09321): without normalisation this keeps
    fresh logits from growing with the depth. Its first convolution learns from the second update on.

    Args:
        blocks: of the network, for the start of the weights.
        pool: whether the block halves the resolution.

    Shape:
        (N, C, H, W) -> (N, out_channels, H/2, W/2), or (N, out_channels, H, W) without pooling.
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: int, *, pool: bool = True) -> None:
        super().__init__()
        self.pool = pool
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)
        # Fixup's exponent for a branch of two layers is -1/2
        _start(self.conv1, math.sqrt(2 / 1.04) * blocks**-0.5)
        _start(self.conv2, 0.0)
        _start(self.skip, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2) if self.pool else x
        branch = self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2))
        return (self.skip(x) + branch) / math.sqrt(2)


class NormFreeDiscriminator(nn.Sequential):
    """A 3x3 stem, three or four residual blocks and one linear layer, with biases and without any normalisation.

    Images do not influence each other, so that penalties on the gradient of a single image mean what they say.

    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N,) logits.
    """

    def __init__(self, settings: NormFreeDiscriminatorSettings) -> None:
        widths = settings.widths
        stem, linear = nn.Conv2d(3, widths[0], 3, 1, 1), nn.Linear(widths[-1] * 16, 1)
        count = len(widths) - 1 + settings.full_resolution
        blocks = [NormFreeBlock(widths[0], widths[0], count, pool=False)] if settings.full_resolution else []
        blocks += [NormFreeBlock(widths[i], widths[i + 1], count) for i in range(len(widths) - 1)]
        super().__init__(stem, *blocks, nn.Flatten(), linear, nn.Flatten(0))
        for layer in (stem, linear):
            _start(layer, 1.0)


def _start(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Weights N(0, gain^2 / inputs), biases 0."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    nn.init.zeros_(layer.bias)
