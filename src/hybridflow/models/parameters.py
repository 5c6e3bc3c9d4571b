"""The number of a model's parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def count_parameters(build: Callable[[], nn.Module]) -> int:
    """Trained numbers of what ``build`` makes, without its buffers, which are none."""
    with torch.device("meta"):  # shapes alone: no memory, no time
        return sum(parameter.numel() for parameter in build().parameters())
