"""Discriminators by name. All return logits: one an image, or one a patch."""

from __future__ import annotations

from torch import nn

from hybridflow.config.adversarial import DISCRIMINATORS, DiscriminatorSettings
from hybridflow.models.discriminators.spectral_norm import normalise_spectra


def build_discriminator(settings: DiscriminatorSettings) -> nn.Module:
    """The discriminator that ``settings.kind`` names, freshly initialised from torch's global generator.

    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N,) logits, or (N, P) of P patches.
    """
    model = DISCRIMINATORS[settings.kind].load()(settings)
    if settings.spectral_norm:
        normalise_spectra(model)
    return model
