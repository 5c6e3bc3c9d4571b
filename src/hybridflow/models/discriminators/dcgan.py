"""The discriminator of DCGAN."""

from __future__ import annotations

from torch import nn

from hybridflow.config.adversarial import DCGANDiscriminatorSettings
from hybridflow.models.layers.batchnorm import BatchNorm2d


class DCGANDiscriminator(nn.Sequential):
    """Strided 4x4 convolutions without biases (DCGAN, arXiv 1511.06434).

    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N,) logits.
    """

    def __init__(self, settings: DCGANDiscriminatorSettings) -> None:
        width = settings.width
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
