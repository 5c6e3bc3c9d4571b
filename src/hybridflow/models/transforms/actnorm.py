"""Activation normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hybridflow.models.transforms.base import Transform


class ActNorm(Transform):
    """Per-channel shift and scale, initialised from data (Glow, arXiv 1807.03039, section 3.1).

    z = (x - shift) * exp(-log_scale),   log|det| = -H W sum(log_scale)

    Initialisation is an explicit act (:func:`initializing`), not a side effect of the first forward
    pass: a loaded model never re-initialises. The buffer ``initialized`` records whether it was done.

    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats.
    """

    initialized: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("initialized", torch.zeros((), dtype=torch.bool))
        self._initializing = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self._initializing:
            self._initialize(x)
        z = (x - self.shift) * torch.exp(-self.log_scale)
        log_det = -(x.shape[2] * x.shape[3]) * self.log_scale.sum()
        return z, log_det.expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        return z * torch.exp(self.log_scale) + self.shift

    @torch.no_grad()
    def _initialize(self, x: Tensor) -> None:
        """Makes every output channel of this batch have mean 0 and standard deviation 1."""
        self.shift.copy_(x.mean((0, 2, 3), keepdim=True))
        self.log_scale.copy_(torch.log(x.std((0, 2, 3), keepdim=True) + 1e-6))
        self.initialized.fill_(True)


class ActNormLayer(ActNorm):
    """ActNorm inside a coupling's network, where its log-determinant plays no part.

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


@contextmanager
def initializing(model: nn.Module) -> Iterator[None]:
    """Within the block, every ActNorm of ``model`` sets itself from the batch that passes it."""
    layers = [module for module in model.modules() if isinstance(module, ActNorm)]
    for layer in layers:
        layer._initializing = True
    try:
        yield
    finally:
        for layer in layers:
            layer._initializing = False
