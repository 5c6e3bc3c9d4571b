"""A generator with a likelihood, one without, a discriminator, a loss and a metric, in one file of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hybridflow.config.adversarial import DISCRIMINATORS, LOSSES, AdversarialSettings, DiscriminatorSettings
from hybridflow.config.fields import PositiveFloat
from hybridflow.config.generators import GENERATORS, GeneratorSettings
from hybridflow.config.metrics import METRICS, Metric
from hybridflow.config.registry import Registered
from hybridflow.models.generators.base import Encoding, Flow, Generator
from hybridflow.models.transforms.dequantization import UniformDequantization
from hybridflow.runtime.noise import Noise, standard_normal_log_prob
from hybridflow.training.losses.base import AdversarialLoss


class GaussianSettings(GeneratorSettings):
    """One Gaussian for every value of an image."""

    family: Literal["gaussian"] = "gaussian"
    width: PositiveFloat = 0.25


class Gaussian(Flow):
    """y = mean + exp(log_scale) * e."""

    def __init__(self, settings: GaussianSettings, image_shape: tuple[int, int, int]) -> None:
        super().__init__(image_shape)
        self.dequantization = UniformDequantization()
        self.mean = nn.Parameter(torch.full((1, *image_shape), 0.5))
        self.log_scale = nn.Parameter(torch.full((1, *image_shape), float(np.log(settings.width))))

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        return [self.image_shape]

    def encode(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Encoding:
        y, log_prob = self.dequantization(x.to(self.mean.dtype), noise)
        e = (y - self.mean) * torch.exp(-self.log_scale)
        return Encoding(y, [e], log_prob + standard_normal_log_prob(e) - self.log_scale.sum())

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        return self.mean + torch.exp(self.log_scale) * latents[0]


class PainterSettings(GeneratorSettings):
    """A generator without a likelihood: one layer from eight numbers to an image."""

    has_likelihood: ClassVar[bool] = False
    family: Literal["painter"] = "painter"


class Painter(Generator):
    """y = sigmoid(W z)."""

    def __init__(self, settings: PainterSettings, image_shape: tuple[int, int, int]) -> None:
        super().__init__(image_shape)
        self.layer = nn.Linear(8, self.dimensions)

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        return [(8, 1, 1)]

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        return torch.sigmoid(self.layer(latents[0].flatten(1))).view(-1, *self.image_shape)


class LinearSettings(DiscriminatorSettings):
    """One weight for every value of an image."""

    kind: Literal["linear"] = "linear"


class Linear(nn.Sequential):
    def __init__(self, settings: LinearSettings) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, 1), nn.Flatten(0))


class AbsoluteSettings(AdversarialSettings):
    """Absolute distance to the targets 1 and 0."""

    loss: Literal["absolute"] = "absolute"


class Absolute(AdversarialLoss):
    needs_real_logits = True  # not for the formula: the step must bring them to whoever wants them

    def __init__(self, settings: AbsoluteSettings) -> None:
        pass

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return (real_logits - 1).abs().mean() + fake_logits.abs().mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        assert real_logits is not None
        return (fake_logits - 1).abs().mean() + 0 * real_logits.mean()


def mean_distance(generated, reference) -> float:
    return float(np.linalg.norm(generated.moments.mean - reference.moments.mean))


GENERATORS["gaussian"] = Registered(GaussianSettings, Gaussian)
GENERATORS["painter"] = Registered(PainterSettings, Painter)
DISCRIMINATORS["linear"] = Registered(LinearSettings, Linear)
LOSSES["absolute"] = Registered(AbsoluteSettings, Absolute)
METRICS["mean_distance"] = Metric(
    "mean_distance", "Mean distance", "cifar_classifier", mean_distance, "distance of the features' means", digits=1
)
