"""Which statistics BatchNorm uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Within the block, every BatchNorm of ``model`` uses its running statistics and leaves them alone.

    With batch statistics a coupling network computes other scales from a batch of samples than from a
    batch of data, so the inverse pass would not be the inverse of the forward pass.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()
