"""Glow (Kingma, Dhariwal: Glow: Generative Flow with Invertible 1x1 Convolutions, arXiv 1807.03039)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybridflow.config.generators import GlowSettings
from hybridflow.models.generators.base import Encoding
from hybridflow.models.generators.multiscale import MultiscaleFlow
from hybridflow.models.layers.zero_conv import ZeroConv2d
from hybridflow.models.transforms.actnorm import ActNorm, ActNormLayer
from hybridflow.models.transforms.base import Transform
from hybridflow.models.transforms.composite import Composite
from hybridflow.models.transforms.conv1x1 import InvertibleConv1x1, shared_determinants, shared_inverses
from hybridflow.models.transforms.coupling import AdditiveCoupling, SigmoidCoupling
from hybridflow.models.transforms.priors import ChannelPrior, SplitPrior, ZeroInputPrior
from hybridflow.models.transforms.scaling import FixedAffine
from hybridflow.models.transforms.squeeze import Squeeze
from hybridflow.runtime.noise import Noise

TOP_PRIORS = {"channel": ChannelPrior, "zero_input": ZeroInputPrior}


class GlowStep(Composite):
    """ActNorm, invertible 1x1 convolution, coupling of the second half of the channels (table 1)."""

    def __init__(self, channels: int, settings: GlowSettings) -> None:
        half, affine = channels // 2, settings.coupling == "affine"
        net = nn.Sequential(
            _conv(half, settings.width, 3),
            ActNormLayer(settings.width),
            nn.ReLU(),
            _conv(settings.width, settings.width, 1),
            ActNormLayer(settings.width),
            nn.ReLU(),
            ZeroConv2d(settings.width, channels if affine else half),
        )
        coupling = SigmoidCoupling(net) if affine else AdditiveCoupling(net, slice(None, half), slice(half, None))
        super().__init__(ActNorm(channels), InvertibleConv1x1(channels), coupling)


class Glow(MultiscaleFlow):
    """Levels of squeeze, flow steps and a learned prior of what leaves, on v = y - 1/2.

    The half of the channels that leaves a level is normal given the other half; at the top, each channel has its own
    mean and scale. The published program computes the latter by a convolution of zeros, whose 82,944 weights have no
    effect (``top_prior: zero_input``, 44,135,856 parameters).

    Scales of affine couplings are below 1 and their inverses unbounded: samples of a barely trained model can
    overflow.

    Args:
        settings: sizes; the defaults have 44,052,816 parameters.
        image_shape: (C, H, W), H and W multiples of 2 ** levels.

    Raises:
        ValueError: the sides of the image do not halve often enough.
    """

    squeezes_last = True

    def __init__(self, settings: GlowSettings, image_shape: tuple[int, int, int] = (3, 32, 32)) -> None:
        channels = 2 * image_shape[0]
        levels: list[Transform] = []
        for level in range(settings.levels):
            channels = 2 * channels
            steps = [GlowStep(channels, settings) for _ in range(settings.steps)]
            if level < settings.levels - 1:
                prior = [SplitPrior(channels)]
            else:
                prior = [TOP_PRIORS[settings.top_prior](channels)] if settings.top_prior in TOP_PRIORS else []
            levels.append(Composite(Squeeze(), *steps, *prior))
        super().__init__(image_shape, FixedAffine(1, -0.5), levels)
        self._convolutions = [module for module in self.modules() if isinstance(module, InvertibleConv1x1)]
        # Channels-last, as DenseFlow: 1x1 convolutions are plain matrix products then.
        self.to(memory_format=torch.channels_last)

    def encode(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Encoding:
        with shared_determinants(self._convolutions):
            return super().encode(x, noise)

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        with shared_inverses(self._convolutions):
            return super().decode(latents)


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    """A convolution as published Glow starts it: N(0, 0.05^2), no bias, since ActNorm follows."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.normal_(conv.weight, std=0.05)
    return conv
