"""What NICE, RealNVP and Glow share: a chain of levels, after each of which half of the values leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from hybridflow.models.generators.base import Encoding, Flow
from hybridflow.models.transforms.base import Transform
from hybridflow.models.transforms.dequantization import UniformDequantization
from hybridflow.runtime.noise import Noise, standard_normal_log_prob


class MultiscaleFlow(Flow):
    """Uniform dequantization, a fixed map of the pixels, then levels; every latent is standard normal.

    ln p(x) = -D ln 256 + sum log|det| + sum ln N(latent; 0, I)

    After each level but the last, the first half of the channels goes on and the second half is a latent (RealNVP,
    arXiv 1605.08803, section 3.6). A prior that is not standard normal is the end of its level
    (:mod:`hybridflow.models.transforms.priors`).

    Args:
        image_shape: (C, H, W).
        pixels: from dequantized images to the input of the first level.
        levels: transforms; each but the last leads from (C, H, W) to (4C, H/2, W/2), and the last one does so
            too if ``squeezes_last``.

    Raises:
        ValueError: the sides of the image do not halve often enough.
    """

    squeezes_last: ClassVar[bool] = False

    def __init__(self, image_shape: tuple[int, int, int], pixels: Transform, levels: Iterable[Transform]) -> None:
        super().__init__(image_shape)
        self.dequantization = UniformDequantization()
        self.pixels = pixels
        self.levels = nn.ModuleList(levels)
        channels, height, width = image_shape
        divisor = 2 ** (len(self.levels) - (not self.squeezes_last))
        if height % divisor or width % divisor:
            raise ValueError(
                f"a flow of {len(self.levels)} levels needs sides that are multiples of {divisor}; got {image_shape}"
            )
        self._latent_shapes: list[tuple[int, int, int]] = []
        for _ in self.levels[1:]:
            channels, height, width = 2 * channels, height // 2, width // 2
            self._latent_shapes.insert(0, (channels, height, width))
        last = (4 * channels, height // 2, width // 2) if self.squeezes_last else (channels, height, width)
        self._latent_shapes.insert(0, last)

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """The last level's latent first, then the halves that left, deepest first."""
        return list(self._latent_shapes)

    def encode(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Encoding:
        y, log_prob = self.dequantization(x.to(next(self.parameters()).dtype), noise)
        z, log_det = self.pixels(y)
        log_prob = log_prob + log_det
        latents: list[Tensor] = []
        for level in self.levels:
            z, log_det = level(z)
            log_prob = log_prob + log_det
            if level is not self.levels[-1]:
                z, latent = z.chunk(2, dim=1)
                latents.insert(0, latent)
        latents.insert(0, z)
        for latent in latents:
            log_prob = log_prob + standard_normal_log_prob(latent)
        return Encoding(y, latents, log_prob)

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        z = self.levels[-1].inverse(latents[0])
        for level, latent in zip(reversed(self.levels[:-1]), latents[1:], strict=True):
            z = level.inverse(torch.cat((z, latent), dim=1))
        return self.pixels.inverse(z)
