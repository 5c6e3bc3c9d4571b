"""Normalisation of the gradient that a discriminator sends to the generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridflow.runtime.distributed import SINGLE_PROCESS, ProcessGroup, gather

DECAY, EPSILON = 0.9, 1e-8


class GradientNormalisation(nn.Module):
    """Divides the gradient on a batch of samples by a running estimate of its size (AFM, arXiv 2511.22475).

    With n numbers in the batch and g the gradient of a loss that is a mean over it,

        v <- 0.9 v + 0.1 n ||g||^2,   g <- g / (sqrt(v / (1 - 0.9^t)) + 1e-8)

    at update t = 1, 2, ... The norm of the result is about 1/sqrt(n), whatever the loss and the discriminator. The
    paper's v has no bias correction, which makes the first gradient sqrt(10) times as large.

    The buffers are state: they belong to what a training saves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("square", torch.zeros((), dtype=torch.float64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def forward(self, gradient: Tensor, group: ProcessGroup = SINGLE_PROCESS) -> Tensor:
        """(N, C, H, W), this process's rows and the gradient of their mean -> the same, normalised.

        n ||g||^2 of the whole batch is the mean of that of the processes, so all divide by the same number. Nothing is
        read on the host.
        """
        square = gradient.numel() * torch.linalg.vector_norm(gradient, dtype=torch.float64).square()
        if group.size > 1:
            square = gather(square).mean()
        self.square.lerp_(square, 1 - DECAY)
        self.updates += 1
        size = (self.square / (1 - DECAY**self.updates)).sqrt() + EPSILON
        return gradient / size.to(gradient.dtype)
