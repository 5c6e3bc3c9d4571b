"""Settings of the adversarial term: discriminators and losses, and their registries."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hybridflow.config.fields import (
    AsBefore,
    Bool,
    Float,
    Fraction,
    InKeyAs,
    NonNegativeInt,
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
    """A discriminator. Each architecture has its own class; ``kind`` says which.

    Attributes:
        has_batch_norm: whether it contains BatchNorm, which has no second derivatives over several devices.
    """

    has_batch_norm: ClassVar[bool] = True
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


class NormFreeDiscriminatorSettings(DiscriminatorSettings):
    """Residual blocks without any normalisation (after R3GAN, arXiv 2501.05441)."""

    has_batch_norm: ClassVar[bool] = False
    kind: Literal["norm_free"] = "norm_free"
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (16, 32, 64, 64), description="channels of the stem and of the blocks at 16, 8 and 4 pixels"
    )
    full_resolution: Annotated[Bool, AsBefore(False)] = Field(
        False, description="a block before the first pooling, too: without it single pixels hardly show"
    )


class SNGANResNetDiscriminatorSettings(DiscriminatorSettings):
    """Four residual blocks with spectral normalisation (SNGAN, arXiv 1802.05957, table 4)."""

    has_batch_norm: ClassVar[bool] = False
    kind: Literal["sngan_resnet"] = "sngan_resnet"
    width: PositiveInt = Field(128, description="channels of every block")
    spectral_norm: Annotated[Bool, AsBefore(False)] = Field(
        True, description="divide weights by their largest singular value (arXiv 1802.05957)"
    )


class LayerNormDiscriminatorSettings(DiscriminatorSettings):
    """Four strided convolutions with layer normalisation, for WGAN-GP (after Flow-GAN, arXiv 1705.08868)."""

    has_batch_norm: ClassVar[bool] = False
    kind: Literal["layer_norm"] = "layer_norm"
    width: PositiveInt = Field(64, description="channels of the first convolution; then 2x, 4x, 8x")


class PatchGANDiscriminatorSettings(DiscriminatorSettings):
    """One logit for every patch of an image (PatchGAN, arXiv 1611.07004)."""

    kind: Literal["patchgan"] = "patchgan"
    width: PositiveInt = Field(64, description="channels of the first convolution; doubled by each further one")
    layers: Literal[1, 2, 3] = Field(
        2, description="strided convolutions; 1: 14x14 patches of 16 pixels, 2: 6x6 of 34, 3: 2x2 of 70"
    )


DISCRIMINATORS: dict[str, Registered] = {
    "dcgan": Registered(DCGANDiscriminatorSettings, "hybridflow.models.discriminators.dcgan:DCGANDiscriminator"),
    "resnet18": Registered(
        ResNet18DiscriminatorSettings, "hybridflow.models.discriminators.resnet:ResNet18Discriminator"
    ),
    "norm_free": Registered(
        NormFreeDiscriminatorSettings, "hybridflow.models.discriminators.norm_free:NormFreeDiscriminator"
    ),
    "sngan_resnet": Registered(
        SNGANResNetDiscriminatorSettings, "hybridflow.models.discriminators.sngan_resnet:SNGANResNetDiscriminator"
    ),
    "layer_norm": Registered(
        LayerNormDiscriminatorSettings, "hybridflow.models.discriminators.layer_norm:LayerNormDiscriminator"
    ),
    "patchgan": Registered(
        PatchGANDiscriminatorSettings, "hybridflow.models.discriminators.patchgan:PatchGANDiscriminator"
    ),
}
"""Architectures by name. The target is called with (settings)."""


class AnnealSettings(Section):
    """A factor that goes from 1 at the first step to another after the last (as in R3GAN, arXiv 2501.05441)."""

    shape: Literal["linear", "cosine"] = Field("cosine", description="linear or cosine")
    to: Annotated[Float, Field(ge=0)] = Field(description="the factor at the end, 1 at the start")


class DiscriminatorOptimizerSettings(OptimizerSettings):
    """The discriminator's optimiser; the defaults are DCGAN's (arXiv 1511.06434)."""

    name: Literal["adam", "adamax", "adamw"] = Field("adam", description="adam, adamax or adamw")
    lr: PositiveFloat = Field(2e-4, description="learning rate")
    betas: tuple[Fraction, Fraction] = Field((0.5, 0.999), description="decay of the two moment estimates")
    anneal: Annotated[AnnealSettings | None, AsBefore(None)] = Field(
        None, description="change of the learning rate over the training, null for none"
    )


class PenaltySettings(Section):
    """Penalties on the discriminator; they add up, whatever the loss."""

    r1: Annotated[PositiveFloat | None, AsBefore(None)] = Field(
        None,
        description="gamma of R1 on real images, null for none (arXiv 1801.04406); a discriminator update takes 2 to 3 "
        "times as long",
    )
    r2: Annotated[PositiveFloat | None, AsBefore(None)] = Field(
        None, description="gamma of R2, the same on generated images, null for none (arXiv 1801.04406)"
    )
    finite_differences: Annotated[Bool, AsBefore(False)] = Field(
        False,
        description="r1 and r2 from a second forward pass at a near image instead of second derivatives: also with "
        "BatchNorm over several devices; the discriminator's update is in fp32",
    )
    gradient_penalty: Annotated[PositiveFloat | None, AsBefore(None)] = Field(
        None, description="lambda of WGAN-GP between real and generated images, null for none (arXiv 1704.00028)"
    )
    logit_centring: Annotated[PositiveFloat | None, AsBefore(None)] = Field(
        None, description="weight of (real + generated logit)^2, null for none; for losses that see differences only"
    )
    anneal: Annotated[AnnealSettings | None, AsBefore(None)] = Field(
        None, description="change of all penalties over the training, null for none"
    )

    @property
    def second_derivatives(self) -> bool:
        """Whether a penalty differentiates the discriminator's gradient."""
        exact = self.r1 is not None or self.r2 is not None
        return self.gradient_penalty is not None or (exact and not self.finite_differences)


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
        PenaltySettings(), description="penalties on the discriminator"
    )
    warmup_steps: Annotated[NonNegativeInt, AsBefore(0), InKeyAs("discriminator_warmup_steps")] = Field(
        0,
        description="steps before the training in which only the discriminator is updated, discriminator_steps times "
        "each; the generator waits",
    )
    real_images: Annotated[Literal["augmented", "flipped"], AsBefore("augmented")] = Field(
        "augmented", description="the discriminator's real images: augmented as for the likelihood, or only flipped"
    )
    diff_augment: Annotated[tuple[Literal["color", "translation", "cutout"], ...], AsBefore([])] = Field(
        (), description="random changes of all images that the discriminator sees (DiffAugment, arXiv 2006.10738)"
    )
    gradient_normalisation: Annotated[Bool, AsBefore(False)] = Field(
        False, description="divide the discriminator's gradient on samples by its running norm (AFM, arXiv 2511.22475)"
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


class HingeSettings(AdversarialSettings):
    """Hinge loss (arXiv 1705.02894)."""

    loss: Literal["hinge"] = "hinge"


class LeastSquaresSettings(AdversarialSettings):
    """Least squares (arXiv 1611.04076)."""

    loss: Literal["least_squares"] = "least_squares"


class WassersteinSettings(AdversarialSettings):
    """Difference of mean logits (arXiv 1701.07875); unbounded without a penalty or spectral normalisation."""

    loss: Literal["wasserstein"] = "wasserstein"


class RelativisticSettings(AdversarialSettings):
    """Relativistic pairing: real against generated logits, pair by pair (arXiv 1807.00734, 2501.05441)."""

    loss: Literal["relativistic"] = "relativistic"


LOSSES: dict[str, Registered] = {
    "non_saturating": Registered(NonSaturatingSettings, "hybridflow.training.losses.non_saturating:NonSaturatingLoss"),
    "hinge": Registered(HingeSettings, "hybridflow.training.losses.hinge:HingeLoss"),
    "least_squares": Registered(LeastSquaresSettings, "hybridflow.training.losses.least_squares:LeastSquaresLoss"),
    "wasserstein": Registered(WassersteinSettings, "hybridflow.training.losses.wasserstein:WassersteinLoss"),
    "relativistic": Registered(RelativisticSettings, "hybridflow.training.losses.relativistic:RelativisticLoss"),
}
"""Losses by name. The target is called with (settings)."""
