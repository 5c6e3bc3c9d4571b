"""DenseFlow (Grcic, Grubisic, Segvic: Densely connected normalizing flows, arXiv 2106.04627)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybridflow.config.generators import CouplingSettings, DenseFlowSettings, DequantizationSettings
from hybridflow.models.generators.base import Encoding, Flow
from hybridflow.models.layers.coupling_net import CouplingNet
from hybridflow.models.transforms.actnorm import ActNorm
from hybridflow.models.transforms.base import StochasticTransform
from hybridflow.models.transforms.composite import Composite
from hybridflow.models.transforms.conv1x1 import InvertibleConv1x1, shared_determinants, shared_inverses
from hybridflow.models.transforms.coupling import AffineCoupling
from hybridflow.models.transforms.dequantization import UniformDequantization, VariationalDequantization
from hybridflow.models.transforms.multiscale import Transition
from hybridflow.models.transforms.noise_channels import Augment
from hybridflow.models.transforms.squeeze import Squeeze, SwapHalves
from hybridflow.runtime.noise import Noise, standard_normal_log_prob


class FlowStep(Composite):
    """ActNorm, invertible 1x1 convolution, affine coupling, swap of the channel parts."""

    def __init__(self, channels: int, mid_channels: int, settings: CouplingSettings) -> None:
        passed, changed = channels - channels // 2, channels // 2
        net = CouplingNet(
            passed,
            2 * changed,
            mid_channels,
            settings.depth,
            settings.growth,
            attention=settings.attention,
            batch_norm=settings.batch_norm,
        )
        coupling = AffineCoupling(net)
        super().__init__(ActNorm(channels), InvertibleConv1x1(channels), coupling, SwapHalves())


class DenseBlock(StochasticTransform):
    """Units of flow steps; before every unit but the first, noise channels join (cross-unit coupling).

    The noise is conditioned on the inputs of all earlier units, each as it was before its own noise
    joined (DenseFlow, section 3.1).

    Args:
        channels: C of the block's input.
        units, steps: number of units, and of flow steps in each.
        growth_rate: g, noise channels per augmentation.
    Shape:
        x: (N, C, H, W); z: (N, C + g (units - 1), H, W); log_weight: (N,), nats.
    """

    def __init__(
        self, channels: int, units: int, steps: int, growth_rate: int, mid_channels: int, settings: CouplingSettings
    ) -> None:
        super().__init__()
        self.units, self.augments = nn.ModuleList(), nn.ModuleList()
        history_channels = 0
        for unit in range(units):
            if unit > 0:
                self.augments.append(Augment(history_channels, growth_rate))
                unit_channels = channels + unit * growth_rate
            else:
                unit_channels = channels
            self.units.append(Composite(*(FlowStep(unit_channels, mid_channels, settings) for _ in range(steps))))
            history_channels += channels + max(unit - 1, 0) * growth_rate
        self.out_channels = channels + growth_rate * (units - 1)

    def forward(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        history = [x]
        z, log_weight = self.units[0](x)
        for augment, unit in zip(self.augments, self.units[1:], strict=True):
            before = z
            z, contribution = augment(z, torch.cat(history, dim=1), noise)
            history.append(before)
            log_weight = log_weight + contribution
            z, contribution = unit(z)
            log_weight = log_weight + contribution
        return z, log_weight

    def inverse(self, z: Tensor) -> Tensor:
        for augment, unit in zip(reversed(self.augments), reversed(self.units[1:]), strict=True):
            z = augment.inverse(unit.inverse(z))
        return self.units[0].inverse(z)


class DenseFlow(Flow):
    """Densely connected multi-scale flow with variational dequantization.

    Args:
        settings: sizes; the defaults are DenseFlow-74-10 (130,647,294 parameters).
        image_shape: (3, H, W), H and W multiples of 2 ** number of scales.

    Raises:
        ValueError: the image does not divide into the scales.
    """

    def __init__(self, settings: DenseFlowSettings, image_shape: tuple[int, int, int] = (3, 32, 32)) -> None:
        super().__init__(image_shape)
        channels, height, width = image_shape
        scales = len(settings.units)
        if height % 2**scales or width % 2**scales:
            raise ValueError(
                f"a flow of {scales} scales needs sides that are multiples of {2**scales}; got {image_shape}"
            )
        self.dequantization = _dequantization(settings.dequantization, channels)
        self.squeeze = Squeeze()
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        self._latent_shapes: list[tuple[int, int, int]] = []
        channels, height, width = 4 * channels, height // 2, width // 2
        for scale in range(scales):
            block = DenseBlock(
                channels,
                settings.units[scale],
                settings.steps_per_unit[scale],
                settings.growth_rate,
                settings.coupling.mid_channels[scale],
                settings.coupling,
            )
            self.blocks.append(block)
            channels = block.out_channels
            if scale < scales - 1:
                self.transitions.append(Transition())
                channels, height, width = 2 * channels, height // 2, width // 2
                self._latent_shapes.insert(0, (channels, height, width))
        self._latent_shapes.insert(0, (channels, height, width))
        self.prior_loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.prior_log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        # Channels-last throughout: most of the arithmetic is 1x1 convolutions, which are plain matrix products then.
        self.to(memory_format=torch.channels_last)

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """The last scale's latent first, then the transitions' dropped halves, deepest first."""
        return list(self._latent_shapes)

    def condition(self, x: Tensor) -> Tensor | None:
        if isinstance(self.dequantization, VariationalDequantization):
            return self.dequantization.features(x.to(self.prior_loc.dtype))
        return None

    def encode(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Encoding:
        with shared_determinants(_convolutions(self)):
            return self._encode(x.to(self.prior_loc.dtype), noise, condition)

    def _encode(self, x: Tensor, noise: Noise, condition: Tensor | None) -> Encoding:
        y, log_prob = self.dequantization(x, noise, condition)
        z, _ = self.squeeze(y - 0.5)
        z = z.contiguous(memory_format=torch.channels_last)
        latents: list[Tensor] = []
        for scale, block in enumerate(self.blocks):
            z, contribution = block(z, noise)
            log_prob = log_prob + contribution
            if scale < len(self.transitions):
                z, dropped = self.transitions[scale](z)
                latents.insert(0, dropped)
                log_prob = log_prob + standard_normal_log_prob(dropped)
        loc, log_scale = self.prior_loc, self.prior_log_scale
        e = (z - loc) * torch.exp(-log_scale)
        pixels = z.shape[2] * z.shape[3]
        log_prob = log_prob + standard_normal_log_prob(e) - pixels * log_scale.sum()
        return Encoding(y, [e, *latents], log_prob)

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        with shared_inverses(_convolutions(self.blocks)):
            return self._decode(latents)

    def _decode(self, latents: Sequence[Tensor]) -> Tensor:
        last, *dropped = (latent.contiguous(memory_format=torch.channels_last) for latent in latents)
        loc, log_scale = self.prior_loc, self.prior_log_scale
        z = loc + torch.exp(log_scale) * last
        for scale in reversed(range(len(self.blocks))):
            if scale < len(self.transitions):
                z = self.transitions[scale].inverse(z, dropped[len(self.transitions) - 1 - scale])
            z = self.blocks[scale].inverse(z)
        return self.dequantization.inverse(self.squeeze.inverse(z) + 0.5)


def _convolutions(module: nn.Module) -> list[InvertibleConv1x1]:
    return [layer for layer in module.modules() if isinstance(layer, InvertibleConv1x1)]


def _dequantization(settings: DequantizationSettings, channels: int) -> StochasticTransform:
    if settings.kind == "uniform":
        return UniformDequantization()
    return VariationalDequantization(
        steps=settings.steps,
        mid_channels=settings.mid_channels,
        context_channels=settings.context_channels,
        depth=settings.depth,
        growth=settings.growth,
        channels=channels,
    )
