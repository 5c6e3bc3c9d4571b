"""The residual discriminator of SNGAN."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.config.adversarial import SNGANResNetDiscriminatorSettings


class SNGANBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; with ``pool`` both end in average pooling.

    Args:
        first: the block that sees the image: no ReLU before its first convolution, and the shortcut pools before its
            1x1 convolution.
        pool: halve the side. Without it the shortcut is the identity.

    Shape:
        (N, C, H, W) -> (N, out_channels, H', W').
    """

    def __init__(self, in_channels: int, out_channels: int, *, first: bool = False, pool: bool = False) -> None:
        super().__init__()
        self.first, self.pool = first, pool
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1)
        self.shortcut: nn.Module = nn.Conv2d(in_channels, out_channels, 1) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if not self.pool:
            return branch + x
        shortcut = self.shortcut(F.avg_pool2d(x, 2)) if self.first else F.avg_pool2d(self.shortcut(x), 2)
        return F.avg_pool2d(branch, 2) + shortcut


class SNGANResNetDiscriminator(nn.Module):
    """Four residual blocks, ReLU, the sum over 8x8 and a linear layer (SNGAN, arXiv 1802.05957, table 4).

    The paper normalises all weights spectrally (``spectral_norm``, on by default for this kind) and trains with the
    hinge loss, Adam 2e-4, betas (0, 0.9), five updates per generator update.

    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N,) logits.
    """

    def __init__(self, settings: SNGANResNetDiscriminatorSettings) -> None:
        super().__init__()
        width = settings.width
        self.blocks = nn.Sequential(
            SNGANBlock(3, width, first=True, pool=True),
            SNGANBlock(width, width, pool=True),
            SNGANBlock(width, width),
            SNGANBlock(width, width),
        )
        self.linear = nn.Linear(width, 1, bias=False)
        for name, layer in self.named_modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight, math.sqrt(2) if ".conv" in name else 1.0)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.relu(self.blocks(x)).sum((2, 3))).flatten()
