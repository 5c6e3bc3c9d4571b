"""Exponential moving average of a model."""

from __future__ import annotations

import copy

import torch
from torch import nn


class ExponentialMovingAverage:
    """Keeps ``average``, a copy of ``model`` whose floating-point state follows it slowly.

    average <- decay * average + (1 - decay) * model, after every step; BatchNorm's running statistics
    included, since they belong to the averaged weights. The effective decay rises from 0 as
    (1 + n) / (10 + n) after n updates, so that a short run is not dominated by its start.

    Args:
        model: the model that is trained.
        decay: in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Args: updates is the number of updates made before this one."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        averages, values = [], []
        for average, value in zip(self.average.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)
