"""A convolutional critic with layer normalisation."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from hybridflow.config.adversarial import LayerNormDiscriminatorSettings


class LayerNormDiscriminator(nn.Sequential):
    """Four strided 5x5 convolutions, each with LeakyReLU and then layer normalisation, and one linear layer.

    The critic of Flow-GAN's published program (arXiv 1705.08868). A gradient penalty needs images that do not influence
    each other, so WGAN-GP (arXiv 1704.00028) normalises over C, H and W of one image instead of over the batch; scale
    and shift are one number a channel.

    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N,) logits.
    """

    def __init__(self, settings: LayerNormDiscriminatorSettings) -> None:
        widths = [3, *(settings.width * factor for factor in (1, 2, 4, 8))]
        convolutions = [
            nn.Sequential(nn.Conv2d(a, b, 5, 2, 2), nn.LeakyReLU(0.2), nn.GroupNorm(1, b)) for a, b in pairwise(widths)
        ]
        super().__init__(*convolutions, nn.Flatten(), nn.Linear(4 * widths[-1], 1), nn.Flatten(0))
