"""The network of the small CIFAR-10 classifier in whose penultimate layer FD-CIFAR is measured.

It follows airbench (Jordan, "94% on CIFAR-10 in 3.29 seconds", arXiv 2404.00498): a frozen patch-whitening first layer
and six 3x3 convolutions.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")  # by label
CLASSES = len(CLASS_NAMES)
PATCH_CHANNELS = 24  # 2x2 patches of 3 channels have 12 principal directions, each used with both signs
PIXEL_MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10's training images, in [0, 1]
PIXEL_STD = (0.2470, 0.2435, 0.2616)
LOGIT_SCALE = 1 / 9


class CifarClassifier(nn.Module):
    """VGG-like network of ``width``-``2 width``-``4 width`` channels for 32x32 RGB images.

    Shape:
        images: (N, 3, 32, 32) uint8; features: (N, 4 width); logits: (N, 10).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dimensions = 4 * width
        self.register_buffer("mean", 255 * torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)
        self.whitening = nn.Conv2d(3, PATCH_CHANNELS, 2, bias=False).requires_grad_(False)
        channels = (PATCH_CHANNELS, width, 2 * width, 4 * width)
        self.stages = nn.Sequential(*(Stage(*pair) for pair in pairwise(channels)))
        self.head = nn.Linear(4 * width, CLASSES, bias=False)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 to float32 with zero mean and unit deviation a channel."""
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate layer."""
        x = F.gelu(self.whitening(self.normalise(images)))  # (N, 24, 31, 31)
        return self.stages(x).amax((2, 3))  # (N, 4 width, 3, 3) -> (N, 4 width)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.logits(self.features(images))

    def logits(self, features: Tensor) -> Tensor:
        """From the penultimate layer on."""
        return self.head(features) * LOGIT_SCALE


class Stage(nn.Sequential):
    """Convolution, 2x2 max-pooling, convolution; each convolution with BatchNorm and GELU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            _norm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(channels),
            nn.GELU(),
        )


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=0.4)  # short trainings: the running statistics must follow quickly
    norm.weight.requires_grad_(False)  # the convolution behind it can scale as well
    return norm
