"""Activation checkpointing of the networks inside a flow: memory for time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

_enabled: ContextVar[bool] = ContextVar("network_checkpointing", default=False)


@contextmanager
def network_checkpointing(enabled: bool = True) -> Iterator[None]:
    """Within the block, networks keep only their input for the backward pass and are computed again in it.

    The saved activations of a flow shrink to the inputs of its networks; a training step computes every network's
    forward pass twice (arXiv 1604.06174).
    """
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def checkpointed(net: nn.Module, call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``call(x)``, which runs ``net``, checkpointed if that is switched on and a gradient is recorded."""
    if not (_enabled.get() and torch.is_grad_enabled()):
        return call(x)
    modes = [(layer, layer.training) for layer in net.modules() if isinstance(layer, _BatchNorm)]
    # No dropout or other random layer exists in these networks, so there is no generator state to restore.
    return checkpoint(
        call,
        x,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _AsAtFirst(modes)),
    )


class _AsAtFirst:
    """BatchNorm layers in the modes of the forward pass, without a second update of their running statistics.

    The backward pass may run when the mode has changed: the adversarial path uses running statistics. A gradient
    that is differentiated again (R1) computes the network a third time, so the block can be entered repeatedly.
    """

    def __init__(self, modes: list[tuple[_BatchNorm, bool]]) -> None:
        self.modes = modes

    def __enter__(self) -> None:
        self.before = [(layer, layer.training, layer.momentum, layer.num_batches_tracked) for layer, _ in self.modes]
        for layer, training in self.modes:
            layer.training, layer.momentum, layer.num_batches_tracked = training, 0.0, None

    def __exit__(self, *_: object) -> None:
        for layer, training, momentum, batches in self.before:
            layer.training, layer.momentum, layer.num_batches_tracked = training, momentum, batches
