"""Penalties on the gradient of a discriminator; they add up, whatever the loss."""

from __future__ import annotations

import torch
from torch import Tensor


def r1_penalty(real_logits: Tensor, real: Tensor, gamma: float) -> Tensor:
    """gamma/2 E ||grad D(x)||^2 over real images x (R1, arXiv 1801.04406, eq. 9). Differentiable itself.

    Args:
        real_logits: (N,), computed from ``real``.
        real: (N, C, H, W), the discriminator's input, with requires_grad.
        gamma: strength, above 0.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gamma / 2 * gradient.square().flatten(1).sum(1).mean()
