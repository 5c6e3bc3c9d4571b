"""Variational autoencoder (Kingma, Welling: Auto-Encoding Variational Bayes, arXiv 1312.6114)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.config.generators import VAESettings
from hybridflow.models.generators.base import LikelihoodModel
from hybridflow.models.layers.compiling import OwnsNetwork
from hybridflow.models.layers.precision import run_network
from hybridflow.models.transforms.discretized_logistic import discretized_logistic_log_prob, logistic_quantile
from hybridflow.runtime.noise import Noise, standard_normal_log_prob

LOG_SIGMA = 7.0  # largest |ln sigma| of the posterior
LOG_SCALE = -7.0  # smallest ln s of a pixel on the scale [-1, 1], as in PixelCNN++ and VDVAE


class VAE(LikelihoodModel):
    """Convolutional encoder and decoder, a latent of a quarter of the image's sides, a discretized logistic per value.

    ln p(x) >= ln P(x|z) + ln N(z; 0, I) - ln q(z|x),   z = mean(x) + sigma(x) e

    The networks are those of the convolutional VAE in VQ-VAE (arXiv 1711.00937, section 4.1), which leaves the size of
    the latent open. P is a mass of levels, so that no dequantization is needed. The bound is a ratio of the drawn z;
    the KL divergence in closed form would be no weight of an importance-weighted bound.

    Args:
        settings: sizes; the defaults have 4,770,854 parameters.
        image_shape: (C, H, W), H and W multiples of 4.

    Raises:
        ValueError: the sides of the image do not halve often enough.
    """

    def __init__(self, settings: VAESettings, image_shape: tuple[int, int, int] = (3, 32, 32)) -> None:
        super().__init__(image_shape)
        channels, height, width = image_shape
        if height % 4 or width % 4:
            raise ValueError(f"a VAE needs sides that are multiples of 4; got {image_shape}")
        w, z = settings.width, settings.latent_channels
        self.latent_shape, self.noisy_pixels = (z, height // 4, width // 4), settings.sample == "pixel"
        self.encoder = _Network(
            nn.Conv2d(channels, w, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(w, w, 4, 2, 1),
            _Residual(w),
            _Residual(w),
            nn.ReLU(),
            nn.Conv2d(w, 2 * z, 1),
        )
        self.decoder = _Network(
            nn.Conv2d(z, w, 1),
            _Residual(w),
            _Residual(w),
            nn.ReLU(),
            nn.ConvTranspose2d(w, w, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(w, 2 * channels, 4, 2, 1),
        )
        self.to(memory_format=torch.channels_last)

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """z, and with ``sample: pixel`` the noise of every value of the image."""
        return [self.latent_shape, self.image_shape] if self.noisy_pixels else [self.latent_shape]

    def condition(self, x: Tensor) -> Tensor:
        """Mean and ln sigma of q(z|x), (N, 2 z, H/4, W/4)."""
        return self.encoder(2 * x.to(next(self.parameters()).dtype) / 255 - 1)

    def log_prob(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Tensor:
        mean, log_sigma = (self.condition(x) if condition is None else condition).chunk(2, dim=1)
        log_sigma = log_sigma.clamp(-LOG_SIGMA, LOG_SIGMA)
        e = noise(mean.shape)
        z = mean + torch.exp(log_sigma) * e
        log_q = standard_normal_log_prob(e) - log_sigma.flatten(1).sum(1)
        log_likelihood = discretized_logistic_log_prob(x.to(z.dtype), *self.pixels(z))
        return log_likelihood + standard_normal_log_prob(z) - log_q

    def pixels(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and ln s of P(x|z), (N, C, H, W) each, in units of [0, 1]; the networks' own scale is [-1, 1]."""
        mean, log_scale = self.decoder(z).chunk(2, dim=1)
        return (mean + 1) / 2, log_scale.clamp(min=LOG_SCALE) - math.log(2)

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        mean, log_scale = self.pixels(latents[0])
        return mean + torch.exp(log_scale) * logistic_quantile(latents[1]) if self.noisy_pixels else mean

    def decode_mean(self, latents: Sequence[Tensor]) -> Tensor:
        return self.pixels(latents[0])[0]


class _Network(OwnsNetwork, nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return run_network(self.net, x)


class _Residual(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))), (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1(F.relu(self.conv3(F.relu(x))))
