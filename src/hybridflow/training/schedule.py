"""How long to train, and with which learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from hybridflow.config.training import TrainingSettings


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step.

    Linear warm-up, a factor ``lr_decay`` after every epoch, then the final phase at one low rate (the
    published DenseFlow recipe).

    Args:
        settings: the variant's training settings.
        images: size of the training split; an epoch has ``images // batch_size`` full batches.
    """

    settings: TrainingSettings
    images: int

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.images // self.settings.batch_size)

    @property
    def main_steps(self) -> int:
        return max(1, round(self.settings.epochs * self.steps_per_epoch))

    @property
    def total_steps(self) -> int:
        return self.main_steps + round(self.settings.final_phase.epochs * self.steps_per_epoch)

    def learning_rate(self, step: int) -> float:
        """The generator's learning rate at ``step`` (0-based)."""
        if step >= self.main_steps:
            return self.settings.final_phase.lr
        warm_up = min(1.0, (step + 1) / self.settings.warmup_steps) if self.settings.warmup_steps else 1.0
        return self.settings.optimizer.lr * warm_up * self.settings.lr_decay ** (step // self.steps_per_epoch)
