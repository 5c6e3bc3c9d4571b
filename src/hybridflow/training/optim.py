"""Optimiser, learning rate and moving average of the weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from hybridflow.config.adversarial import AnnealSettings
from hybridflow.config.experiment import Variant
from hybridflow.config.training import OptimizerSettings, TrainingSettings
from hybridflow.training.muon import Muon


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimiser that ``settings.name`` names over all parameters of ``model``."""
    options = {"lr": settings.lr, "betas": settings.betas, "weight_decay": settings.weight_decay}
    if settings.name == "adamax":
        # On a GPU "capturable" keeps the step counters there, so that a step does not wait to read them.
        on_gpu = next(model.parameters()).is_cuda
        return torch.optim.Adamax(model.parameters(), **options, foreach=True, capturable=on_gpu)
    if settings.name == "muon":
        return Muon(model, **options, fused=True)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[settings.name](model.parameters(), **options, fused=True)


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step.

    Linear warm-up, a factor ``lr_decay`` after every epoch, then the final phase at one low rate (the
    published DenseFlow recipe) or in a straight line down to it.

    Args:
        settings: the variant's training settings.
        images: size of the training split; an epoch has ``images // batch_size`` full batches.
        discriminator_warmup: steps before all that, in which the generator waits.
    """

    settings: TrainingSettings
    images: int
    discriminator_warmup: int = 0

    @classmethod
    def of(cls, variant: Variant, images: int) -> Schedule:
        """The schedule of a variant, with or without a discriminator."""
        return cls(variant.training, images, variant.adversarial.warmup_steps if variant.discriminator else 0)

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.images // self.settings.batch_size)

    @property
    def main_steps(self) -> int:
        return max(1, round(self.settings.epochs * self.steps_per_epoch))

    @property
    def final_steps(self) -> int:
        return round(self.settings.final_phase.epochs * self.steps_per_epoch)

    @property
    def total_steps(self) -> int:
        return self.discriminator_warmup + self.main_steps + self.final_steps

    def learning_rate(self, step: int) -> float:
        """The generator's learning rate at ``step`` (0-based); 0 while it waits."""
        step -= self.discriminator_warmup
        if step < 0:
            return 0.0
        final, steps_in = self.settings.final_phase, step - self.main_steps + 1
        if steps_in <= 0:
            return self._main_rate(step)
        if final.shape == "constant":
            return final.lr
        start = self._main_rate(self.main_steps - 1)
        return start + (final.lr - start) * steps_in / self.final_steps

    def _main_rate(self, step: int) -> float:
        warm_up = min(1.0, (step + 1) / self.settings.warmup_steps) if self.settings.warmup_steps else 1.0
        return self.settings.optimizer.lr * warm_up * self.settings.lr_decay ** (step // self.steps_per_epoch)

    def annealed(self, settings: AnnealSettings | None, step: int) -> float:
        """The factor of a linear or cosine change at ``step`` (0-based): 1 at the first step, ``to`` after the last.

        1 + d (to - 1) with d the share of steps done, for a cosine d = (1 - cos(pi step / steps)) / 2.
        """
        if settings is None:
            return 1.0
        done = step / self.total_steps
        if settings.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return 1 + done * (settings.to - 1)


class ExponentialMovingAverage:
    """Keeps ``average``, a copy of ``model`` whose floating-point state follows it.

    average <- decay * average + (1 - decay) * model, after every step; BatchNorm's running statistics
    included, since they belong to the averaged weights. The effective decay rises from 0.1 as
    (1 + n) / (10 + n) after n updates, so that a short run is not dominated by its start.

    Args:
        model: the model that is trained; its tensors stay where they are.
        decay: in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = copy.deepcopy(model).requires_grad_(False)
        # Paired once: to collect the tensors of both models takes ten times as long as to average them.
        pairs = list(zip(self.average.state_dict().values(), model.state_dict().values(), strict=True))
        self._floating = [pair for pair in pairs if pair[0].is_floating_point()]
        self._others = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Args: updates is the number of updates made before this one."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        averages, values = zip(*self._floating, strict=True)
        torch._foreach_lerp_(averages, values, 1 - decay)
        for average, value in self._others:
            average.copy_(value)
