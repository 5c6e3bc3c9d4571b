"""A discriminator that judges patches."""

from __future__ import annotations

from torch import nn

from hybridflow.config.adversarial import PatchGANDiscriminatorSettings
from hybridflow.models.layers.batchnorm import BatchNorm2d


class PatchGANDiscriminator(nn.Sequential):
    """4x4 convolutions, one logit for every patch (PatchGAN, arXiv 1611.07004, section 6.1.2, without the condition).

    The loss is a mean over images and patches; it is never computed from a mean logit.

    Shape:
        (N, 3, 32, 32) in [-1, 1] -> (N, P) logits; P is 196, 36 or 4 with 1, 2 or 3 strided convolutions, whose
        patches have 16, 34 or 70 pixels a side.
    """

    def __init__(self, settings: PatchGANDiscriminatorSettings) -> None:
        width = settings.width
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i in range(settings.layers):
            stride = 2 if i < settings.layers - 1 else 1
            layers += [
                nn.Conv2d(width, 2 * width, 4, stride, 1, bias=False),
                BatchNorm2d(2 * width),
                nn.LeakyReLU(0.2),
            ]
            width *= 2
        super().__init__(*layers, nn.Conv2d(width, 1, 4, 1, 1), nn.Flatten())
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
            elif isinstance(layer, BatchNorm2d):
                nn.init.normal_(layer.weight, 1.0, 0.02)
