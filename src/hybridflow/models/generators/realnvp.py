"""RealNVP (Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, arXiv 1605.08803)."""

from __future__ import annotations

from collections.abc import Iterator

from hybridflow.config.generators import RealNVPSettings
from hybridflow.models.generators.multiscale import MultiscaleFlow
from hybridflow.models.layers.skip_net import SkipNet
from hybridflow.models.transforms.actnorm import ActNorm
from hybridflow.models.transforms.base import Transform
from hybridflow.models.transforms.composite import Composite, Rearranged
from hybridflow.models.transforms.masks import ChannelCoupling, CheckerboardCoupling
from hybridflow.models.transforms.scaling import LogitScaling
from hybridflow.models.transforms.squeeze import OrderedSqueeze, Squeeze


class RealNVP(MultiscaleFlow):
    """Affine couplings of checkerboards and of channels, on the logits of the pixels.

    Every scale but the last: three checkerboard couplings; squeeze, three channel couplings, un-squeeze; then half
    of the values leave, one colour of the checkerboard. The last scale: four checkerboard couplings.

    The networks are those of a published reimplementation, which differs from the authors' program: every BatchNorm
    has a scale, every convolution a gain, every channel its own scale factor, and no normalisation stands between
    couplings. The authors' BatchNorm there makes the inverse depend on running statistics, which are a known cause of
    exploding test likelihoods; ``actnorm`` puts ActNorm in its place.

    Args:
        settings: sizes; the defaults have 19,631,640 parameters.
        image_shape: (C, H, W), H and W multiples of 2 ** (scales - 1).

    Raises:
        ValueError: the sides of the image do not halve often enough.
    """

    def __init__(self, settings: RealNVPSettings, image_shape: tuple[int, int, int] = (3, 32, 32)) -> None:
        channels, width = image_shape[0], settings.width
        levels: list[Transform] = []
        for _ in range(settings.scales - 1):
            levels.append(
                Composite(
                    *_checkerboards(3, channels, width, settings),
                    Rearranged(Squeeze(), *_channel_couplings(4 * channels, 2 * width, settings)),
                    OrderedSqueeze(),
                )
            )
            channels, width = 2 * channels, 2 * width
        levels.append(Composite(*_checkerboards(4, channels, width, settings)))
        super().__init__(image_shape, LogitScaling(settings.constraint), levels)


def _checkerboards(count: int, channels: int, width: int, settings: RealNVPSettings) -> Iterator[Transform]:
    """Couplings in which odd and even positions pass in turn, odd ones first."""
    for index in range(count):
        net = SkipNet(channels, 2 * channels, width, settings.blocks, gain=2)
        yield CheckerboardCoupling(net, channels, parity=1 - index % 2)
        if settings.actnorm:
            yield ActNorm(channels)


def _channel_couplings(channels: int, width: int, settings: RealNVPSettings) -> Iterator[Transform]:
    """Couplings in which the second, the first and the second half passes."""
    for second_passes in (True, False, True):
        yield ChannelCoupling(SkipNet(channels // 2, channels, width, settings.blocks), channels, second_passes)
        if settings.actnorm:
            yield ActNorm(channels)
