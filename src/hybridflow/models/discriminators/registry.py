"""Discriminators of the adversarial loss. All return logits, one per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.config.experiment import DiscriminatorSettings
from hybridflow.models.discriminators.spectral_norm import normalise_spectra
from hybridflow.models.layers.batchnorm import BatchNorm2d


class DCGANDiscriminator(nn.Sequential):
    """Strided 4x4 convolutions without biases (DCGAN, arXiv 1511.06434).

    Args:
        width: channels of the first convolution; the following have 2 and 4 times as many.
    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N,) logits.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(3, width, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False),
            BatchNorm2d(4 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 4, 1, 0, bias=False),
            nn.Flatten(0),
        )


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
    """ResNet18 for 32x32 images: 3x3 stem, no max-pool, one output.

    Args:
        width: channels of the first stage; the stages have 1, 2, 4 and 8 times as many.
    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N,) logits.
    """

    def __init__(self, width: int = 64) -> None:
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


def build_discriminator(settings: DiscriminatorSettings) -> nn.Module:
    """The discriminator that ``settings.kind`` names, freshly initialised from torch's global generator."""
    model = {"dcgan": DCGANDiscriminator, "resnet18": ResNet18Discriminator}[settings.kind](settings.width)
    if settings.spectral_norm:
        normalise_spectra(model)
    return model


def discriminator_input(levels: Tensor) -> Tensor:
    """Pixel levels 0..255 to [-1, 1]: what every discriminator sees, real or generated."""
    return levels / 127.5 - 1


class _Inward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        outward = ((y > 1) & (gradient < 0)) | ((y < 0) & (gradient > 0))  # descent moves against the gradient
        return gradient.masked_fill(outward, 0)


def inward_gradient(y: Tensor) -> Tensor:
    """The images themselves; outside [0, 1] they get only the gradient whose descent leads back.

    The discriminator sees clamped levels, but the straight-through gradient does not know of the clamp: a pixel that
    is white already goes on being pushed beyond white, where nothing that the discriminator sees changes any more.

    Args:
        y: (N, C, H, W), continuous.
    """
    return _Inward.apply(y)


def straight_through_levels(y: Tensor) -> Tensor:
    """Quantises continuous images and lets the gradient pass as if it had not.

    Real images lie on 256 levels. Generated ones must too, or the discriminator separates the two by
    that grid alone; but floor() has no gradient (straight-through estimator, arXiv 1308.3432).

    Args:
        y: (N, C, H, W), continuous; an image's levels are floor(256 y), clamped to 0..255.

    Returns:
        levels of the same shape and dtype; the gradient with respect to ``y`` is 256.
    """
    continuous = 256 * y - 0.5  # the centre of level k's interval is k + 1/2
    levels = torch.floor(256 * y.detach()).clamp(0, 255)
    return continuous + (levels - continuous).detach()
