"""Arithmetic of the networks inside a flow.

Only the networks that compute scales and shifts may run in bfloat16. The flow's own arithmetic
(log-determinants, priors, ActNorm, 1x1 convolutions and their inverses) stays in the data's precision,
or the inverse is no longer the inverse and bits/dim drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from hybridflow.models.layers.checkpointing import checkpointed

_network_dtype: ContextVar[torch.dtype | None] = ContextVar("network_dtype", default=None)


@contextmanager
def network_precision(dtype: torch.dtype | None) -> Iterator[None]:
    """Within the block, networks run under autocast to ``dtype`` (None: in the data's precision)."""
    token = _network_dtype.set(dtype)
    try:
        yield
    finally:
        _network_dtype.reset(token)


def run_network(net: nn.Module, x: Tensor) -> Tensor:
    """``net(x)`` in the chosen network precision, returned in the precision of ``x``."""
    dtype = _network_dtype.get()

    def call(x: Tensor) -> Tensor:
        if dtype is None:
            return net(x)
        with torch.autocast(x.device.type, dtype=dtype):
            return net(x).to(x.dtype)

    return checkpointed(net, call, x)
