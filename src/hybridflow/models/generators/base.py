"""The contract of a generator, of one with a likelihood, and of a flow."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridflow.models.layers.batchnorm import has_statistics
from hybridflow.models.transforms.actnorm import ActNorm, initializing
from hybridflow.models.transforms.dequantization import LEVELS
from hybridflow.runtime.noise import GeneratorNoise, Noise


@dataclass(frozen=True)
class Encoding:
    """What a flow makes of a batch of integer images.

    Attributes:
        y: the dequantized images, (N, C, H, W), in (0, 1).
        latents: one tensor (N, *shape) for each of ``Flow.latent_shapes``, standard normal under the model;
            ``Flow.decode`` leads from them back to ``y``.
        log_prob: one draw of the bound on ln p(x), (N,), nats.
    """

    y: Tensor
    latents: list[Tensor]
    log_prob: Tensor


class Generator(nn.Module, ABC):
    """A map from standard-normal latents to images.

    Args:
        image_shape: (C, H, W) of the images.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape

    @property
    @abstractmethod
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """Shapes (C, H, W) of the latents of one image, in the order :meth:`decode` takes them."""

    @abstractmethod
    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        """Continuous images of latents, differentiable, neither quantised nor clamped.

        Args:
            latents: one standard-normal tensor (N, *shape) for each of :attr:`latent_shapes`.

        Returns:
            (N, C, H, W); the integer image of ``y`` is floor(256 y), clamped to 0..255.
        """

    def decode_mean(self, latents: Sequence[Tensor]) -> Tensor:
        """The same without the noise of single pixels, for a model that has one: what discriminators judge.

        They would tell samples from real images by that noise alone.
        """
        return self.decode(latents)

    def draw_latents(self, n: int, noise: Noise, temperature: float = 1.0) -> list[Tensor]:
        """Latents of ``n`` images; ``temperature`` multiplies their standard deviation."""
        return [temperature * noise((n, *shape)) for shape in self.latent_shapes]

    def initialize(self, x: Tensor, seed: int) -> None:
        """Data-dependent initialisation from the batch ``x`` (N, C, H, W), before the first step."""

    @property
    def ready(self) -> bool:
        """Whether the model can be used: what depends on data has seen some (reads the device)."""
        return has_statistics(self)

    @property
    def dimensions(self) -> int:
        """D = C H W: what bits/dim are divided by, whatever noise the model adds."""
        return math.prod(self.image_shape)


class LikelihoodModel(Generator):
    """A generator of integer images with a stochastic lower bound on its log-likelihood."""

    def condition(self, x: Tensor) -> Tensor | None:
        """What :meth:`log_prob` needs of ``x`` whatever the noise: computed once for many draws of the bound."""
        return None

    @abstractmethod
    def log_prob(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Tensor:
        """One draw of the bound on ln p(x), (N,), nats.

        Args:
            x: (N, C, H, W), integers 0..255 of any dtype.
            noise: source of whatever is random.
            condition: ``self.condition(x)``, if it is at hand.
        """


class Flow(LikelihoodModel):
    """A likelihood model whose decoding is the inverse of its encoding."""

    @abstractmethod
    def encode(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Encoding:
        """The way from integer images to latents.

        Args:
            x: (N, C, H, W), integers 0..255 of any dtype.
            noise: source of the dequantization and augmentation noise.
            condition: ``self.condition(x)``, if it is at hand.
        """

    def log_prob(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Tensor:
        """One draw of the bound on ln p(x), (N,), nats; arguments as for :meth:`encode`."""
        return self.encode(x, noise, condition).log_prob

    def round_trip_error(self, x: Tensor, noise: Noise) -> Tensor:
        """How far the inverse is from being one: max |decode(latents) - y| of every image.

        Args:
            x: (N, C, H, W), integers 0..255.

        Returns:
            (N,), in levels (1/256 of the continuous image's range); not finite where the flow is not.
        """
        encoding = self.encode(x, noise)
        return LEVELS * (self.decode(encoding.latents) - encoding.y).abs().flatten(1).amax(1)

    @torch.no_grad()
    def initialize(self, x: Tensor, seed: int) -> None:
        """Data-dependent initialisation of every ActNorm from the batch ``x`` (N, C, H, W)."""
        with initializing(self):
            self.log_prob(x, GeneratorNoise(seed, x.device, next(self.parameters()).dtype))

    @property
    def ready(self) -> bool:
        """Whether every ActNorm and every BatchNorm has seen data (reads the device)."""
        return super().ready and all(m.initialized for m in self.modules() if isinstance(m, ActNorm))


def bits_per_dim(log_prob: Tensor, dimensions: int) -> Tensor:
    """-log_prob / (D ln 2): nats per image to bits per dimension; shape is kept."""
    return -log_prob / (dimensions * math.log(2))
