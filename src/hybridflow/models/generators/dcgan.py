"""DCGAN (Radford, Metz, Chintala: Unsupervised representation learning with DCGANs, arXiv 1511.06434)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybridflow.config.generators import DCGANSettings
from hybridflow.models.generators.base import Generator
from hybridflow.models.layers.batchnorm import BatchNorm2d
from hybridflow.models.layers.compiling import OwnsNetwork
from hybridflow.models.layers.precision import run_network


class DCGAN(OwnsNetwork, Generator):
    """Four transposed convolutions without biases, BatchNorm and ReLU between them, tanh behind them.

    y = (tanh(net(z)) + 1) / 2

    The mirror image of the DCGAN discriminator. Every weight starts as N(0, 0.02^2).

    Args:
        settings: sizes; the defaults have 1,068,928 parameters.
        image_shape: (C, H, W), H and W multiples of 8.

    Raises:
        ValueError: the sides of the image do not halve often enough.
    """

    def __init__(self, settings: DCGANSettings, image_shape: tuple[int, int, int] = (3, 32, 32)) -> None:
        super().__init__(image_shape)
        channels, height, width = image_shape
        if height % 8 or width % 8:
            raise ValueError(f"a DCGAN needs sides that are multiples of 8; got {image_shape}")
        self.latent, self.uniform = settings.latent, settings.uniform
        w = settings.width
        self.net = nn.Sequential(
            nn.ConvTranspose2d(settings.latent, 4 * w, (height // 8, width // 8), bias=False),
            BatchNorm2d(4 * w),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1, bias=False),
            BatchNorm2d(2 * w),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False),
            BatchNorm2d(w),
            nn.ReLU(),
            nn.ConvTranspose2d(w, channels, 4, 2, 1, bias=False),
        )
        for layer in self.net:
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
        self.to(memory_format=torch.channels_last)

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """One vector."""
        return [(self.latent, 1, 1)]

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        (z,) = latents
        if self.uniform:
            z = 2 * torch.special.ndtr(z) - 1
        return (torch.tanh(run_network(self.net, z)) + 1) / 2
