"""NICE (Dinh, Krueger, Bengio: Non-linear Independent Components Estimation, arXiv 1410.8516)."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from hybridflow.config.generators import NiceSettings
from hybridflow.models.generators.multiscale import MultiscaleFlow
from hybridflow.models.transforms.base import Transform
from hybridflow.models.transforms.composite import Rearranged
from hybridflow.models.transforms.coupling import AdditiveCoupling
from hybridflow.models.transforms.priors import LogisticPrior
from hybridflow.models.transforms.scaling import FixedAffine, LearnedScale
from hybridflow.models.transforms.squeeze import Flatten, ReverseChannels


class NICE(MultiscaleFlow):
    """Additive couplings of all D values of an image, one scale a value, and a logistic prior.

    v = 2y - 1,   h = exp(s) * couplings(v),   bits/dim = 7 - ln p(h, s) / (D ln 2)

    No value leaves early and nothing is normalised. A sample is unbounded. Couplings start as the identity. The paper
    also names whitened data (ZCA); its 4.48 bits/dim count no constant of it, and it is left out here.

    ``partition: halves`` is the authors' released CIFAR-10 configuration, with hidden_layers [1, 1, 3, 3, 2, 2, 1, 1],
    width 2400 and prior normal (93,591,360 parameters); it is another model than the paper's.

    Args:
        settings: sizes; the defaults are the paper's (72,617,216 parameters at 3x32x32).
        image_shape: (C, H, W), C H W even.
    """

    def __init__(self, settings: NiceSettings, image_shape: tuple[int, int, int] = (3, 32, 32)) -> None:
        values = math.prod(image_shape)
        chain: list[Transform] = []
        for index, layers in enumerate(settings.hidden_layers):
            net = _dense_net(values // 2, settings.width, layers)
            if settings.partition == "halves":
                chain += [
                    AdditiveCoupling(net, slice(None, values // 2), slice(values // 2, None)),
                    ReverseChannels(),
                ]
            else:
                first = index % 2
                chain.append(AdditiveCoupling(net, slice(first, None, 2), slice(1 - first, None, 2)))
        chain.append(LearnedScale(values))
        if settings.prior == "logistic":
            chain.append(LogisticPrior())
        super().__init__(image_shape, FixedAffine(2, -1), [Rearranged(Flatten(image_shape), *chain)])


def _dense_net(values: int, width: int, layers: int) -> nn.Sequential:
    """(N, values, 1, 1) -> (N, values, 1, 1) through ``layers`` hidden layers; returns zero at the start."""
    sizes = [values, *[width] * layers]
    hidden = [module for pair in pairwise(sizes) for module in (nn.Linear(*pair), nn.ReLU())]
    output = nn.Linear(width, values)
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    return nn.Sequential(nn.Flatten(), *hidden, output, nn.Unflatten(1, (values, 1, 1)))
