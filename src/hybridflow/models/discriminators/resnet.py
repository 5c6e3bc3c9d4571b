"""A residual network as discriminator."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.config.adversarial import ResNet18DiscriminatorSettings
from hybridflow.models.layers.batchnorm import BatchNorm2d


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet, arXiv 1512.03385, fig. 5 left).

    Shape:
        (N, C, H, W) -> (N, out_channels, H/stride, W/stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x))


class ResNet18Discriminator(nn.Sequential):
    """ResNet18 (arXiv 1512.03385, table 1) for 32x32 images: 3x3 stem, no max-pool, one output.

    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N,) logits.
    """

    def __init__(self, settings: ResNet18DiscriminatorSettings) -> None:
        width = settings.width
        stages = []
        channels = width
        for stage in range(4):
            out_channels = width * 2**stage
            stages += [
                BasicBlock(channels, out_channels, 1 if stage == 0 else 2),
                BasicBlock(out_channels, out_channels, 1),
            ]
            channels = out_channels
        super().__init__(
            nn.Conv2d(3, width, 3, 1, 1, bias=False),
            BatchNorm2d(width),
            nn.ReLU(),
            *stages,
            nn.AvgPool2d(4),
            nn.Flatten(),
            nn.Linear(channels, 1),
            nn.Flatten(0),
        )
