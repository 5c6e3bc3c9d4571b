"""Settings of the generators, one class a family, and the registry of families."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hybridflow.config.fields import AsBefore, Bool, Float, Int, NonNegativeInt, PositiveInt, Section, Text
from hybridflow.config.registry import Registered


class GeneratorSettings(Section):
    """A generator. Each family has its own class; ``family`` says which.

    Attributes:
        has_likelihood: whether the family bounds the likelihood of images. Without it there is no likelihood job, the
            table has a dash, and the adversarial weight must be 1.
        invertible: whether the family is a flow, whose encoding and decoding pictures show.
    """

    has_likelihood: ClassVar[bool] = True
    invertible: ClassVar[bool] = False

    family: Text = Field("denseflow", description="the family of the generator; `hybridflow list` prints them all")


class CouplingSettings(Section):
    """Networks of DenseFlow's coupling layers."""

    mid_channels: tuple[Annotated[Int, Field(ge=2)], ...] = Field((48, 48, 48), description="working width, per scale")
    depth: PositiveInt = Field(7, description="dense layers")
    growth: PositiveInt = Field(64, description="channels each dense layer adds")
    attention: Annotated[Bool, AsBefore(False)] = Field(True, description="Nystroem attention branch")
    batch_norm: Annotated[Bool, AsBefore(False)] = Field(
        True, description="BatchNorm between the branches and the mixing convolution"
    )


class DequantizationSettings(Section):
    """From integers to reals: a flow conditioned on the image, or uniform noise."""

    kind: Literal["variational", "uniform"] = Field("variational", description="a learned flow, or uniform noise")
    steps: PositiveInt = Field(4, description="couplings of the dequantization flow")
    mid_channels: PositiveInt = Field(64, description="width of its networks")
    context_channels: PositiveInt = Field(64, description="channels of the image's features it is conditioned on")
    depth: PositiveInt = Field(4, description="dense layers of its networks")
    growth: PositiveInt = Field(64, description="channels each of them adds")


class DenseFlowSettings(GeneratorSettings):
    """DenseFlow: densely connected normalizing flow (arXiv 2106.04627). The defaults are DenseFlow-74-10."""

    invertible: ClassVar[bool] = True

    family: Literal["denseflow"] = "denseflow"
    units: tuple[PositiveInt, ...] = Field((6, 4, 1), description="units per scale")
    steps_per_unit: tuple[PositiveInt, ...] = Field((5, 6, 20), description="flow steps of each unit, per scale")
    growth_rate: NonNegativeInt = Field(10, description="noise channels that join before every unit but the first")
    coupling: CouplingSettings = Field(CouplingSettings(), description="networks of the coupling layers")
    dequantization: DequantizationSettings = Field(DequantizationSettings(), description="from integers to reals")

    @model_validator(mode="after")
    def _one_entry_per_scale(self) -> DenseFlowSettings:
        scales = len(self.units)
        if not 1 <= scales <= 4:
            raise ValueError(f"units must have 1 to 4 entries, one per scale, not {scales} (32x32 images)")
        for key, entries in (
            ("steps_per_unit", self.steps_per_unit),
            ("coupling.mid_channels", self.coupling.mid_channels),
        ):
            if len(entries) != scales:
                raise ValueError(f"{key} must have one entry per scale: {scales} as in units, not {len(entries)}")
        if self.growth_rate == 0 and max(self.units) > 1:
            raise ValueError("growth_rate must be at least 1 when a scale has more than one unit")
        return self


class NiceSettings(GeneratorSettings):
    """NICE: additive couplings of all pixels at once (arXiv 1410.8516). The defaults are the paper's CIFAR-10 model."""

    invertible: ClassVar[bool] = True

    family: Literal["nice"] = "nice"
    hidden_layers: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = Field(
        (4, 4, 4, 4), description="hidden layers of each coupling's network; one entry a coupling"
    )
    width: PositiveInt = Field(2000, description="units of a hidden layer")
    partition: Literal["alternate", "halves"] = Field(
        "alternate",
        description="every other value passes, in turn, or the first half, reversing all after each coupling",
    )
    prior: Literal["logistic", "normal"] = Field("logistic", description="distribution of the latents")


class RealNVPSettings(GeneratorSettings):
    """RealNVP: affine couplings of checkerboards and channels (arXiv 1605.08803). The defaults are for CIFAR-10."""

    invertible: ClassVar[bool] = True

    family: Literal["realnvp"] = "realnvp"
    scales: Annotated[Int, Field(ge=1, le=5)] = Field(2, description="scales; half of the values leave after each")
    width: PositiveInt = Field(64, description="channels of the first scale's networks; doubled with each squeeze")
    blocks: PositiveInt = Field(8, description="residual blocks of a network")
    constraint: Annotated[Float, Field(gt=0, lt=1)] = Field(
        0.9, description="share of (0, 1) that pixels fill before the logit"
    )
    actnorm: Bool = Field(False, description="ActNorm behind every coupling, in place of the paper's BatchNorm")


class GlowSettings(GeneratorSettings):
    """Glow: ActNorm, invertible 1x1 convolutions, couplings (arXiv 1807.03039). The defaults are for CIFAR-10."""

    invertible: ClassVar[bool] = True

    family: Literal["glow"] = "glow"
    levels: Annotated[Int, Field(ge=1, le=5)] = Field(3, description="levels; each starts with a squeeze")
    steps: PositiveInt = Field(32, description="flow steps of each level")
    width: PositiveInt = Field(512, description="channels of the coupling networks")
    coupling: Literal["affine", "additive"] = Field("affine", description="what couplings do to the changed half")
    top_prior: Literal["channel", "zero_input", "normal"] = Field(
        "channel",
        description="of the last level: a mean and a scale per channel; the same, written as the published program's "
        "convolution of zeros; or standard normal",
    )


class VAESettings(GeneratorSettings):
    """VAE: convolutional variational autoencoder, a discretized logistic per value (arXiv 1312.6114, 1711.00937)."""

    family: Literal["vae"] = "vae"
    width: PositiveInt = Field(256, description="channels of encoder and decoder")
    latent_channels: PositiveInt = Field(
        16, description="channels of the latent; its sides are a quarter of the image's"
    )
    sample: Literal["pixel", "mean"] = Field(
        "pixel", description="samples have the noise of their pixels, which bits/dim refer to, or are its means"
    )


class DCGANSettings(GeneratorSettings):
    """DCGAN: transposed convolutions with BatchNorm; a generator without a likelihood (arXiv 1511.06434)."""

    has_likelihood: ClassVar[bool] = False

    family: Literal["dcgan"] = "dcgan"
    width: PositiveInt = Field(64, description="channels before the last layer; 2x and 4x before that")
    latent: PositiveInt = Field(100, description="numbers that an image is made of")
    uniform: Bool = Field(False, description="latents uniform on (-1, 1), as in the paper, in place of normal ones")


GENERATORS: dict[str, Registered] = {
    "denseflow": Registered(DenseFlowSettings, "hybridflow.models.generators.denseflow:DenseFlow"),
    "nice": Registered(NiceSettings, "hybridflow.models.generators.nice:NICE"),
    "realnvp": Registered(RealNVPSettings, "hybridflow.models.generators.realnvp:RealNVP"),
    "glow": Registered(GlowSettings, "hybridflow.models.generators.glow:Glow"),
    "vae": Registered(VAESettings, "hybridflow.models.generators.vae:VAE"),
    "dcgan": Registered(DCGANSettings, "hybridflow.models.generators.dcgan:DCGAN"),
}
"""Families by name. The target is called with (settings, image_shape)."""
