"""Settings of a training: optimiser, schedule, images, and where it runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hybridflow.config.fields import (
    AsBefore,
    Bool,
    Float,
    Fraction,
    Int,
    NonNegativeInt,
    NotInKey,
    PositiveFloat,
    PositiveInt,
    Section,
    Text,
)


class OptimizerSettings(Section):
    """A first-order optimiser."""

    name: Literal["adam", "adamax", "adamw", "muon"] = Field("adamax", description="adam, adamax, adamw or muon")
    lr: PositiveFloat = Field(1e-3, description="learning rate after warm-up")
    betas: tuple[Fraction, Fraction] = Field((0.9, 0.999), description="decay of the two moment estimates")
    weight_decay: Annotated[Float, Field(ge=0)] = Field(0.0, description="weight decay")


class AugmentationSettings(Section):
    """Random changes of a training image: flip, edge padding, translation, centre crop."""

    horizontal_flip: Annotated[Bool, AsBefore(False)] = Field(True, description="mirror half of the images")
    pad: Annotated[Int, Field(ge=0, le=16)] = Field(2, description="edge padding, pixels")
    translate: Annotated[Float, Field(ge=0, le=0.5)] = Field(
        0.04, description="random translation, share of the padded side; then the centre is cropped"
    )


class FinalPhaseSettings(Section):
    """Training at a low learning rate, or down to it, after the scheduled epochs."""

    epochs: Annotated[Float, Field(ge=0)] = Field(20.0, description="epochs after the others")
    lr: PositiveFloat = Field(2e-5, description="their learning rate, or where it ends")
    shape: Annotated[Literal["constant", "linear"], AsBefore("constant")] = Field(
        "constant", description="constant, or linear: from the last rate of the epochs above down to `lr`"
    )


class DistanceSettings(Section):
    """A Frechet distance of samples while a variant trains, always from the same latents."""

    extractor: Text | None = Field(
        None, description="whose features, one that a metric compares with the training split too; null for none"
    )
    every: PositiveInt = Field(1000, description="steps between two values, which are at the next line of the history")
    images: Annotated[Int, Field(ge=100)] = Field(1000, description="samples of a value")


class StoredSettings(Section):
    """What a checkpoint holds: of trainings that travel, as little as their variants need."""

    precision: Annotated[Literal["fp32", "fp16"], AsBefore("fp32")] = Field(
        "fp32", description="fp32, or fp16: half the size, weights rounded to 11 bits"
    )
    discriminator: Annotated[Bool, AsBefore(True)] = Field(
        True, description="the discriminator, too, for variants that start from this one and go on with it"
    )


class TrainingSettings(Section):
    """How one variant is trained."""

    batch_size: PositiveInt = Field(64, description="images per step")
    epochs: PositiveFloat = Field(400.0, description="passes over the training split (fractions allowed)")
    optimizer: OptimizerSettings = Field(OptimizerSettings(), description="of the generator")
    warmup_steps: NonNegativeInt = Field(5000, description="linear warm-up of the learning rate")
    lr_decay: Annotated[Float, Field(gt=0, le=1)] = Field(
        0.9975, description="factor on the learning rate after every epoch"
    )
    final_phase: FinalPhaseSettings = Field(FinalPhaseSettings(), description="after the epochs above")
    gradient_clip: Annotated[PositiveFloat | None, AsBefore(None)] = Field(
        None, description="largest norm of the whole gradient, null for none"
    )
    ema_decay: Annotated[Fraction | None, AsBefore(None)] = Field(
        None, description="moving average of the weights, used for the checkpoint; null for none"
    )
    augmentation: AugmentationSettings = Field(AugmentationSettings(), description="of training images, in this order")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="fp32, or bf16 inside the networks (the flow's own arithmetic stays fp32)"
    )
    checkpointing: Annotated[Bool, NotInKey()] = Field(
        False, description="compute networks twice instead of keeping their activations: less memory, same result"
    )
    stored: Annotated[StoredSettings, AsBefore({})] = Field(StoredSettings(), description="what the checkpoint holds")
    compile: Annotated[Bool, NotInKey()] = Field(
        False, description="torch.compile for the networks: minutes before the first step; same result"
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], NotInKey()] = Field(
        "auto", description="auto (a GPU if there is one), cpu or cuda"
    )
    devices: Annotated[PositiveInt, NotInKey()] = Field(
        1, description="GPUs that one training uses, of one machine; batch_size must be a multiple; same result"
    )
    threads: Annotated[PositiveInt, NotInKey()] = Field(
        1, description="CPU threads of a job, for each of a training's devices; bit-identical results on a CPU need 1"
    )
    log_every: Annotated[PositiveInt, NotInKey()] = Field(50, description="steps between two lines of the history")
    grid_every: Annotated[PositiveInt, NotInKey()] = Field(5000, description="steps between two sample grids")
    distance: Annotated[DistanceSettings, NotInKey()] = Field(
        DistanceSettings(), description="of samples to the training split, in the history and its curves"
    )
    resume_every_minutes: Annotated[PositiveFloat, NotInKey()] = Field(
        30.0, description="how much work a kill can cost at most"
    )

    @model_validator(mode="after")
    def _equal_shares(self) -> TrainingSettings:
        if self.batch_size % self.devices:
            raise ValueError(
                f"batch_size must be a multiple of devices, so that each gets equally many images: {self.batch_size} "
                f"is not one of {self.devices}"
            )
        return self
