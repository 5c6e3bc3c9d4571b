"""Settings of the adversarial term: discriminators and losses, and their registries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hybridflow.config.fields import (
    AsBefore,
    Bool,
    Float,
    Fraction,
    InKeyAs,
    NotInKey,
    PositiveFloat,
    PositiveInt,
    Section,
    Share,
    Text,
)
from hybridflow.config.registry import Registered
from hybridflow.config.training import OptimizerSettings


class DiscriminatorSettings(Section):
    """A discriminator. Each architecture has its own class; ``kind`` says which."""

    kind: Text = Field(description="the architecture; `hybridflow list` prints them all")
    spectral_norm: Annotated[Bool, AsBefore(False)] = Field(
        False, description="divide weights by their largest singular value (arXiv 1802.05957)"
    )


class DCGANDiscriminatorSettings(DiscriminatorSettings):
    """Four strided convolutions with BatchNorm (DCGAN, arXiv 1511.06434)."""

    kind: Literal["dcgan"] = "dcgan"
    width: PositiveInt = Field(32, description="channels of the first convolution; then 2x and 4x")


class ResNet18DiscriminatorSettings(DiscriminatorSettings):
    """ResNet18 for 32x32 images: a 3x3 stem and four stages of two basic blocks (arXiv 1512.03385)."""

    kind: Literal["resnet18"] = "resnet18"
    width: PositiveInt = Field(64, description="channels of the first stage; then 2x, 4x, 8x")


DISCRIMINATORS: dict[str, Registered] = {
    "dcgan": Registered(DCGANDiscriminatorSettings, "hybridflow.models.discriminators.dcgan:DCGANDiscriminator"),
    "resnet18": Registered(
        ResNet18DiscriminatorSettings, "hybridflow.models.discriminators.resnet:ResNet18Discriminator"
    ),
}
"""Architectures by name. The target is called with (settings)."""


class DiscriminatorOptimizerSettings(OptimizerSettings):
    """The discriminator's optimiser; the defaults are DCGAN's (arXiv 1511.06434)."""

    name: Literal["adam", "adamax", "adamw"] = Field("adam", description="adam, adamax or adamw")
    lr: PositiveFloat = Field(2e-4, description="learning rate")
    betas: tuple[Fraction, Fraction] = Field((0.5, 0.999), description="decay of the two moment estimates")


class PenaltySettings(Section):
    """Penalties on the discriminator's gradient; they add up, whatever the loss."""

    r1: Annotated[PositiveFloat | None, AsBefore(None)] = Field(
        None,
        description="gamma of R1 on real images, null for none (arXiv 1801.04406); a discriminator update takes 2 to 3 "
        "times as long",
    )


class AdversarialSettings(Section):
    """The adversarial term. Each loss has its own class, with its options beside these; ``loss`` says which."""

    loss: Annotated[Text, AsBefore("non_saturating")] = Field(
        "non_saturating", description="the adversarial loss; `hybridflow list` prints them all"
    )
    discriminator_optimizer: DiscriminatorOptimizerSettings = Field(
        DiscriminatorOptimizerSettings(), description="of the discriminator"
    )
    discriminator_steps: PositiveInt = Field(1, description="discriminator updates per generator update")
    penalties: Annotated[PenaltySettings, AsBefore({})] = Field(
        PenaltySettings(), description="penalties on the discriminator's gradient"
    )
    gradient_clip: Annotated[PositiveFloat | None, AsBefore(None), InKeyAs("adversarial_gradient_clip")] = Field(
        None, description="largest norm of the adversarial part of the generator's gradient, null for none"
    )
    adaptive_weight: Annotated[Bool, AsBefore(False)] = Field(
        False,
        description="scale the adversarial gradient to the likelihood's norm before the factor (after VQGAN: arXiv "
        "2012.09841); one more gradient in memory; not with factor 1",
    )
    inward_gradient: Annotated[Bool, AsBefore(False)] = Field(
        False, description="drop the adversarial gradient that pushes pixels of samples beyond black or white"
    )
    max_sample_magnitude: Annotated[Annotated[Float, Field(gt=0.5)] | None, NotInKey()] = Field(
        None, description="stop when |y - 1/2| of a sample is larger (images: up to 0.5); null: never"
    )


class NonSaturatingSettings(AdversarialSettings):
    """Non-saturating binary cross-entropy (arXiv 1406.2661) with one-sided label smoothing (arXiv 1606.03498)."""

    loss: Annotated[Literal["non_saturating"], AsBefore("non_saturating")] = "non_saturating"
    label_smoothing: Share = Field(0.1, description="real images have target 1 - this; generated ones 0")


LOSSES: dict[str, Registered] = {
    "non_saturating": Registered(NonSaturatingSettings, "hybridflow.training.losses.non_saturating:NonSaturatingLoss"),
}
"""Losses by name. The target is called with (settings)."""
