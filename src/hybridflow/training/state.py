"""One training: its description, and everything that changes while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hybridflow.config.adversarial import DISCRIMINATORS, DiscriminatorSettings
from hybridflow.config.experiment import Variant
from hybridflow.models.checkpoint import load_weights, read_metadata, read_tensors, stored_settings
from hybridflow.models.discriminators.registry import build_discriminator
from hybridflow.models.generators.base import Generator
from hybridflow.models.generators.registry import build_generator
from hybridflow.models.layers.batchnorm import share_statistics
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.batches import Batches
from hybridflow.training.gradient_normalisation import GradientNormalisation
from hybridflow.training.optim import ExponentialMovingAverage, build_optimizer
from hybridflow.training.sample_distance import Ruler


@dataclass(frozen=True)
class Job:
    """One training: what, from where, where to.

    Attributes:
        variant, seed, key: the settings, the seed, and the key of both (hybridflow.store.keys).
        parent: checkpoint to start from, or None.
        checkpoint, history: files of the store to write.
        resume: what the names of the resume state's files begin with.
        monitor: folder for TensorBoard scalars and sample grids.
        dataset_hash: content hash of the training data, for the metadata.
        ruler: of ``training.distance``, or None.
    """

    variant: Variant
    seed: int
    key: str
    parent: Path | None
    checkpoint: Path
    history: Path
    resume: Path
    monitor: Path
    dataset_hash: str
    ruler: Ruler | None = None

    @property
    def label(self) -> str:
        return f"train {self.variant.name} seed {self.seed}"


@dataclass
class State:
    """Everything that changes during training; what it says of the history is the main process's."""

    generator: Generator
    discriminator: nn.Module | None
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer | None
    ema: ExponentialMovingAverage | None
    gradient_normalisation: GradientNormalisation | None = None
    step: int = 0
    seconds: float = 0.0
    sums: dict[str, Tensor] = field(default_factory=dict)  # of the metrics since the last line of the history
    summed: int = 0  # steps in them
    history: list[str] = field(default_factory=list)  # its lines

    @property
    def result(self) -> Generator:
        """The generator that is sampled and stored: the averaged one if there is one."""
        return self.generator if self.ema is None else self.ema.average

    @property
    def models(self) -> list[nn.Module]:
        """Every model whose weights or buffers training changes."""
        average = None if self.ema is None else self.ema.average
        return [model for model in (self.generator, self.discriminator, average) if model is not None]

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator": self.discriminator.state_dict() if self.discriminator else None,
            "discriminator_optimizer": self.discriminator_optimizer.state_dict() if self.discriminator else None,
            "ema": self.ema.average.state_dict() if self.ema else None,
            "gradient_normalisation": self.gradient_normalisation.state_dict() if self.gradient_normalisation else None,
            "step": self.step,
            "seconds": self.seconds,
            "sums": self.sums,
            "summed": self.summed,
            "history": "".join(self.history),
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self.generator.load_state_dict(state["generator"])
        _load_optimizer(self.generator_optimizer, state["generator_optimizer"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            _load_optimizer(self.discriminator_optimizer, state["discriminator_optimizer"])
        if self.ema is not None:
            self.ema.average.load_state_dict(state["ema"])
        if self.gradient_normalisation is not None:
            self.gradient_normalisation.load_state_dict(state["gradient_normalisation"])
        self.step, self.seconds, self.summed = state["step"], state["seconds"], state["summed"]
        self.history = state["history"].splitlines(keepends=True)
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}


def initial_state(job: Job, batches: Batches, device: torch.device) -> State:
    """The state before the first step: fresh weights, or those of the parent's checkpoint."""
    variant, settings = job.variant, job.variant.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(job.seed, "flow"))
        generator = build_generator(variant.generator, batches.image_shape).to(device)
        discriminator = None
        if variant.discriminator is not None:
            torch.manual_seed(derive_seed(job.seed, "discriminator"))
            discriminator = build_discriminator(variant.discriminator).to(device, memory_format=torch.channels_last)
    if job.parent is not None:
        load_weights(generator, read_tensors(job.parent, "flow"), job.parent)
        opponent = read_tensors(job.parent, "discriminator")
        if discriminator is not None and opponent and _discriminator_of(job.parent) == variant.discriminator:
            load_weights(discriminator, opponent, job.parent)  # a variant that continues a hybrid keeps it
    else:
        # Every process sees the whole batch here: without gradients it takes little memory.
        generator.train()
        generator.initialize(batches.whole(0), derive_seed(job.seed, "initialize"))
    if batches.group.size > 1:
        for model in filter(None, (generator, discriminator)):
            share_statistics(model)
    return State(
        generator,
        discriminator,
        build_optimizer(generator, settings.optimizer),
        build_optimizer(discriminator, variant.adversarial.discriminator_optimizer) if discriminator else None,
        ExponentialMovingAverage(generator, settings.ema_decay) if settings.ema_decay is not None else None,
        GradientNormalisation().to(device) if discriminator and variant.adversarial.gradient_normalisation else None,
    )


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads a saved state, but for where the step counters live: a training may go on on another kind of device."""
    groups = [
        saved | {"capturable": own["capturable"]}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict(state | {"param_groups": groups})


def _discriminator_of(checkpoint: Path) -> DiscriminatorSettings | None:
    found = read_metadata(checkpoint)["discriminator"]
    return None if found is None else stored_settings(DISCRIMINATORS, "kind", found)
